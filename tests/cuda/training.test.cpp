// SPDX-License-Identifier: MIT
// Trainings on the device beside the same ones on the processor.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <doctest/doctest.h>
#include <io/temporary_folder.hpp>

#include <meanflow/cuda.hpp>

using namespace meanflow;

namespace {

double largest_difference(const Tensor<float>& a, const Tensor<float>& b) {
  double difference = 0, magnitude = 1;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(a[i] - b[i])));
    magnitude = std::max(magnitude, std::abs(static_cast<double>(b[i])));
  }
  return difference / magnitude;
}

TrainerSettings settings() {
  return {.steps = 20,
          .batch = 32,
          .learning_rate = {.peak = 1e-3, .warmup_steps = 5},
          .averages = {WarmupEma{}, ConstantEma{0.9}},
          .clip_norm = 1,
          .seed = 3};
}

/// 20 steps of both, which agree step by step.
template <class Host, class Device, class Fill>
void expect_same_course(Host& host, Device& device, const Shape& shape, Fill fill_batch) {
  for (int i = 0; i < 20; ++i) {
    Tensor<float> x(shape);
    Condition<float> condition;
    fill_batch(x, condition);
    const StepReport expected = host.step(x, condition);
    const StepReport found =
        device.step(to_device<Cuda>(x), {to_device<Cuda>(condition.labels), {}, {}});
    INFO("step ", i);
    CHECK(found.loss == doctest::Approx(expected.loss).epsilon(1e-3));
    CHECK(found.square == doctest::Approx(expected.square).epsilon(1e-3));
    CHECK(found.gradient_norm == doctest::Approx(expected.gradient_norm).epsilon(1e-3));
    CHECK(found.derivative_norm == doctest::Approx(expected.derivative_norm).epsilon(1e-3));
    CHECK(found.jump_rows == expected.jump_rows);
  }
  CHECK(largest_difference(to_host(device.net().parameters().values()),
                           host.net().parameters().values()) < 1e-3);
  CHECK(largest_difference(to_host(device.average(1)), host.average(1)) < 1e-3);
}

}  // namespace

TEST_CASE("an Mlp takes the same course on the device") {
  const MlpSettings net{.hidden = 32, .layers = 2, .seed = 1};
  MeanFlowTrainer host(Mlp<float>(net), settings());
  MeanFlowTrainer device(Mlp<float, Cuda>(net), settings());
  std::uint64_t step = 0;
  expect_same_course(host, device, {32, 2}, [&](const Tensor<float>& x, Condition<float>&) {
    Toy2dSource{Toy2d::rings}.fill(x, 1, step++);
  });
}

TEST_CASE("a MeanFlowNet with attention, labels and guidance takes the same course") {
  const MeanFlowNetSettings net{.channels = 2,
                                .base = 8,
                                .multipliers = {1, 2},
                                .blocks = 1,
                                .classes = 3,
                                .embedding = 8,
                                .condition = 16,
                                .attention_levels = {1}};
  const auto make = [&](auto of_device) {
    TrainerSettings s = settings();
    s.batch = 8;
    s.label_dropout.rate = 0.25;
    return MeanFlowTrainer(MeanFlowNet<float, decltype(of_device)>(net), s, LinearPath{},
                           LogitNormalTimes{}, AdaptiveWeighting{},
                           Guided<MeanFlow>{.omega = 1, .kappa = 0.5});
  };
  auto host = make(Cpu{});
  auto device = make(Cuda{});
  std::uint64_t step = 0;
  expect_same_course(host, device, {8, 8, 8, 2},
                     [&](const Tensor<float>& x, Condition<float>& condition) {
                       const auto noise = normal_noise({8, 8, 8, 2}, ++step);
                       std::copy_n(noise.data(), noise.size(), x.data());
                       condition.labels = Tensor<std::int32_t>({8});
                       for (std::size_t i = 0; i < 8; ++i)
                         condition.labels[i] = static_cast<std::int32_t>(i % 3);
                     });
}

TEST_CASE("a SongUNet with dropout and classes takes the same course") {
  const SongUNetSettings net{.resolution = 8,
                             .classes = 3,
                             .dropout = 0.2,
                             .model_channels = 8,
                             .channel_mult = {1, 2},
                             .blocks = 1,
                             .attention_resolutions = {4}};
  const auto make = [&](auto of_device) {
    TrainerSettings s = settings();
    s.batch = 4;
    return MeanFlowTrainer(SongUNet<float, decltype(of_device)>(net), s, LinearPath{},
                           LogitNormalTimes{}, AdaptiveWeighting{}, ImprovedMeanFlow{});
  };
  auto host = make(Cpu{});
  auto device = make(Cuda{});
  std::uint64_t step = 0;
  expect_same_course(host, device, {4, 8, 8, 3},
                     [&](const Tensor<float>& x, Condition<float>& condition) {
                       const auto noise = normal_noise({4, 8, 8, 3}, ++step);
                       std::copy_n(noise.data(), noise.size(), x.data());
                       condition.labels = Tensor<std::int32_t>::full({4}, 2);
                     });
}

TEST_CASE("fit reads from sources of the host, and samples are those of the processor") {
  const MlpSettings net{.hidden = 32, .layers = 2, .seed = 1};
  MeanFlowTrainer host(Mlp<float>(net), settings());
  MeanFlowTrainer device(Mlp<float, Cuda>(net), settings());
  host.fit(Toy2dSource{});
  device.fit(Toy2dSource{});
  const auto noise = normal_noise({100, 2}, 5);
  for (const std::size_t steps : {1, 3})
    CHECK(largest_difference(to_host(device.sample(to_device<Cuda>(noise), steps)),
                             host.sample(noise, steps)) < 1e-3);
}

TEST_CASE("a checkpoint of one device is one of the other") {
  const meanflow_test::TemporaryFolder folder;
  const MlpSettings net{.hidden = 32, .layers = 2, .seed = 1};
  MeanFlowTrainer device(Mlp<float, Cuda>(net), settings());
  device.fit(Toy2dSource{});
  save_checkpoint(folder / "c.safetensors", device);
  MeanFlowTrainer host(Mlp<float>(net), settings());
  load_checkpoint(folder / "c.safetensors", host);
  MeanFlowTrainer again(Mlp<float, Cuda>(net), settings());
  load_checkpoint(folder / "c.safetensors", again);
  const auto expected = to_host(device.net().parameters().values());
  CHECK(largest_difference(host.net().parameters().values(), expected) == 0);
  CHECK(largest_difference(to_host(again.net().parameters().values()), expected) == 0);
  CHECK(again.steps_done() == 20);
  Mlp<float, Cuda> loaded(net);
  load_parameters(folder / "c.safetensors", loaded.parameters(), "average.0.");
  CHECK(largest_difference(to_host(loaded.parameters().values()), to_host(device.average())) == 0);
}
