// SPDX-License-Identifier: MIT
// A model of one kind of net as an AnyModel.
#pragma once

#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <meanflow/autodiff/jvp.hpp>
#include <meanflow/train/model.hpp>

#include "any_model.hpp"

namespace bindings {

/// f(name, part) for every part.
template <class F>
void for_each_part(const Told& told, F f) {
  f("labels", told.labels);
  f("values", told.values);
  f("augmentation", told.augmentation);
  f("omega", told.omega);
  f("t_min", told.t_min);
  f("t_max", told.t_max);
}

template <meanflow::Net N>
class LoadedModel final : public AnyModel {
  using Values = meanflow::Tensor<float>;
  using Condition = meanflow::ConditionOf<N>;

 public:
  explicit LoadedModel(meanflow::Model<N> model) : model_(std::move(model)) {}

  [[nodiscard]] std::string net() const override { return meanflow::detail::net_kind<N>(); }
  [[nodiscard]] std::string settings() const override {
    return meanflow::detail::net_settings(model_.net);
  }
  [[nodiscard]] std::size_t parameters() const override { return model_.net.parameters().count(); }
  [[nodiscard]] meanflow::Shape row_shape() const override { return model_.info.row_shape; }

  [[nodiscard]] std::vector<std::string> parts() const override {
    std::vector<std::string> names;
    const Condition none{};
    Condition::fields([&](const char* name, const auto&) { names.emplace_back(name); }, none);
    return names;
  }

  [[nodiscard]] Values sample(std::size_t count, const meanflow::SamplingSettings& settings,
                              const Told& told) const override {
    use_threads();
    return model_.sample(count, settings, condition(told));
  }

  [[nodiscard]] Values velocity(const Values& z, const Values& r, const Values& t,
                                const Told& told) const override {
    use_threads();
    return checked(meanflow::evaluate(model_.net, z, r, t, rows_of(told, z.rows())), z);
  }

  [[nodiscard]] ValueAndTangent jvp(const Values& z, const Values& r, const Values& t,
                                    const Values& dz, const Values& dr, const Values& dt,
                                    const Told& told) const override {
    use_threads();
    const Condition given = rows_of(told, z.rows());
    auto [value, tangent] = meanflow::jvp(
        [&](const auto& z_, const auto& r_, const auto& t_) {
          return meanflow::evaluate(model_.net, z_, r_, t_, given);
        },
        std::tuple(z, r, t), std::tuple(dz, dr, dt));
    return {checked(value, z), checked(tangent, z)};
  }

  void save(const std::filesystem::path& path) const override {
    meanflow::detail::write_model(
        path, model_.net, model_.net.parameters().values(), model_.info,
        {.scaling = model_.info.scaling, .metadata = model_.info.metadata});
  }

 private:
  /// u, which must have the shape of z: a file may describe a net that gives another.
  [[nodiscard]] static Values checked(const Values& u, const Values& z) {
    if (!(u.shape() == z.shape()))
      meanflow::throw_shape_error("a model", u.shape(), z.shape(),
                                  "its net does not give the shape of z");
    return u;
  }

  /// Throws SettingError on a part that the net does not know.
  [[nodiscard]] Condition condition(const Told& told) const {
    Condition condition{};
    for_each_part(told, [&](const std::string& name, const auto& given) {
      if (!given.empty() && !meanflow::detail::set_part(condition, name, given))
        throw meanflow::SettingError(name + " was given, but " + net() + " takes " +
                                     meanflow::detail::field_names<Condition>());
    });
    return condition;
  }
  [[nodiscard]] Condition rows_of(const Told& told, std::size_t rows) const {
    return meanflow::condition_of_rows<meanflow::Cpu>(condition(told), rows);
  }

  meanflow::Model<N> model_;
};

/// The model of that file if it is one of these kinds of net, else null.
template <meanflow::Net... N>
[[nodiscard]] std::shared_ptr<const AnyModel> load_one_of(const std::string& kind,
                                                          const std::filesystem::path& path) {
  std::shared_ptr<const AnyModel> found;
  const auto load = [&]<class Kind>(std::type_identity<Kind>) {
    if (kind == meanflow::detail::net_kind<Kind>())
      found = std::make_shared<LoadedModel<Kind>>(meanflow::load_model<Kind>(path));
  };
  (load(std::type_identity<N>{}), ...);
  return found;
}

// Each in a source of its own, which compile at the same time.
[[nodiscard]] std::shared_ptr<const AnyModel> load_mlp(const std::string& kind,
                                                       const std::filesystem::path& path);
[[nodiscard]] std::shared_ptr<const AnyModel> load_unet(const std::string& kind,
                                                        const std::filesystem::path& path);
[[nodiscard]] std::shared_ptr<const AnyModel> load_transformer(const std::string& kind,
                                                               const std::filesystem::path& path);

}  // namespace bindings
