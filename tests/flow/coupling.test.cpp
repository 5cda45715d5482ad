// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/flow/coupling.hpp>
#include <meanflow/flow/sampler.hpp>

using namespace meanflow;

namespace {

template <class T>
double cost_of(const std::vector<T>& cost, const std::vector<std::int32_t>& pairs) {
  double sum = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i)
    sum += double(cost[i * pairs.size() + static_cast<std::size_t>(pairs[i])]);
  return sum;
}

bool is_permutation(std::vector<std::int32_t> pairs) {
  std::sort(pairs.begin(), pairs.end());
  for (std::size_t i = 0; i < pairs.size(); ++i)
    if (pairs[i] != static_cast<std::int32_t>(i)) return false;
  return true;
}

/// What the noise of the rows of step `step` is, as training draws it.
Tensor<float> noise_of(const Tensor<float>& x, std::uint64_t seed, std::uint64_t step) {
  Tensor<float> noise(x.shape());
  fill_normal_rows(Cpu{}, seed, Purpose::noise, step, 0, x.rows(), x.row_size(), noise.data());
  return noise;
}

double mean_square(const Tensor<float>& a, const Tensor<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += double(a[i] - b[i]) * double(a[i] - b[i]) / double(a.rows());
  return sum;
}

[[nodiscard]] std::vector<float> sorted(const Tensor<float>& x) {
  std::vector<float> values(x.span().begin(), x.span().end());
  std::sort(values.begin(), values.end());
  return values;
}

}  // namespace

TEST_CASE_TEMPLATE("an assignment is the best of all permutations", T, float, double) {
  RandomStream random(1, Purpose::user);
  for (std::size_t trial = 0; trial < 200; ++trial) {
    const std::size_t n = 1 + trial % 7;
    std::vector<T> cost(n * n);
    for (T& c : cost)  // in every second trial many are equal
      c = trial % 2 ? random.normal<T>() : static_cast<T>(random.below(3));
    const auto found = solve_assignment<T>(cost, n);
    CHECK(is_permutation(found));
    std::vector<std::int32_t> pairs(n);
    std::iota(pairs.begin(), pairs.end(), 0);
    double best = std::numeric_limits<double>::infinity();
    do best = std::min(best, cost_of(cost, pairs));
    while (std::next_permutation(pairs.begin(), pairs.end()));
    CHECK(cost_of(cost, found) == doctest::Approx(best).epsilon(1e-5));
  }
}

TEST_CASE("an assignment of numbers on a line keeps their order") {
  constexpr std::size_t n = 300;
  const auto x = normal_noise<double>({n, 1}, 1), y = normal_noise<double>({n, 1}, 2);
  std::vector<double> cost(n * n);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) cost[i * n + j] = (x[i] - y[j]) * (x[i] - y[j]);
  const auto pairs = solve_assignment<double>(cost, n);
  CHECK(is_permutation(pairs));
  for (std::size_t i = 1; i < n; ++i) {
    const bool in_order = (x[i] < x[0]) == (y[static_cast<std::size_t>(pairs[i])] <
                                            y[static_cast<std::size_t>(pairs[0])]);
    CHECK(in_order);
  }
}

TEST_CASE("an assignment of nothing, and of costs that are none") {
  CHECK(solve_assignment<float>({}, 0).empty());
  const std::vector<float> cost{1, 2, std::numeric_limits<float>::infinity(), 4};
  CHECK_THROWS_WITH_AS(static_cast<void>(solve_assignment<float>(cost, 2)),
                       "solve_assignment: the cost of row 1 and column 0 is inf", Error);
  CHECK_THROWS_AS(static_cast<void>(solve_assignment<float>(cost, 3)), ShapeError);
}

TEST_CASE("optimal transport pairs data with the noise that training draws") {
  const Tensor<float> before = normal_noise({256, 2}, 7);
  const Tensor<float> noise = noise_of(before, 3, 11);
  const TileRows rows{0, 100, 100, 256};
  Tensor<float> x = before;
  NoCondition<float> none;
  couple(OptimalTransport{.block = 256}, rows, 3, 11, x, none);
  CHECK(sorted(x) == sorted(before));
  CHECK(mean_square(noise, x) < 0.1 * mean_square(noise, before));
  SUBCASE("in blocks, each for itself") {
    Tensor<float> blocks = before;
    couple(OptimalTransport{.block = 100}, rows, 3, 11, blocks, none);
    CHECK(sorted(blocks.rows(0, 100)) == sorted(before.rows(0, 100)));
    CHECK(sorted(blocks.rows(200, 256)) == sorted(before.rows(200, 256)));
    CHECK(mean_square(noise, blocks) > mean_square(noise, x));
  }
  SUBCASE("and is left alone by blocks of one") {
    Tensor<float> same = before;
    couple(OptimalTransport{.block = 1}, rows, 3, 11, same, none);
    CHECK(std::ranges::equal(same.span(), before.span()));
  }
}

TEST_CASE("rows keep their conditions, and are paired among those of their class") {
  constexpr std::size_t count = 120;
  Tensor<float> x = normal_noise({count, 2}, 1);
  LabelCondition<float> condition{Tensor<std::int32_t>({count})};
  for (std::size_t i = 0; i < count; ++i) {
    condition.labels[i] = static_cast<std::int32_t>(i % 3);
    x[2 * i] = static_cast<float>(100 * (i % 3));  // shows which class a row is of
  }
  const auto labels = condition.labels.clone();
  const Tensor<float> before = x;
  couple(OptimalTransport{.block = count}, {0, 0, 0, count}, 5, 6, x, condition);
  CHECK_FALSE(std::ranges::equal(x.span(), before.span()));
  for (std::size_t i = 0; i < count; ++i) {
    CHECK(condition.labels[i] == labels[i]);  // so noise stays independent of the class
    CHECK(x[2 * i] == static_cast<float>(100 * condition.labels[i]));
  }
}

TEST_CASE("conditions of floats weigh against distances of the data") {
  constexpr std::size_t count = 200;
  const Tensor<float> before = normal_noise({count, 2}, 1), told = normal_noise({count, 1}, 2);
  const Tensor<float> noise = noise_of(before, 3, 4);
  struct Outcome {
    double data, condition;
  };
  const auto outcome = [&](double weight) {
    Tensor<float> x = before;
    VectorCondition<float> condition{told};
    couple(OptimalTransport{.block = count, .condition_weight = weight}, {0, 0, 0, count}, 3, 4, x,
           condition);
    for (std::size_t i = 0; i < count; ++i) {  // each row with its own
      const auto at = std::find(before.span().begin(), before.span().end(), x[2 * i]);
      CHECK(condition.values[i] == told[static_cast<std::size_t>(at - before.span().begin()) / 2]);
    }
    return Outcome{mean_square(noise, x), mean_square(told, condition.values)};
  };
  const Outcome none = outcome(0), some = outcome(10), all = outcome(1e6);
  CHECK(none.data < some.data);
  CHECK(some.data < all.data);
  CHECK(none.condition > some.condition);
  CHECK(some.condition > all.condition);
  CHECK(some.condition < 0.05);
}

TEST_CASE("Sinkhorn's coupling lies between independence and optimal transport") {
  constexpr std::size_t count = 128;
  const Tensor<float> before = normal_noise({count, 2}, 1);
  const Tensor<float> noise = noise_of(before, 3, 4);
  const auto square = [&](const auto& coupling) {
    Tensor<float> x = before;
    NoCondition<float> none;
    couple(coupling, {0, 0, 0, count}, 3, 4, x, none);
    return mean_square(noise, x);
  };
  const double exact = square(OptimalTransport{.block = count});
  const double sharp = square(SinkhornCoupling{.block = count, .regularization = 0.01});
  const double soft = square(SinkhornCoupling{.block = count, .regularization = 1});
  CHECK(sharp == doctest::Approx(exact).epsilon(0.2));  // rows of data may repeat, or be left out
  CHECK(soft > 2 * sharp);
  CHECK(square(SinkhornCoupling{.block = count, .regularization = 1e4}) > 2);
}

TEST_CASE("data that are not finite stay in their places, where a step reports them") {
  const auto couple_bad = [](const auto& coupling) {
    Tensor<float> x = normal_noise({8, 2}, 1);
    x.row(5)[1] = std::numeric_limits<float>::quiet_NaN();
    const Tensor<float> before = x.clone();
    NoCondition<float> none;
    couple(coupling, {0, 0, 0, 8}, 3, 4, x, none);
    for (std::size_t i = 0; i < x.size(); ++i)
      CHECK((x[i] == before[i] || (std::isnan(x[i]) && std::isnan(before[i]))));
  };
  couple_bad(OptimalTransport{.block = 8});
  couple_bad(SinkhornCoupling{.block = 8});
}

TEST_CASE("Sinkhorn's coupling draws all rows of data equally often") {
  constexpr std::size_t count = 16, seeds = 400;
  std::vector<double> drawn(count);
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    Tensor<float> x({count, 1});
    for (std::size_t i = 0; i < count; ++i) x[i] = static_cast<float>(i) / 8 - 1;
    NoCondition<float> none;
    couple(SinkhornCoupling{.block = count, .regularization = 0.1}, {0, 0, 0, count}, seed, 1, x,
           none);
    for (const float value : x.span()) drawn[static_cast<std::size_t>(8 * (value + 1) + 0.5F)] += 1;
  }
  for (const double times : drawn) CHECK(times == doctest::Approx(seeds).epsilon(0.15));
}

TEST_CASE("couplings with settings out of range are refused") {
  Tensor<float> x = normal_noise({4, 2}, 1);
  NoCondition<float> none;
  CHECK_THROWS_WITH_AS(couple(OptimalTransport{.block = 0}, {0, 0, 0, 4}, 1, 1, x, none),
                       "coupling: block is 0, but must be at least 1", SettingError);
  CHECK_THROWS_AS(couple(SinkhornCoupling{.regularization = 0}, {0, 0, 0, 4}, 1, 1, x, none),
                  SettingError);
  CHECK_THROWS_WITH_AS(
      couple(OptimalTransport{.condition_weight = -1}, {0, 0, 0, 4}, 1, 1, x, none),
      "coupling: condition_weight is -1.000000, but must be finite and at least 0", SettingError);
}
