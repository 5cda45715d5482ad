// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <archetypes.hpp>
#include <doctest/doctest.h>

#include <meanflow/flow/time_sampler.hpp>
#include <meanflow/kernels/cpu.hpp>

using namespace meanflow;

static_assert(TimeSampler<UniformTimes> && TimeSampler<LogitNormalTimes>);
static_assert(TimeSampler<test::ArchetypeTimes>);

namespace {

struct NoCount {
  TimePair<float> sample(RandomStream&, bool) const { return {0, 1}; }
};
struct OneTime {
  std::size_t jump_rows(std::size_t batch, RandomStream&) const { return batch; }
  float sample(RandomStream&, bool) const { return 1; }
};
static_assert(!TimeSampler<NoCount> && !TimeSampler<OneTime>);

constexpr std::size_t draws = 20000;

template <class Times>
std::vector<TimePair<float>> draw(const Times& times, bool jump) {
  std::vector<TimePair<float>> pairs;
  for (std::size_t row = 0; row < draws; ++row) {
    RandomStream stream(1, Purpose::times, 0, row);
    pairs.push_back(times.sample(stream, jump));
  }
  return pairs;
}

double mean(const std::vector<TimePair<float>>& pairs, auto f) {
  double sum = 0;
  for (const auto& pair : pairs) sum += static_cast<double>(f(pair));
  return sum / static_cast<double>(pairs.size());
}

const auto r_of = [](const auto& pair) { return pair.r; };
const auto t_of = [](const auto& pair) { return pair.t; };

}  // namespace

TEST_CASE_TEMPLATE("0 <= r <= t <= 1, and r = t without a jump", Times, UniformTimes,
                   LogitNormalTimes) {
  for (const Pairing pairing : {Pairing::sort_then_equal, Pairing::equal_then_min}) {
    Times times;
    times.pairing = pairing;
    for (const auto& [r, t] : draw(times, true)) REQUIRE((0 <= r && r <= t && t <= 1));
    for (const auto& [r, t] : draw(times, false)) REQUIRE(r == t);
  }
}

TEST_CASE("uniform times: sorted, they are smaller and larger of two; the other pairing keeps t") {
  const auto sorted = draw(UniformTimes{}, true);
  CHECK(mean(sorted, r_of) == doctest::Approx(1.0 / 3).epsilon(0.02));
  CHECK(mean(sorted, t_of) == doctest::Approx(2.0 / 3).epsilon(0.02));
  UniformTimes times;
  times.pairing = Pairing::equal_then_min;
  const auto kept = draw(times, true);
  CHECK(mean(kept, t_of) == doctest::Approx(0.5).epsilon(0.02));
  CHECK(mean(kept, r_of) == doctest::Approx(1.0 / 3).epsilon(0.02));
  CHECK(mean(draw(times, false), t_of) == doctest::Approx(0.5).epsilon(0.02));
  CHECK(mean(draw(UniformTimes{}, false), t_of) == doctest::Approx(2.0 / 3).epsilon(0.02));
}

TEST_CASE("logit-normal times have the logits that are asked for") {
  LogitNormalTimes times{.t = {.mean = -0.6, .deviation = 1.6}};
  times.pairing = Pairing::equal_then_min;
  const auto pairs = draw(times, false);
  const auto logit = [](const auto& pair) {
    return std::log(static_cast<double>(pair.t) / (1 - static_cast<double>(pair.t)));
  };
  const double m = mean(pairs, logit);
  CHECK(m == doctest::Approx(-0.6).epsilon(0.05));
  const double variance =
      mean(pairs, [&](const auto& pair) { return (logit(pair) - m) * (logit(pair) - m); });
  CHECK(std::sqrt(variance) == doctest::Approx(1.6).epsilon(0.05));
}

TEST_CASE("r may have a distribution of its own") {
  LogitNormalTimes times{.t = {.mean = 3, .deviation = 0.1}, .r = LogitNormalTime{-3, 0.1}};
  const auto pairs = draw(times, true);
  CHECK(mean(pairs, t_of) > 0.9);
  CHECK(mean(pairs, r_of) < 0.1);
}

TEST_CASE("the number of jumps is exact, or by chance") {
  UniformTimes times{.jump_fraction = 0.25};
  RandomStream stream(1, Purpose::times);
  CHECK(times.jump_rows(1000, stream) == 250);
  times.jump_fraction = 0;
  CHECK(times.jump_rows(1000, stream) == 0);
  times.jump_fraction = 1;
  CHECK(times.jump_rows(1000, stream) == 1000);
  times.count = JumpCount::by_chance;
  CHECK(times.jump_rows(1000, stream) == 1000);
  times.jump_fraction = 0.25;
  std::vector<std::size_t> counts;
  for (std::uint64_t step = 0; step < 50; ++step) {
    RandomStream of_step(1, Purpose::times, step);
    counts.push_back(times.jump_rows(1000, of_step));
    CHECK(std::abs(static_cast<double>(counts.back()) - 250) < 80);
  }
  CHECK(std::adjacent_find(counts.begin(), counts.end(), std::not_equal_to<>()) != counts.end());
}

TEST_CASE("an exact share that is no whole number of rows is exact in the mean") {
  for (const std::size_t batch : {1, 6, 14, 33}) {
    const UniformTimes times{.jump_fraction = 0.1};
    std::size_t sum = 0;
    constexpr std::size_t steps = 4000;
    for (std::uint64_t step = 0; step < steps; ++step) {
      RandomStream stream(1, Purpose::times, step);
      const std::size_t jumps = times.jump_rows(batch, stream);
      const double share = 0.1 * static_cast<double>(batch);
      CHECK(std::abs(static_cast<double>(jumps) - share) < 1);
      sum += jumps;
    }
    CHECK(static_cast<double>(sum) / steps ==
          doctest::Approx(0.1 * static_cast<double>(batch)).epsilon(0.15));
  }
}

TEST_CASE("a fraction outside [0, 1] is refused") {
  RandomStream stream(1, Purpose::times);
  for (const double fraction : {-0.1, 1.5, static_cast<double>(NAN)})
    CHECK_THROWS_AS((void)UniformTimes{.jump_fraction = fraction}.jump_rows(8, stream),
                    SettingError);
  CHECK_THROWS_WITH_AS((void)UniformTimes{.jump_fraction = 1.5}.jump_rows(8, stream),
                       "jump_fraction is 1.500000, but must be in [0, 1]", SettingError);
}
