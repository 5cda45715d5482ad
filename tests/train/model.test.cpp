// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/meanflow.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

namespace {

[[nodiscard]] Mlp<> small_net(std::uint64_t seed = 1) {
  return Mlp<>({.hidden = 8, .layers = 1, .seed = seed});
}

[[nodiscard]] auto trained() {
  MeanFlowTrainer trainer(small_net(), {.steps = 5,
                                        .batch = 16,
                                        .learning_rate = {.peak = 0.01},
                                        .averages = {ConstantEma{0.9}, ConstantEma{0.5}}});
  trainer.fit(Toy2dSource{});
  return trainer;
}

[[nodiscard]] bool same(const Tensor<float>& a, const Tensor<float>& b) {
  return a.shape() == b.shape() && std::ranges::equal(a.span(), b.span());
}

template <class F>
std::string refusal(F f) {
  return message_of<FileError>(f);
}

/// A net of one's own, which says nothing of its settings.
class OwnNet {
 public:
  using value_type = float;
  using device_type = Cpu;
  [[nodiscard]] const Parameters<float>& parameters() const { return parameters_; }
  template <Differentiable X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t) const {
    return layer_(concat(z, r, t));
  }

 private:
  Parameters<float> parameters_{1};
  Linear<float> layer_{parameters_, "layer", 5, 3};
};

}  // namespace

TEST_CASE("a model in one file samples as the trainer does") {
  const TemporaryFolder folder;
  const auto path = folder / "model.safetensors";
  auto trainer = trained();
  const auto noise = normal_noise({50, 2}, 3);
  save_model(path, trainer, {.metadata = {{"made by", "a test"}}});
  const auto model = load_model<Mlp<>>(path);
  CHECK(model.net.settings().hidden == 8);
  CHECK(model.info.metadata.at("made by") == "a test");
  CHECK(model.info.path == "LinearPath");
  CHECK(same(model.sample(noise), trainer.sample(noise)));
  CHECK(same(model.sample(noise, {.steps = 4}), trainer.sample(noise, 4)));
  CHECK(same(model.sample(50, {.seed = 3}), trainer.sample(noise)));
  // A BLAS may add in another order where there are fewer rows.
  const auto in_parts = model.sample(50, {.seed = 3, .batch = 7});
  for (std::size_t first = 0; first < 50; first += 7) {
    const std::size_t last = std::min<std::size_t>(first + 7, 50);
    CHECK(same(in_parts.rows(first, last), trainer.sample(noise.rows(first, last))));
  }
  // As another program reads it.
  const Safetensors file(path);
  CHECK(file.shape("layers.0.weight") == std::vector<std::size_t>{8, 4});
}

TEST_CASE("the average is saved unless other weights are named") {
  const TemporaryFolder folder;
  const auto path = folder / "model.safetensors";
  const auto trainer = trained();
  const auto saved = [&](const std::string& weights) {
    save_model(path, trainer, {.weights = weights});
    return load_model<Mlp<>>(path).net.parameters().values();
  };
  CHECK(same(saved(""), trainer.average(0)));
  CHECK(same(saved("average.1"), trainer.average(1)));
  CHECK(same(saved("parameters"), trainer.net().parameters().values()));
  CHECK(message_of<SettingError>([&] { save_model(path, trainer, {.weights = "average.2"}); }) ==
        "save_model: weights is \"average.2\", but the trainer has parameters, average.0, "
        "average.1");
  save_model(path, trainer.net());
  CHECK(
      same(load_model<Mlp<>>(path).net.parameters().values(), trainer.net().parameters().values()));
  CHECK_THROWS_AS(save_model(path, trainer.net(), {.weights = "average.0"}), SettingError);
  CHECK_THROWS_AS(save_model(path, trainer, {.metadata = {{"meanflow.net", "x"}}}), SettingError);
}

TEST_CASE("samples come in the units of the data") {
  const TemporaryFolder folder;
  const auto path = folder / "model.safetensors";
  std::vector<double> values;
  for (std::size_t i = 0; i < 40; ++i)
    values.insert(values.end(), {100 + std::sin(double(i)), 1e-3 * std::cos(double(i))});
  // [docs:model]
  const PointSet points(values, 2);
  MeanFlowTrainer trainer(Mlp<>({.hidden = 16, .layers = 1}), {.steps = 3, .batch = 16});
  trainer.fit(points);

  save_model(path, trainer, {.scaling = points.scaling()});
  const auto model = load_model<Mlp<>>(path);
  const Tensor<float> samples = model.sample(1000);  // (1000, 2), in the units of the data
  // [docs:end]
  Tensor<float> expected = trainer.sample(normal_noise({1000, 2}, 0));
  points.to_original(expected.span());
  CHECK(same(samples, expected));
  CHECK(std::abs(samples[0] - 100) < 10);
}

TEST_CASE("numbers and device may be others than those that were saved") {
  const TemporaryFolder folder;
  save_model(folder / "model.safetensors", trained());
  const auto as_float = load_model<Mlp<>>(folder / "model.safetensors");
  const auto as_double = load_model<Mlp<double, Reference>>(folder / "model.safetensors");
  const auto noise = normal_noise({5, 2}, 1);
  Tensor<double, Reference> wide({5, 2});
  std::ranges::copy(noise.span(), wide.data());
  const auto x = as_float.sample(noise);
  const auto y = as_double.sample(wide);
  for (std::size_t i = 0; i < x.size(); ++i)
    CHECK(double(x[i]) == doctest::Approx(y[i]).epsilon(1e-4));
}

TEST_CASE("a net that learnt the velocity is sampled by Euler's rule") {
  const TemporaryFolder folder;
  const auto path = folder / "model.safetensors";
  MeanFlowTrainer<Mlp<>, Recipe<FlowMatching>> trainer(small_net(), {.steps = 2, .batch = 16});
  trainer.fit(Toy2dSource{});
  save_model(path, trainer);
  const auto model = load_model<Mlp<>>(path);
  const auto noise = normal_noise({20, 2}, 3);
  CHECK(same(model.sample(noise, {.steps = 5}), solve(model.net, noise, 5)));
  CHECK(same(model.sample(noise, {.steps = 5, .solver = Solver::heun}),
             solve(model.net, noise, 5, Solver::heun)));
  CHECK(same(trainer.sample(noise, 5), solve(model.net, noise, 5)));
}

TEST_CASE("files that are no model, or another one, are refused by what differs") {
  const TemporaryFolder folder;
  const auto path = folder / "model.safetensors";
  const auto trainer = trained();
  save_model(path, trainer);
  CHECK(contains(refusal([&] { static_cast<void>(load_model<Mlp<float, Cpu, Relu>>(path)); }),
                 "holds a net of the kind 'Mlp<Silu>', but one of the kind 'Mlp<Relu>' is asked"));
  CHECK(contains(refusal([&] {
                   static_cast<void>(load_model(
                       path, Mlp<>({.hidden = 8, .layers = 1, .time = {.inputs = TimeInputs::h}})));
                 }),
                 "was saved with time {"));
  CHECK(load_model(path, small_net(99)).net.parameters().values()[0] ==
        trainer.average(0)[0]);  // the seed does not matter

  save_checkpoint(path, trainer);
  CHECK(contains(refusal([&] { static_cast<void>(load_model<Mlp<>>(path)); }),
                 "is not a model of save_model: it is a meanflow checkpoint 1."));
  save_parameters(path, trainer.net().parameters());
  CHECK(contains(refusal([&] { static_cast<void>(load_model<Mlp<>>(path)); }),
                 "is not a model of save_model."));
  const auto damaged = [&](const std::string& key, const std::string& value) {
    std::map<std::string, std::string> notes{
        {"meanflow.format", "meanflow model 1"},
        {"meanflow.net", "Mlp<Silu>"},
        {"meanflow.settings", settings_to_json(small_net().settings()).dump()},
        {"meanflow.scaling", R"({"mean": [], "scale": []})"},
        {"meanflow.row_shape", "[2]"},
        {"meanflow.learnt", "average velocity"},
        {"meanflow.objective", ""},
        {"meanflow.path", ""}};
    notes[key] = value;
    save_parameters(path, small_net().parameters(), notes);
    return refusal([&] { static_cast<void>(load_model<Mlp<>>(path)); });
  };
  CHECK(damaged("meanflow.path", "any").empty());
  CHECK(contains(damaged("meanflow.settings", "{"), "meanflow.settings reads '{'."));
  CHECK(contains(damaged("meanflow.settings", "{}"), "setting dimension is missing."));
  auto more = settings_to_json(small_net().settings());
  more["depth"] = 3;
  CHECK(contains(damaged("meanflow.settings", more.dump()),
                 "setting depth is not known to this version."));
  more.erase("depth");
  more["time"]["scale"] = "large";
  CHECK(contains(damaged("meanflow.settings", more.dump()),
                 "setting time.scale is \"large\", which is of another type."));
  more["time"]["scale"] = 1.0;
  for (const auto& wrong : {nlohmann::json(2.7), nlohmann::json(-1)}) {
    more["hidden"] = wrong;
    CHECK(contains(damaged("meanflow.settings", more.dump()),
                   "setting hidden is " + wrong.dump() + ", which is of another type."));
  }
  more["time"] = 3;
  more["hidden"] = 8;
  CHECK(contains(damaged("meanflow.settings", more.dump()), "setting time is not a JSON object."));
  CHECK(contains(damaged("meanflow.row_shape", "[1, 2, 3, 4, 5]"), "has 5 extents."));
  CHECK(contains(damaged("meanflow.scaling", R"({"mean": [1], "scale": []})"),
                 "has 1 means for 0 factors."));
}

TEST_CASE("a scaling that does not fit the rows is not saved") {
  const TemporaryFolder folder;
  const auto path = folder / "model.safetensors";
  CHECK_THROWS_WITH_AS(
      save_model(path, small_net(), {.scaling = {.mean = {0, 0, 0}, .scale = {1, 1, 1}}}),
      "save_model: a scaling of 3 columns for rows of shape (2)", ShapeError);
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("a net of one's own is loaded into one that is there") {
  const TemporaryFolder folder;
  const auto path = folder / "model.safetensors";
  const OwnNet net;
  net.parameters().values().data()[0] = 7;
  save_model(path, net, {.row_shape = {3}});
  const auto model = load_model(path, OwnNet());
  CHECK(model.net.parameters().values()[0] == 7);
  CHECK(model.sample(4).shape() == Shape{4, 3});
  save_model(path, net);
  CHECK_THROWS_AS(static_cast<void>(load_model(path, OwnNet()).sample(4)), SettingError);
  MeanFlowTrainer trainer(OwnNet(), {.steps = 1, .batch = 4});
  static_cast<void>(trainer.step(normal_noise({4, 3}, 1)));
  save_model(path, trainer);  // the shape is that of the batch
  CHECK(load_model(path, OwnNet()).sample(2).shape() == Shape{2, 3});
}

TEST_CASE("settings of every net can be written and read") {
  const auto back = [](const auto& settings) {
    using S = std::remove_cvref_t<decltype(settings)>;
    return settings_to_json(settings_from_json<S>(settings_to_json(settings))) ==
           settings_to_json(settings);
  };
  CHECK(back(MlpSettings{.hidden = 3, .octaves = 2, .time = {.encoding = TimeEncoding::fourier}}));
  CHECK(back(MeanFlowNetSettings{.multipliers = {1, 3}, .attention_levels = {1}}));
  CHECK(back(SongUNetSettings{.dropout = 0.25, .resample_filter = {1, 1}}));
  CHECK(back(AffineNetSettings{.dimension = 3, .rank = 1}));
}
