// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/nn/linear.hpp>

using namespace meanflow;

namespace {

struct Moments {
  double mean = 0, variance = 0, largest = 0;
};

// Of a weight (300, 200): fan_in 200, fan_out 300.
Moments moments(Distribution distribution, double gain, Shape shape = {300, 200}) {
  Parameters<double> parameters(1);
  const auto weight = parameters.add("weight", shape);
  initialize(weight, {distribution, gain});
  Moments result;
  const double n = static_cast<double>(weight.size());
  for (const double value : weight.tensor().span()) {
    result.mean += value / n;
    result.variance += value * value / n;
    result.largest = std::max(result.largest, std::abs(value));
  }
  return result;
}

void expect_uniform(Distribution distribution, double bound, double gain = 2) {
  const auto found = moments(distribution, gain);
  CHECK(std::abs(found.mean) < 0.02 * bound);
  CHECK(found.largest <= bound);
  CHECK(found.largest > 0.99 * bound);
  CHECK(found.variance == doctest::Approx(bound * bound / 3).epsilon(0.02));
}

void expect_normal(Distribution distribution, double deviation, double gain = 2) {
  const auto found = moments(distribution, gain);
  CHECK(std::abs(found.mean) < 0.02 * deviation);
  CHECK(found.largest > 3 * deviation);
  CHECK(found.variance == doctest::Approx(deviation * deviation).epsilon(0.03));
}

}  // namespace

TEST_CASE("initial values have the ranges and variances of their names") {
  CHECK(moments(Distribution::zeros, 1).largest == 0);
  CHECK(moments(Distribution::ones, 1).mean == doctest::Approx(1));
  expect_uniform(Distribution::uniform, 2);
  expect_normal(Distribution::normal, 2);
  expect_uniform(Distribution::xavier_uniform, 2 * std::sqrt(6.0 / 500));
  expect_normal(Distribution::xavier_normal, 2 * std::sqrt(2.0 / 500));
  expect_uniform(Distribution::kaiming_uniform, 2 * std::sqrt(3.0 / 200));
  expect_normal(Distribution::kaiming_normal, 2 / std::sqrt(200.0));
  expect_uniform(Distribution::fan_in_uniform, 2 / std::sqrt(200.0));
}

TEST_CASE("fans of a convolution's weight count its window") {
  // (out, in, 3, 3): fan_in = 9 in, fan_out = 9 out.
  const auto found = moments(Distribution::xavier_uniform, 1, {20, 30, 3, 3});
  const double bound = std::sqrt(6.0 / (9 * 50));
  CHECK(found.largest <= bound);
  CHECK(found.largest > 0.99 * bound);
}

TEST_CASE("a bias has the fans of its layer") {
  Parameters<double> parameters(1);
  const Linear<double> layer(parameters, "layer", 400, 300);
  double largest = 0;
  for (const double value : layer.bias.tensor().span())
    largest = std::max(largest, std::abs(value));
  CHECK(largest <= 1 / std::sqrt(400.0));
  CHECK(largest > 0.95 / std::sqrt(400.0));
  const Linear<double> bare(parameters, "bare", 4, 3, {.bias = false});
  CHECK(bare.bias.empty());
  CHECK(parameters.entries().size() == 3);
}

TEST_CASE("initial values depend on the seed and on the place of the parameter") {
  const auto draw = [](std::uint64_t seed, std::size_t before) {
    Parameters<double> parameters(seed);
    for (std::size_t i = 0; i < before; ++i) parameters.add(std::to_string(i), {3});
    const auto weight = parameters.add("weight", {4, 4});
    initialize(weight, {});
    return weight.tensor().clone();
  };
  CHECK(test::same_bits(draw(1, 0), draw(1, 0)));
  CHECK_FALSE(test::same_bits(draw(1, 0), draw(2, 0)));
  CHECK_FALSE(test::same_bits(draw(1, 0), draw(1, 1)));
}
