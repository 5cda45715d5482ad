// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <numbers>
#include <span>
#include <vector>

#include <doctest/doctest.h>
#include <omp.h>

#include <meanflow/eval/energy_distance.hpp>
#include <meanflow/random/philox.hpp>

using namespace meanflow;

namespace {

template <class T>
std::vector<T> normal_points(std::size_t count, std::size_t dim, std::uint64_t step, T shift = 0) {
  std::vector<T> points(count * dim);
  fill_normal_rows(std::span(points), dim, 1, Purpose::user, step);
  for (T& value : points) value += shift;
  return points;
}

template <class T>
double mean_distance(const std::vector<T>& x, const std::vector<T>& y, std::size_t dim) {
  long double sum = 0;
  for (std::size_t i = 0; i < x.size(); i += dim) {
    for (std::size_t j = 0; j < y.size(); j += dim) {
      double square = 0;
      for (std::size_t d = 0; d < dim; ++d) square += std::pow(double(x[i + d]) - y[j + d], 2);
      sum += std::sqrt(square);
    }
  }
  return double(sum / (x.size() / dim) / (y.size() / dim));
}

template <class T>
double brute_force(const std::vector<T>& x, const std::vector<T>& y, std::size_t dim) {
  const double n = double(x.size() / dim), m = double(y.size() / dim);
  return 2 * mean_distance(x, y, dim) - mean_distance(x, x, dim) * n / (n - 1) -
         mean_distance(y, y, dim) * m / (m - 1);
}

}  // namespace

TEST_CASE("A known answer, from NumPy") {
  const std::vector<double> x{0.13, -0.13, 0.64, 0.1, -0.54, 0.36, 1.3, 0.95, -0.7, -1.27};
  const std::vector<double> y{0.38, 1.04, -1.33, 0.78, -0.25, 0.27, 0.46, 0.68};
  CHECK(energy_distance(x, y, 2) == doctest::Approx(0.03594893843867131).epsilon(1e-12));
}

TEST_CASE("Answers by hand") {
  // |x - y| = 1 for all four pairs, |x - x'| = |y - y'| = 0.
  const std::vector<double> zeros{0, 0}, ones{1, 1};
  CHECK(energy_distance(zeros, ones, 1) == doctest::Approx(2));
  CHECK(energy_distance(zeros, zeros, 1) == 0);
  const std::vector<float> a{0, 0, 3, 4}, b{0, 0, 0, 0};
  CHECK(energy_distance(a, b, 2) == doctest::Approx(2 * 2.5 - 5));
}

TEST_CASE_TEMPLATE("Brute force agrees, for every remainder of the vector width", T, float,
                   double) {
  const double tolerance = sizeof(T) == 4 ? 1e-6 : 1e-13;
  for (const std::size_t dim : {1U, 2U, 3U, 17U}) {
    for (std::size_t n = 2; n < 40; n += dim == 2 ? 1 : 5) {
      const auto x = normal_points<T>(n, dim, 1), y = normal_points<T>(n + 3, dim, 2, T(0.5));
      CHECK(std::abs(energy_distance(x, y, dim) - brute_force(x, y, dim)) < tolerance * dim);
    }
  }
  const auto x = normal_points<T>(700, 2, 3), y = normal_points<T>(900, 2, 4);
  CHECK(std::abs(energy_distance(x, y, 2) - brute_force(x, y, 2)) < tolerance);
}

TEST_CASE("It is unbiased: nothing but noise between equal distributions") {
  double sum = 0, square = 0;
  const int repetitions = 400;
  for (int i = 0; i < repetitions; ++i) {
    const auto x = normal_points<float>(30, 2, 100 + 2 * i);
    const auto y = normal_points<float>(20, 2, 101 + 2 * i);
    const double value = energy_distance(x, y, 2);
    sum += value / repetitions;
    square += value * value / repetitions;
  }
  CHECK(std::abs(sum) < 4 * std::sqrt(square / repetitions));
}

TEST_CASE("The distance between two normal distributions") {
  // In one dimension, for means that differ by d: 2 E|N(d, 2)| - 2 E|N(0, 2)|, where
  // E|N(d, 2)| = (2 / sqrt(pi)) exp(-d^2 / 4) + d erf(d / 2).
  const double d = 1;
  const double root = std::sqrt(std::numbers::pi);
  const double exact = 2 * (2 / root * std::exp(-d * d / 4) + d * std::erf(d / 2)) - 2 * (2 / root);
  // [docs:energy]
  const std::vector<double> x = normal_points<double>(4000, 1, 5);  // (N, 1)
  const std::vector<double> y = normal_points<double>(4000, 1, 6, 1.0);
  const double distance = energy_distance(x, y, 1);
  // [docs:end]
  CHECK(distance == doctest::Approx(exact).epsilon(0.05));
}

TEST_CASE("The number of threads changes nothing") {
  const auto x = normal_points<float>(1000, 2, 7), y = normal_points<float>(1100, 2, 8);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const double one = energy_distance(x, y, 2);
  omp_set_num_threads(4);
  const double four = energy_distance(x, y, 2);
  omp_set_num_threads(threads);
  CHECK(one == four);
  CHECK(energy_distance(y, x, 2) == doctest::Approx(one).epsilon(1e-4));
}

TEST_CASE("Points that are not finite give NaN") {
  auto x = normal_points<float>(40, 2, 9);
  const auto y = normal_points<float>(40, 2, 10);
  x[7] = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(energy_distance(x, y, 2)));
}

TEST_CASE("Sizes that do not fit are refused") {
  const std::vector<float> two(4), odd(5), one(2);
  CHECK_THROWS_AS((void)energy_distance(two, odd, 2), ShapeError);
  CHECK_THROWS_AS((void)energy_distance(odd, two, 2), ShapeError);
  CHECK_THROWS_AS((void)energy_distance(one, two, 2), ShapeError);
  CHECK_THROWS_AS((void)energy_distance(two, two, 0), ShapeError);
  CHECK_THROWS_AS((void)energy_distance(std::vector<float>{}, two, 2), ShapeError);
}
