// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include <doctest/doctest.h>
#include <omp.h>

#include <meanflow/data/toy2d.hpp>
#include <meanflow/eval/classifier_test.hpp>

using namespace meanflow;

namespace {

std::vector<float> normal_points(std::size_t count, std::size_t dim, std::uint64_t step) {
  std::vector<float> points(count * dim);
  fill_normal_rows(std::span(points), dim, 1, Purpose::user, step);
  return points;
}

}  // namespace

TEST_CASE("a classifier reaches the best that is possible between two normal distributions") {
  // The best one is right with probability Phi(d / 2) at a distance of d.
  for (const double d : {1.0, 2.0}) {
    const auto x = normal_points(2000, 3, 1);
    auto y = normal_points(2000, 3, 2);
    for (std::size_t i = 0; i < y.size(); i += 3) y[i] += static_cast<float>(d);
    const double best = 0.5 * std::erfc(-d / 2 / std::sqrt(2.0));
    CHECK(classifier_test(x, y, 3) == doctest::Approx(best).epsilon(0.03));
  }
}

TEST_CASE("a classifier sees no difference where there is none, and one that means do not show") {
  const auto x = normal_points(1500, 2, 3);
  CHECK(classifier_test(x, normal_points(1500, 2, 4), 2) == doctest::Approx(0.5).epsilon(0.06));
  std::vector<float> rings(3000), gaussian = normal_points(1500, 2, 5);
  sample_toy2d(Toy2d::rings, rings, 1, 0);
  CHECK(classifier_test(rings, gaussian, 2) > 0.57);
}

TEST_CASE("units do not matter, the number of threads neither, the seed a little") {
  auto x = normal_points(400, 2, 6), y = normal_points(400, 2, 7);
  for (float& value : y) value *= 2;
  const double found = classifier_test(x, y, 2);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  CHECK(classifier_test(x, y, 2) == found);
  omp_set_num_threads(threads);
  CHECK(classifier_test(x, y, 2, {.seed = 1}) != found);
  for (std::size_t i = 0; i < x.size(); i += 2) {
    x[i] *= 1024;
    y[i] *= 1024;
  }
  CHECK(classifier_test(x, y, 2) == doctest::Approx(found).epsilon(0.03));
}

TEST_CASE("a classifier test of what cannot be compared is refused") {
  const std::vector<float> ten = normal_points(10, 1, 8), four = normal_points(4, 1, 8);
  CHECK_THROWS_WITH_AS(static_cast<void>(classifier_test(ten, four, 1)),
                       "classifier_test: 10 and 4 values are not 5 or more rows of 1 each",
                       ShapeError);
  CHECK_THROWS_AS(static_cast<void>(classifier_test(ten, ten, 3)), ShapeError);
  CHECK_THROWS_AS(static_cast<void>(classifier_test(ten, ten, 1, {.folds = 1})), SettingError);
  CHECK_THROWS_AS(static_cast<void>(classifier_test(ten, ten, 1, {.batch = 0})), SettingError);
  auto bad = ten;
  bad[3] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(static_cast<void>(classifier_test(ten, bad, 1)),
                       "classifier_test: row 3 of the second set is not finite", Error);
}

TEST_CASE("the example of the documentation") {
  const auto x = normal_points(500, 2, 9), y = normal_points(500, 2, 10);
  // [docs:classifier]
  const double accuracy = classifier_test(x, y, 2);  // 0.5: nothing tells them apart
  // [docs:end]
  CHECK(accuracy == doctest::Approx(0.5).epsilon(0.1));
}
