// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include <doctest/doctest.h>
#include <omp.h>

#include <meanflow/eval/sliced_wasserstein.hpp>
#include <meanflow/random/philox.hpp>

using namespace meanflow;

namespace {

std::vector<double> normal_points(std::size_t count, std::size_t dim, std::uint64_t step) {
  std::vector<double> points(count * dim);
  fill_normal_rows(std::span(points), dim, 1, Purpose::user, step);
  return points;
}

}  // namespace

TEST_CASE("on a line the sliced distance is that of the sorted numbers") {
  auto x = normal_points(500, 1, 1), y = normal_points(500, 1, 2);
  for (double& value : y) value = 2 * value + 1;
  const double found = sliced_wasserstein(x, y, 1, {.projections = 3});
  std::sort(x.begin(), x.end());
  std::sort(y.begin(), y.end());
  double square = 0;
  for (std::size_t i = 0; i < 500; ++i) square += (x[i] - y[i]) * (x[i] - y[i]) / 500;
  CHECK(found == doctest::Approx(std::sqrt(square)));
}

TEST_CASE("sets of different sizes are compared by their quantiles") {
  // Quantile functions 0, 3 (halves) and 0, 1, 2 (thirds) differ by 0, 1, 2, 1 over 1/3, 1/6, 1/6,
  // 1/3.
  const std::vector<double> two{3, 0}, three{2, 0, 1};
  const double square = 1.0 / 6 * 1 + 1.0 / 6 * 4 + 1.0 / 3 * 1;
  CHECK(sliced_wasserstein(two, three, 1) == doctest::Approx(std::sqrt(square)));
  CHECK(sliced_wasserstein(three, two, 1) == doctest::Approx(std::sqrt(square)));
  const std::vector<double> each{5, 7, 9}, twice{9, 5, 5, 7, 9, 7};
  CHECK(sliced_wasserstein(each, twice, 1) == doctest::Approx(0));
}

TEST_CASE("a shift of d is |d| / sqrt(dim), a factor s is |s - 1|") {
  const auto x = normal_points(1000, 3, 3);
  auto shifted = x, wider = x;
  const double shift[] = {1, -2, 2};
  for (std::size_t i = 0; i < x.size(); ++i) {
    shifted[i] += shift[i % 3];
    wider[i] *= 1.5;
  }
  const SlicedWassersteinOptions many{.projections = 2000};
  CHECK(sliced_wasserstein(x, shifted, 3, many) ==
        doctest::Approx(3 / std::sqrt(3.0)).epsilon(0.02));
  CHECK(sliced_wasserstein(x, wider, 3, many) == doctest::Approx(0.5).epsilon(0.02));
  CHECK(sliced_wasserstein(x, x, 3) == 0);
}

TEST_CASE("the seed decides on the directions, the number of threads on nothing") {
  const auto x = normal_points(200, 2, 4), y = normal_points(200, 2, 5);
  const double found = sliced_wasserstein(x, y, 2, {.projections = 8});
  CHECK(sliced_wasserstein(x, y, 2, {.projections = 8, .seed = 1}) != found);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  CHECK(sliced_wasserstein(x, y, 2, {.projections = 8}) == found);
  omp_set_num_threads(threads);
  const std::vector<float> x_float(x.begin(), x.end()), y_float(y.begin(), y.end());
  CHECK(sliced_wasserstein(x_float, y_float, 2, {.projections = 8}) == doctest::Approx(found));
}

TEST_CASE("sliced distances of what cannot be compared are refused") {
  const std::vector<double> four{1, 2, 3, 4}, none;
  CHECK_THROWS_AS(static_cast<void>(sliced_wasserstein(four, four, 3)), ShapeError);
  CHECK_THROWS_AS(static_cast<void>(sliced_wasserstein(four, none, 2)), ShapeError);
  CHECK_THROWS_AS(static_cast<void>(sliced_wasserstein(four, four, 2, {.projections = 0})),
                  SettingError);
  std::vector<double> bad = four;
  bad[3] = std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH_AS(static_cast<void>(sliced_wasserstein(four, bad, 2)),
                       "sliced_wasserstein: row 1 of the second set is not finite", Error);
}

TEST_CASE("the example of the documentation") {
  const auto x = normal_points(4000, 2, 6), y = normal_points(4000, 2, 7);
  // [docs:sliced]
  const double distance = sliced_wasserstein(x, y, 2);  // in the units of the data
  // [docs:end]
  CHECK(distance < 0.1);
}
