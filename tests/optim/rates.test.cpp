// SPDX-License-Identifier: MIT
#include <cmath>

#include <doctest/doctest.h>

#include <meanflow/optim/ema.hpp>
#include <meanflow/optim/learning_rate.hpp>

using namespace meanflow;

TEST_CASE("a constant learning rate") {
  const LearningRate rate{.peak = 0.5, .decay = Decay::constant};
  CHECK(rate.at(0, 100) == 0.5);
  CHECK(rate.at(99, 100) == 0.5);
}

TEST_CASE("warm-up is linear") {
  const LearningRate rate{
      .peak = 1, .warmup_steps = 10, .warmup_start = 0.2, .decay = Decay::constant};
  CHECK(rate.at(0, 100) == doctest::Approx(0.2));
  CHECK(rate.at(5, 100) == doctest::Approx(0.6));
  CHECK(rate.at(10, 100) == 1);
  CHECK(rate.at(50, 100) == 1);
  CHECK(LearningRate{.peak = 1, .warmup_steps = 4}.at(0, 100) == 0);
}

TEST_CASE("the rate falls as half a cosine to its final fraction") {
  const LearningRate rate{
      .peak = 2, .warmup_steps = 10, .decay = Decay::cosine, .final_fraction = 0.1};
  CHECK(rate.at(10, 110) == 2);
  CHECK(rate.at(60, 110) == doctest::Approx(2 * 0.55));
  CHECK(rate.at(35, 110) == doctest::Approx(2 * (0.1 + 0.9 * 0.5 * (1 + std::sqrt(0.5)))));
  CHECK(rate.at(110, 110) == doctest::Approx(0.2));
  CHECK(rate.at(500, 110) == doctest::Approx(0.2));
  for (std::uint64_t step = 10; step < 109; ++step)
    CHECK(rate.at(step + 1, 110) < rate.at(step, 110));
  CHECK(rate.at(3, 5) == doctest::Approx(0.6));
  CHECK(rate.at(10, 5) == 2);
}

TEST_CASE("rules of averages") {
  CHECK(ConstantEma{0.9}.at(0, 8) == 0.9);
  CHECK(ConstantEma{0.9}.at(1000, 8) == 0.9);
  CHECK(WarmupEma{}.at(0, 8) == doctest::Approx(0.1));
  CHECK(WarmupEma{}.at(90, 8) == doctest::Approx(0.91));
  CHECK(WarmupEma{}.at(1'000'000, 8) == 0.999);
  // The average forgets half within the half-life: decay^(half_life / batch) = 1/2.
  const HalfLifeEma rule{.half_life = 1000, .rampup = 0.05};
  CHECK(std::pow(rule.at(1'000'000, 10), 100) == doctest::Approx(0.5));
  CHECK(rule.at(0, 10) == 0);
  CHECK(rule.at(100, 10) == doctest::Approx(std::pow(0.5, 10.0 / 50)));
  CHECK(decay_at(WarmupEma{0.5}, 90, 8) == 0.5);
  CHECK(decay_at(Averaging(rule), 100, 10) == rule.at(100, 10));
}
