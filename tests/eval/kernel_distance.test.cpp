// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <omp.h>

#include <meanflow/eval/kernel_distance.hpp>
#include <meanflow/random/philox.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

namespace {

template <class T>
Tensor<T> normal_rows(std::size_t count, std::size_t dimension, std::uint64_t step, T shift = 0) {
  Tensor<T> rows({count, dimension});
  fill_normal_rows(rows.span(), dimension, 1, Purpose::user, step);
  for (T& value : rows.span()) value += shift;
  return rows;
}

/// The mean of the kernel over all pairs, or over those of different rows.
template <class T>
double mean_of_kernel(const Tensor<T>& x, const Tensor<T>& y, bool one_set) {
  long double sum = 0, pairs = 0;
  for (std::size_t i = 0; i < x.rows(); ++i) {
    for (std::size_t j = 0; j < y.rows(); ++j) {
      if (one_set && i == j) continue;
      long double product = 0;
      for (std::size_t d = 0; d < x.row_size(); ++d) {
        product += (long double)x.row(i)[d] * y.row(j)[d];
      }
      sum += std::pow(product / x.row_size() + 1, 3);
      pairs += 1;
    }
  }
  return double(sum / pairs);
}

template <class T>
double brute_force(const Tensor<T>& x, const Tensor<T>& y) {
  return mean_of_kernel(x, x, true) + mean_of_kernel(y, y, true) - 2 * mean_of_kernel(x, y, false);
}

}  // namespace

TEST_CASE_TEMPLATE("A direct double loop agrees, for every remainder of the blocks", T, float,
                   double) {
  for (const std::size_t dimension : {1U, 2U, 7U}) {
    for (const std::size_t n : {2U, 3U, 127U, 128U, 129U, 300U}) {
      const auto x = normal_rows<T>(n, dimension, 1), y = normal_rows<T>(n + 5, dimension, 2, T(1));
      const double expected = brute_force(x, y);
      CHECK(std::abs(kernel_distance(x, y) - expected) < 1e-11 * (1 + std::abs(expected)));
      CHECK(std::abs(kernel_distance(y, x) - expected) < 1e-11 * (1 + std::abs(expected)));
    }
  }
}

TEST_CASE("Answers by hand") {
  // All rows of a set are the same: k(a, a) + k(b, b) - 2 k(a, b), with D = 2.
  const auto a = Tensor<double>::from({2, 2}, {1, 2, 1, 2});
  const auto b = Tensor<double>::from({3, 2}, {3, -1, 3, -1, 3, -1});
  CHECK(kernel_distance(a, b) ==
        doctest::Approx(3.5 * 3.5 * 3.5 + 6 * 6 * 6 - 2 * 1.5 * 1.5 * 1.5));
  CHECK(kernel_distance(a, a) == 0);
  // A set and itself: the pairs of a row with itself, which count in the last term alone, have the
  // largest kernel, so the estimate is negative. Here k(1, 1) = 8, k(1, -1) = 0.
  const auto two = Tensor<double>::from({2, 1}, {1, -1});
  CHECK(kernel_distance(two, two) == doctest::Approx(2 * 0 - 2 * 4));
}

TEST_CASE("It is unbiased, whatever the distance: the mean over many pairs of sets") {
  // In one dimension the kernel is (x y + 1)^3, so the distance is the sum over k = 1, 2, 3 of
  // 3, 3, 1 times the squared difference of the k-th moments. Those of N(d, 1) are d, 1 + d^2 and
  // d^3 + 3 d.
  for (const double d : {0.0, 0.5}) {
    const double exact = 3 * d * d + 3 * std::pow(d * d, 2) + std::pow(d * d * d + 3 * d, 2);
    double sum = 0, square = 0;
    const int repetitions = 1000;
    for (int i = 0; i < repetitions; ++i) {
      const auto x = normal_rows<double>(20, 1, 100 + 2 * i);
      const auto y = normal_rows<double>(30, 1, 101 + 2 * i, d);
      const double value = kernel_distance(x, y);
      sum += value / repetitions;
      square += value * value / repetitions;
    }
    const double deviation = std::sqrt((square - sum * sum) / repetitions);
    CHECK(std::abs(sum - exact) < 4 * deviation);
    CHECK(deviation < 1);
  }
}

TEST_CASE("Subsets: mean and deviation") {
  // [docs:kernel]
  const auto reference = normal_rows<float>(3000, 4, 5);  // (N, D)
  const auto generated = normal_rows<float>(2000, 4, 6, 0.5F);
  const double distance = kernel_distance(reference, generated);
  const KernelDistanceEstimate estimate =
      kernel_distance_of_subsets(reference, generated, {.subsets = 50, .subset_size = 500});
  // [docs:end]
  CHECK(distance > 0.3);
  CHECK(estimate.standard_deviation > 0);
  CHECK(std::abs(estimate.mean - distance) < 4 * estimate.standard_deviation / std::sqrt(50.0));
}

TEST_CASE("Subsets of everything are everything, without replacement") {
  const auto x = normal_rows<double>(40, 3, 7), y = normal_rows<double>(40, 3, 8, 1.0);
  const auto estimate = kernel_distance_of_subsets(x, y, {.subsets = 5, .subset_size = 40});
  CHECK(estimate.mean == doctest::Approx(kernel_distance(x, y)).epsilon(1e-12));
  CHECK(estimate.standard_deviation < 1e-12);
}

TEST_CASE("Subsets of two: every row is drawn, and never twice") {
  // With rows 1, 2, .., 5 and a zero second set, a subset of two tells its rows: the distance is
  // k(a, b) + 1 - 2 = (a b + 1)^3 - 1.
  const auto x = Tensor<double>::from({5, 1}, {1, 2, 3, 4, 5});
  const auto y = Tensor<double>::zeros({2, 1});
  std::vector<int> products;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const KernelDistanceOptions options{.subsets = 1, .subset_size = 2, .seed = seed};
    const double distance = kernel_distance_of_subsets(x, y, options).mean;
    products.push_back(int(std::lround(std::cbrt(distance + 1) - 1)));
  }
  std::ranges::sort(products);
  products.erase(std::unique(products.begin(), products.end()), products.end());
  CHECK(products == std::vector<int>{2, 3, 4, 5, 6, 8, 10, 12, 15, 20});
}

TEST_CASE("The seed decides, and the number of threads changes nothing") {
  const auto x = normal_rows<float>(600, 5, 9), y = normal_rows<float>(500, 5, 10);
  const KernelDistanceOptions options{.subsets = 4, .subset_size = 200, .seed = 3};
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const double one = kernel_distance(x, y);
  const auto first = kernel_distance_of_subsets(x, y, options);
  omp_set_num_threads(4);
  CHECK(kernel_distance(x, y) == one);
  CHECK(kernel_distance_of_subsets(x, y, options).mean == first.mean);
  omp_set_num_threads(threads);
  CHECK(kernel_distance_of_subsets(x, y, {4, 200, 4}).mean != first.mean);
}

TEST_CASE("Features that are not finite give NaN") {
  auto x = normal_rows<float>(10, 2, 1), y = normal_rows<float>(10, 2, 2);
  x[7] = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(kernel_distance(x, y)));
}

TEST_CASE("What does not fit is refused") {
  const auto rows = [](std::size_t count, std::size_t dimension) {
    return normal_rows<float>(count, dimension, 1);
  };
  const auto refusal = [](const Tensor<float>& x, const Tensor<float>& y) {
    return message_of<ShapeError>([&] { (void)kernel_distance(x, y); });
  };
  CHECK(refusal(rows(2, 3), rows(2, 3)).empty());
  CHECK(contains(refusal(rows(1, 3), rows(2, 3)), "(1, 3) and (2, 3)"));
  CHECK(contains(refusal(rows(2, 3), rows(1, 3)), "(2, 3) and (1, 3)"));
  CHECK(contains(refusal(rows(2, 3), rows(2, 4)), "(2, 3) and (2, 4)"));
  CHECK(!refusal(Tensor<float>({2, 0}), Tensor<float>({2, 0})).empty());
  CHECK(!refusal(rows(2, 3).reshaped({2, 3, 1}), rows(2, 3)).empty());

  const auto setting = [&](const KernelDistanceOptions& options) {
    return message_of<SettingError>(
        [&] { (void)kernel_distance_of_subsets(rows(20, 3), rows(10, 3), options); });
  };
  CHECK(setting({.subsets = 1, .subset_size = 10}).empty());
  CHECK(contains(setting({.subsets = 1, .subset_size = 11}), "is 11, expected 2 to 10"));
  CHECK(contains(setting({.subsets = 1, .subset_size = 1}), "is 1, expected 2 to 10"));
  CHECK(contains(setting({.subsets = 0, .subset_size = 5}), "subsets is 0"));
}
