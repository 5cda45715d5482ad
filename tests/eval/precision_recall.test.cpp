// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include <doctest/doctest.h>
#include <omp.h>

#include <meanflow/data/toy2d.hpp>
#include <meanflow/eval/precision_recall.hpp>
#include <meanflow/random/philox.hpp>

using namespace meanflow;

namespace {

std::vector<double> normal_points(std::size_t count, std::size_t dim, std::uint64_t step) {
  std::vector<double> points(count * dim);
  fill_normal_rows(std::span(points), dim, 1, Purpose::user, step);
  return points;
}

double squared_distance(const double* a, const double* b, std::size_t dim) {
  double sum = 0;
  for (std::size_t d = 0; d < dim; ++d) sum += (a[d] - b[d]) * (a[d] - b[d]);
  return sum;
}

struct Counts {
  double points_in_balls = 0, balls_with_points = 0, pairs = 0;
};

/// All distances, in the words of the papers.
Counts brute_force(const std::vector<double>& points, const std::vector<double>& centres,
                   std::size_t dim, std::size_t k) {
  const std::size_t n = points.size() / dim, m = centres.size() / dim;
  std::vector<bool> inside(n);
  Counts counts;
  for (std::size_t j = 0; j < m; ++j) {
    std::vector<double> others;
    for (std::size_t l = 0; l < m; ++l)
      if (l != j) others.push_back(squared_distance(&centres[j * dim], &centres[l * dim], dim));
    std::nth_element(others.begin(), others.begin() + static_cast<std::ptrdiff_t>(k - 1),
                     others.end());
    double held = 0;
    for (std::size_t i = 0; i < n; ++i)
      if (squared_distance(&points[i * dim], &centres[j * dim], dim) <= others[k - 1]) {
        inside[i] = true;
        ++held;
      }
    counts.balls_with_points += (held > 0) / double(m);
    counts.pairs += held;
  }
  counts.points_in_balls = double(std::count(inside.begin(), inside.end(), true)) / double(n);
  return counts;
}

}  // namespace

TEST_CASE("precision, recall, density and coverage are those of all distances") {
  for (const std::size_t dim : {1UL, 2UL, 7UL}) {
    auto samples = normal_points(300, dim, 1);
    const auto data = normal_points(170, dim, 2);
    for (double& value : samples) value = 1.3 * value + 0.2;
    for (const std::size_t k : {1UL, 3UL, 5UL}) {
      CAPTURE(dim);
      CAPTURE(k);
      const PrecisionRecall found = precision_recall(samples, data, dim, k);
      CHECK(found.precision == brute_force(samples, data, dim, k).points_in_balls);
      CHECK(found.recall == brute_force(data, samples, dim, k).points_in_balls);
      const DensityCoverage dense = density_coverage(samples, data, dim, k);
      const Counts counts = brute_force(samples, data, dim, k);
      CHECK(dense.density == doctest::Approx(counts.pairs / double(k * 300)));
      CHECK(dense.coverage == doctest::Approx(counts.balls_with_points));
    }
  }
}

TEST_CASE("points on a line, counted by hand") {
  const std::vector<double> data{0, 1, 2, 10}, samples{0.5, 1.5, 20, 2.5};
  // k = 1: balls of the data reach 1, 1, 1 and 8; those of the samples 1, 1, 17.5 and 1.
  CHECK(precision_recall(samples, data, 1, 1).precision == 0.75);
  CHECK(precision_recall(samples, data, 1, 1).recall == 1);
  // 0: {0.5}; 1: {0.5, 1.5}; 2: {1.5, 2.5}; 10: {2.5}
  CHECK(density_coverage(samples, data, 1, 1).density == 6.0 / 4);
  CHECK(density_coverage(samples, data, 1, 1).coverage == 1);
}

TEST_CASE("what lies between the modes costs precision, and a mode that is missing recall") {
  constexpr std::size_t count = 4000;
  std::vector<float> data(2 * count), fresh(2 * count);
  sample_toy2d(Toy2d::eight_gaussians, data, 1, 0);
  sample_toy2d(Toy2d::eight_gaussians, fresh, 2, 0);
  const PrecisionRecall best = precision_recall(fresh, data, 2);
  CHECK(best.precision > 0.96);
  CHECK(best.recall > 0.96);
  std::vector<float> bridged = fresh, missing = fresh;
  for (std::size_t i = 0; i < count / 10; ++i) bridged[2 * i] = bridged[2 * i + 1] = 0;
  CHECK(precision_recall(bridged, data, 2).precision ==
        doctest::Approx(best.precision - 0.1).epsilon(0.02));
  for (std::size_t i = 0; i < count; ++i)
    if (missing[2 * i] > 1.1F) missing[2 * i] *= -1;  // the mode at angle 0, to that at pi
  CHECK(precision_recall(missing, data, 2).recall < 0.9);
  CHECK(precision_recall(missing, data, 2).precision > 0.96);
}

TEST_CASE("points that repeat are within reach of themselves") {
  const std::vector<float> three{1, 1, 1, 2, 2, 2};
  CHECK(precision_recall(three, three, 1, 2).precision == 1);
  CHECK(density_coverage(three, three, 1, 2).coverage == 1);
}

TEST_CASE("the number of threads changes nothing, and neither does the type") {
  const auto x = normal_points(2000, 2, 3), y = normal_points(2000, 2, 4);
  const std::vector<float> x_float(x.begin(), x.end()), y_float(y.begin(), y.end());
  const int threads = omp_get_max_threads();
  const double precision = precision_recall(x, y, 2).precision;
  omp_set_num_threads(1);
  CHECK(precision_recall(x, y, 2).precision == precision);
  omp_set_num_threads(threads);
  CHECK(precision_recall(x_float, y_float, 2).precision ==
        doctest::Approx(precision).epsilon(0.01));
}

TEST_CASE("precision and recall of what cannot be compared are refused") {
  const std::vector<double> four{1, 2, 3, 4};
  CHECK_THROWS_WITH_AS(static_cast<void>(precision_recall(four, four, 1, 4)),
                       "precision_recall: 4 and 4 values are not more than 4 rows of 1 each",
                       ShapeError);
  CHECK_THROWS_AS(static_cast<void>(precision_recall(four, four, 3, 1)), ShapeError);
  CHECK_THROWS_AS(static_cast<void>(precision_recall(four, four, 0, 1)), ShapeError);
  CHECK_THROWS_AS(static_cast<void>(precision_recall(four, four, 1, 0)), SettingError);
  std::vector<double> bad = four;
  bad[3] = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH_AS(static_cast<void>(density_coverage(four, bad, 2, 1)),
                       "density_coverage: row 1 of the second set is not finite", Error);
}

TEST_CASE("the example of the documentation") {
  std::vector<float> data(16000), samples(16000);
  sample_toy2d(Toy2d::two_moons, data, 1, 0);
  sample_toy2d(Toy2d::two_moons, samples, 2, 0);
  // [docs:precision]
  const auto [precision, recall] = precision_recall(samples, data, 2);  // both (N, 2)
  const auto [density, coverage] = density_coverage(samples, data, 2);
  // [docs:end]
  CHECK(precision > 0.97);
  CHECK(recall > 0.97);
  CHECK(density == doctest::Approx(1).epsilon(0.05));
  CHECK(coverage > 0.95);
}
