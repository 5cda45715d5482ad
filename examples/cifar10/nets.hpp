// SPDX-License-Identifier: MIT
// The nets, objectives and times of a configuration: each choice is one type that holds a variant,
// so that a trainer is compiled once for each net and not for each combination.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>

#include <meanflow/data/augment.hpp>
#include <meanflow/flow/any_flow.hpp>
#include <meanflow/flow/guidance.hpp>
#include <meanflow/flow/mean_flow.hpp>
#include <meanflow/flow/time_sampler.hpp>
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/kernels/cpu/attention.hpp>
#include <meanflow/kernels/cpu/conv.hpp>
#include <meanflow/kernels/cpu/norm.hpp>
#include <meanflow/nn/attention_unet.hpp>
#include <meanflow/nn/dit.hpp>
#include <meanflow/nn/imf_transformer.hpp>
#include <meanflow/nn/mean_flow_net.hpp>
#include <meanflow/nn/song_unet.hpp>
#include <meanflow/nn/x_prediction.hpp>

#include "settings.hpp"

namespace cifar10 {

/// The objective of two heads, if the configuration asks for it.
[[nodiscard]] inline const meanflow::ImfObjective* imf_objective(const Settings& s) {
  return std::get_if<meanflow::ImfObjective>(&s.objective);
}

/// The net's own settings, with what follows from the data.
[[nodiscard]] inline meanflow::MeanFlowNetSettings completed(meanflow::MeanFlowNetSettings net,
                                                             const Settings& s,
                                                             const ImageFormat& format) {
  const std::size_t halvings = net.multipliers.size() - 1, divisor = net.patch_size << halvings;
  if (format.height % divisor != 0 || format.width % divisor != 0)
    throw meanflow::SettingError(
        "net.multipliers has " + std::to_string(halvings + 1) + " levels of patches of " +
        std::to_string(net.patch_size) + ", so that sides of pictures must be divisible by " +
        std::to_string(divisor) + ", but these have " + std::to_string(format.height) + " x " +
        std::to_string(format.width) + " pixels");
  net.channels = format.channels;
  net.classes = s.data.labels ? format.classes : 0;
  net.seed = s.train.seed;
  return net;
}

[[nodiscard]] inline meanflow::SongUNetSettings completed(meanflow::SongUNetSettings net,
                                                          const Settings& s,
                                                          const ImageFormat& format) {
  if (format.height != format.width)
    throw meanflow::SettingError("a song_unet needs square pictures, but these have " +
                                 std::to_string(format.height) + " x " +
                                 std::to_string(format.width) + " pixels");
  net.resolution = format.height;
  net.in_channels = net.out_channels = format.channels;
  net.classes = s.data.labels ? format.classes : 0;
  net.augmentation = s.data.augment ? meanflow::AugmentPipe{}.label_count() : 0;
  net.seed = s.train.seed;
  return net;
}

/// A transformer's settings for square pictures or latents.
template <class S>
[[nodiscard]] S completed_transformer(S net, const char* kind, const Settings& s,
                                      const ImageFormat& format) {
  if (format.height != format.width)
    throw meanflow::SettingError(std::string(kind) + " needs square pictures, but these have " +
                                 std::to_string(format.height) + " x " +
                                 std::to_string(format.width) + " pixels");
  net.input_size = format.height;
  net.in_channels = format.channels;
  net.seed = s.train.seed;
  return net;
}

[[nodiscard]] inline DiTNet completed(DiTNet net, const Settings& s, const ImageFormat& format) {
  net = completed_transformer(net, "a dit", s, format);
  net.classes = s.data.labels ? format.classes : 0;
  return net;
}

[[nodiscard]] inline ImfNet completed(ImfNet net, const Settings& s, const ImageFormat& format) {
  if (!s.data.labels || format.classes == 0)
    throw meanflow::SettingError(
        "an imf_transformer is guided towards classes, but the data have none or data.labels is "
        "false");
  net = completed_transformer(net, "an imf_transformer", s, format);
  net.classes = format.classes;
  net.v_head = imf_objective(s) != nullptr;  // which nothing else trains
  return net;
}

[[nodiscard]] inline meanflow::AttentionUNetSettings completed(meanflow::AttentionUNetSettings net,
                                                               const Settings& s,
                                                               const ImageFormat& format) {
  const std::size_t divisor = std::size_t{1} << (net.multipliers.size() - 1);
  if (format.height % divisor != 0 || format.width % divisor != 0)
    throw meanflow::SettingError("an attention_unet of " + std::to_string(net.multipliers.size()) +
                                 " levels needs sides divisible by " + std::to_string(divisor) +
                                 ", but these pictures have " + std::to_string(format.height) +
                                 " x " + std::to_string(format.width) + " pixels");
  net.channels = format.channels;
  net.classes = s.data.labels ? format.classes : 0;
  net.seed = s.train.seed;
  return net;
}

template <class Device>
[[nodiscard]] meanflow::MeanFlowNet<float, Device> build(const meanflow::MeanFlowNetSettings& net) {
  return meanflow::MeanFlowNet<float, Device>(net);
}

template <class Device>
[[nodiscard]] meanflow::SongUNet<float, Device> build(const meanflow::SongUNetSettings& net) {
  return meanflow::SongUNet<float, Device>(net);
}

/// A net, or what it is as one that predicts clean data; which of them is known at run time.
template <class N>
class EitherPrediction {
 public:
  using value_type = typename N::value_type;
  using device_type = typename N::device_type;
  using condition_type = meanflow::ConditionOf<N>;

  EitherPrediction(const N& net, bool of_data) : net_(net), data_(net), of_data_(of_data) {}

  [[nodiscard]] const N& net() const { return net_; }
  [[nodiscard]] bool of_data() const { return of_data_; }
  [[nodiscard]] decltype(auto) parameters() const { return net_.parameters(); }
  [[nodiscard]] auto null_class() const { return net_.null_class(); }

  template <meanflow::Differentiable X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t, const condition_type& c) const {
    return of_data_ ? data_(z, r, t, c) : net_(z, r, t, c);
  }
  template <meanflow::Differentiable X>
    requires requires(const N& net, const X& x, const condition_type& c) { net.heads(x, x, x, c); }
  [[nodiscard]] auto heads(const X& z, const X& r, const X& t, const condition_type& c) const {
    return of_data_ ? data_.heads(z, r, t, c) : net_.heads(z, r, t, c);
  }
  template <meanflow::Differentiable X>
    requires requires(const N& net, const X& x, const condition_type& c) { net.velocity(x, x, c); }
  [[nodiscard]] X velocity(const X& z, const X& t, const condition_type& c) const {
    return of_data_ ? data_.velocity(z, t, c) : net_.velocity(z, t, c);
  }

 private:
  N net_;
  meanflow::XPrediction<N> data_;  // a copy shares the parameters
  bool of_data_;
};

template <class Device>
[[nodiscard]] auto build(const DiTNet& net) {
  return EitherPrediction(meanflow::DiT<float, Device>(net), net.x_prediction);
}

template <class Device>
[[nodiscard]] auto build(const ImfNet& net) {
  return EitherPrediction(meanflow::ImfTransformer<float, Device>(net), net.x_prediction);
}

template <class Device>
[[nodiscard]] auto build(const meanflow::AttentionUNetSettings& net) {
  return meanflow::AttentionUNet<float, Device>(net);
}

/// Calls f(net) with the net that a configuration describes.
template <class Device = meanflow::Cpu, class F>
decltype(auto) with_net(const Settings& s, const ImageFormat& format, F f) {
  return std::visit([&](const auto& net) { return f(build<Device>(completed(net, s, format))); },
                    s.net);
}

/// Another net of the same kind, with parameters of its own.
template <meanflow::Net N>
[[nodiscard]] N rebuilt(const Settings& s, const ImageFormat& format) {
  std::optional<N> net;
  std::visit(
      [&](const auto& chosen) {
        using Built = decltype(build<typename N::device_type>(completed(chosen, s, format)));
        if constexpr (std::is_same_v<Built, N>)
          net.emplace(build<typename N::device_type>(completed(chosen, s, format)));
      },
      s.net);
  return std::move(*net);
}

/// A `meanflow::TimeSampler` over any of the distributions.
struct Times {
  TimesSettings chosen;

  static constexpr void fields(auto f, auto&... t) { f("times", t.chosen...); }

  [[nodiscard]] std::size_t jump_rows(std::size_t batch, meanflow::RandomStream& stream) const {
    return std::visit([&](const auto& times) { return times.jump_rows(batch, stream); }, chosen);
  }
  /// A GPU calls it too, and can do no std::visit.
  [[nodiscard]] MEANFLOW_HOST_DEVICE meanflow::TimePair<float> sample(
      meanflow::RandomStream& stream, bool jump) const {
    if (const auto* uniform = std::get_if<meanflow::UniformTimes>(&chosen))
      return uniform->sample(stream, jump);
    if (const auto* dyadic = std::get_if<meanflow::DyadicTimes>(&chosen))
      return dyadic->sample(stream, jump);
    return std::get_if<meanflow::LogitNormalTimes>(&chosen)->sample(stream, jump);
  }
};

using Objective = meanflow::Guided<meanflow::AnyFlow>;

/// The objective of one output that a configuration asks for; Mean Flows in place of `imf`, which
/// is one of two (`imf_objective`).
[[nodiscard]] inline Objective make_objective(const Settings& s) {
  Objective made{.guidance = s.guidance};
  std::visit(
      [&](const auto& chosen) {
        if constexpr (!std::is_same_v<std::remove_cvref_t<decltype(chosen)>,
                                      meanflow::ImfObjective>)
          made.objective.objective = chosen;
      },
      s.objective);
  return made;
}

/// Throws meanflow::SettingError if no such net can take such pictures.
inline void check_net(const Settings& s, const ImageFormat& format) {
  std::visit([&](const auto& net) { completed(net, s, format).check(); }, s.net);
}

}  // namespace cifar10
