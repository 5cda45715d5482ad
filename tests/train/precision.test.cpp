// SPDX-License-Identifier: MIT
// Steps whose convolutions are rounded to bfloat16, beside steps in float32.
#include <cmath>
#include <cstddef>
#include <string>

#include <doctest/doctest.h>
#include <skip.hpp>

#include <meanflow/kernels/cpu/conv.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/ops/conv.hpp>
#include <meanflow/ops/reshape.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

namespace {

// u = silu(z * W1) * W2, the times added to its pixels.
struct PixelNet {
  using value_type = float;
  using device_type = Cpu;
  PixelNet()
      : first(store.add("first", {16, 3, 3, 3})), second(store.add("second", {3, 16, 3, 3})) {
    fill_uniform<float>(store.values().span(), -0.3f, 0.3f, RandomStream(5, Purpose::user));
  }
  const Parameters<float>& parameters() const { return store; }
  template <class X>
  X operator()(const X& z, const X& r, const X& t) const {
    const Shape as_pixels{z.shape()[0], 1, 1, 1};
    return conv2d(silu(conv2d(z, first, {}, 1, 1)), second, {}, 1, 1) + reshape(t - r, as_pixels);
  }
  Parameters<float> store{};
  Parameter<float> first, second;
};

auto make_trainer(Precision precision) {
  return MeanFlowTrainer(PixelNet(), {.steps = 60,
                                      .batch = 8,
                                      .learning_rate = {.peak = 1e-3, .decay = Decay::constant},
                                      .precision = precision});
}

bool has_bfloat16() {
  try {
    check_precision(Cpu{}, Precision::bfloat16);
    return true;
  } catch (const SettingError& error) {
    meanflow_test::skip(error.what());
    return false;
  }
}

double length(const Tensor<float>& x) {
  double sum = 0;
  for (const float value : x.span()) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum);
}

}  // namespace

TEST_CASE("gradients in bfloat16 are near to those in float32, and weights stay float32") {
  if (!has_bfloat16()) {
    CHECK_THROWS_AS(make_trainer(Precision::bfloat16), SettingError);
    return;
  }
  auto exact = make_trainer(Precision::float32), rounded = make_trainer(Precision::bfloat16);
  const Tensor<float> x = normal_noise({8, 12, 12, 3}, 1);
  exact.step(x);
  rounded.step(x);
  Tensor<float> difference = rounded.gradient().clone();
  for (std::size_t i = 0; i < difference.size(); ++i) difference[i] -= exact.gradient()[i];
  CHECK(length(difference) < 2e-2 * length(exact.gradient()));
  CHECK(length(difference) > 0);

  // The first step of Adam moves every weight by 1e-3, less than bfloat16 can tell at 0.3.
  const Tensor<float> start = PixelNet().parameters().values();
  for (std::size_t i = 0; i < start.size(); ++i)
    CHECK(std::abs(rounded.net().parameters().values()[i] - start[i]) ==
          doctest::Approx(1e-3).epsilon(0.05));
}

TEST_CASE("training in bfloat16 arrives where training in float32 does") {
  if (!has_bfloat16()) return;
  auto exact = make_trainer(Precision::float32), rounded = make_trainer(Precision::bfloat16);
  const Tensor<float> x = normal_noise({8, 12, 12, 3}, 1);
  double first = 0, square = 0, rounded_square = 0;
  for (int i = 0; i < 60; ++i) {
    square = exact.step(x).metrics["squared_error"];
    rounded_square = rounded.step(x).metrics["squared_error"];
    if (i == 0) first = square;
  }
  CHECK(square < 0.9 * first);
  CHECK(rounded_square == doctest::Approx(square).epsilon(0.02));
}

TEST_CASE("what a scope computes in") {
  if (!has_bfloat16()) return;
  const Tensor<float> x = normal_noise({8, 12, 12, 3}, 1), noise = normal_noise({8, 12, 12, 3}, 2);
  // [docs:bfloat16]
  MeanFlowTrainer trainer(PixelNet(), {.batch = 8, .precision = Precision::bfloat16});
  trainer.step(x);                                  // in bfloat16
  const auto exact = sample(trainer.net(), noise);  // in float32
  const AutocastScope bfloat16(Precision::bfloat16);
  const auto rounded =
      sample(trainer.net(), noise);  // in bfloat16, as all that follows in this scope
  // [docs:end]
  Tensor<float> difference = rounded.clone();
  for (std::size_t i = 0; i < difference.size(); ++i) difference[i] -= exact[i];
  CHECK(length(difference) < 1e-2 * length(exact));
  CHECK(length(difference) > 0);
}

TEST_CASE("a net of doubles is not rounded") {
  const auto make = [] {
    return MeanFlowTrainer(Mlp<double>({.hidden = 4, .layers = 1}),
                           {.precision = Precision::bfloat16});
  };
  CHECK_THROWS_AS(make(), SettingError);
}
