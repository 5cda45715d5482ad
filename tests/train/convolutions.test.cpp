// SPDX-License-Identifier: MIT
// Training runs and derivatives by Winograd's convolutions, beside direct ones.
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <doctest/doctest.h>

#include <meanflow/nn/mean_flow_net.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

namespace {

constexpr std::size_t rows = 8, side = 8;

MeanFlowNet<float> make_net() {
  return MeanFlowNet<float>({.base = 32,
                             .multipliers = {1, 2},
                             .blocks = 1,
                             .classes = 0,
                             .embedding = 16,
                             .condition = 32});
}

/// The squared error, averaged over each 20 of 200 steps of a training run that is stable: another
/// one would amplify any difference, that of rounding too.
std::array<double, 10> curve(ConvolutionAlgorithm convolutions, std::uint64_t seed) {
  MeanFlowTrainer trainer(make_net(), {.steps = 200,
                                       .batch = rows,
                                       .learning_rate = {.peak = 3e-4, .decay = Decay::constant},
                                       .clip_norm = 1,
                                       .seed = seed,
                                       .convolutions = convolutions});
  const Tensor<float> x = normal_noise({rows, side, side, 3}, 1);
  std::array<double, 10> errors{};
  for (std::size_t step = 0; step < 200; ++step)
    errors[step / 20] += trainer.step(x).metrics["squared_error"] / 20;
  return errors;
}

double apart(const std::array<double, 10>& a, const std::array<double, 10>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] - b[i]);
  return sum;
}

}  // namespace

TEST_CASE("training by Winograd's convolutions and by direct ones is closer than two seeds are") {
  const auto direct = curve(ConvolutionAlgorithm::direct, 1);
  const auto automatic = curve(ConvolutionAlgorithm::automatic, 1);
  const auto other_seed = curve(ConvolutionAlgorithm::direct, 2);
  CHECK(direct.back() < 0.95 * direct.front());
  CHECK(automatic != direct);
  CHECK(apart(automatic, direct) < 0.01 * apart(other_seed, direct));
}

TEST_CASE("du/dt by Winograd's convolutions is that of direct ones to 1e-4") {
  const auto net = make_net();
  // The last layer of a new net is 0.
  fill_uniform<float>(net.parameters().values().span(), -0.1f, 0.1f,
                      RandomStream(5, Purpose::user));
  const Tensor<float> z = normal_noise({rows, side, side, 3}, 1);
  const Tensor<float> v = normal_noise({rows, side, side, 3}, 2);
  const auto r = Tensor<float>::full({rows, 1}, 0.2f), t = Tensor<float>::full({rows, 1}, 0.9f);
  const auto derivative = [&] {
    return net(with_tangent(z, v, 1), with_tangent(r, rows, 0), with_tangent(t, rows, 1), {});
  };
  const auto automatic = derivative();
  const auto direct = [&] {
    const ConvolutionScope scope(ConvolutionAlgorithm::direct);
    return derivative();
  }();
  double difference = 0, square = 0;
  for (std::size_t i = 0; i < direct.tangent().size(); ++i) {
    const double expected = direct.tangent()[i];
    difference += std::pow(automatic.tangent()[i] - expected, 2);
    square += expected * expected;
  }
  CHECK(difference > 0);
  CHECK(std::sqrt(difference / square) < 1e-4);
}
