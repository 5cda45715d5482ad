// SPDX-License-Identifier: MIT
/// \file
/// How far apart two sets of samples are, by the distances between their points alone.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <xsimd/xsimd.hpp>

#include <meanflow/error.hpp>

namespace meanflow {

namespace detail {

/// Columns first: (N, dim) to (dim, N), so that the points beside each other fill a SIMD register.
template <class T>
[[nodiscard]] std::vector<T> columns_of(std::span<const T> points, std::size_t dim) {
  const std::size_t count = points.size() / dim;
  std::vector<T> columns(points.size());
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t d = 0; d < dim; ++d) columns[d * count + i] = points[i * dim + d];
  }
  return columns;
}

template <class T>
[[nodiscard]] double sum_of_lanes(const xsimd::batch<T>& batch) {
  std::array<T, xsimd::batch<T>::size> lanes;
  batch.store_unaligned(lanes.data());
  return std::accumulate(lanes.begin(), lanes.end(), 0.0);
}

// GCC 12 takes the undefined operand of its own AVX-512 square root for a mistake (its bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

/// The sum of |point - y_j| over begin <= j < count, for y given by columns (dim, count). At most
/// 16 numbers of type T are added before the sum continues in double.
template <class T>
[[nodiscard]] double sum_of_distances(std::span<const T> point, const std::vector<T>& columns,
                                      std::size_t begin, std::size_t count) {
  using Batch = xsimd::batch<T>;
  const std::size_t width = Batch::size, run = 16;
  double sum = 0;
  std::size_t j = begin;
  while (j + width <= count) {
    Batch partial(T(0));
    for (std::size_t k = 0; k < run && j + width <= count; ++k, j += width) {
      Batch square(T(0));
      for (std::size_t d = 0; d < point.size(); ++d) {
        const Batch step = Batch::load_unaligned(&columns[d * count + j]) - Batch(point[d]);
        square = xsimd::fma(step, step, square);
      }
      partial += xsimd::sqrt(square);
    }
    sum += sum_of_lanes(partial);
  }
  for (; j < count; ++j) {
    T square = 0;
    for (std::size_t d = 0; d < point.size(); ++d) {
      const T step = columns[d * count + j] - point[d];
      square += step * step;
    }
    sum += std::sqrt(square);
  }
  return sum;
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/// The sum of |x_i - y_j| over all pairs, or over i < j alone if x and y are one set. Rows are
/// summed one by one and then in order, so the number of threads does not change the result.
template <class T>
[[nodiscard]] double sum_over_pairs(std::span<const T> x, std::span<const T> y, std::size_t dim,
                                    bool one_set) {
  const std::vector<T> columns = columns_of(y, dim);
  const std::size_t count = y.size() / dim;
  std::vector<double> sums(x.size() / dim);
#pragma omp parallel for schedule(dynamic, 64)
  for (std::size_t i = 0; i < sums.size(); ++i) {
    sums[i] = sum_of_distances(x.subspan(i * dim, dim), columns, one_set ? i + 1 : 0, count);
  }
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

template <class T>
[[nodiscard]] double energy_distance(std::span<const T> x, std::span<const T> y, std::size_t dim) {
  if (dim == 0 || x.size() % dim != 0 || y.size() % dim != 0 || x.size() < 2 * dim ||
      y.size() < 2 * dim) {
    throw ShapeError("energy_distance: " + std::to_string(x.size()) + " and " +
                     std::to_string(y.size()) + " values are not two or more rows of " +
                     std::to_string(dim) + " each.");
  }
  const double n = double(x.size() / dim), m = double(y.size() / dim);
  const double across = sum_over_pairs(x, y, dim, false) / (n * m);
  const double within_x = 2 * sum_over_pairs(x, x, dim, true) / (n * (n - 1));
  const double within_y = 2 * sum_over_pairs(y, y, dim, true) / (m * (m - 1));
  return 2 * across - within_x - within_y;
}

}  // namespace detail

/// The energy distance 2 E|x - y| - E|x - x'| - E|y - y'| between the distributions behind two sets
/// of points (Szekely and Rizzo, "Energy statistics", 2013), with |.| the Euclidean norm. It is 0
/// when the distributions are the same and positive otherwise. This estimate is unbiased (a point
/// is not paired with itself), so for equal distributions it is a small number of either sign.
///
/// \param x (N, dim), N >= 2   \param y (M, dim), M >= 2
/// Distances are formed in the type of the points and summed in double. The result does not depend
/// on the number of threads. Takes of the order of (N + M)^2 dim operations and no memory but a
/// copy of the points. Throws ShapeError if the sizes are not those.
[[nodiscard]] inline double energy_distance(std::span<const float> x, std::span<const float> y,
                                            std::size_t dim) {
  return detail::energy_distance(x, y, dim);
}

/// \copydoc energy_distance
[[nodiscard]] inline double energy_distance(std::span<const double> x, std::span<const double> y,
                                            std::size_t dim) {
  return detail::energy_distance(x, y, dim);
}

}  // namespace meanflow
