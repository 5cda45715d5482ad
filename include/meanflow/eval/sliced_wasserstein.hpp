// SPDX-License-Identifier: MIT
/// \file
/// How far points have to be moved to turn one set into another, seen along random lines.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/eval/points.hpp>
#include <meanflow/random/philox.hpp>

namespace meanflow {

struct SlicedWassersteinOptions {
  std::size_t projections = 256;  ///< random directions; the error falls with their square root
  std::uint64_t seed = 0;         ///< of the directions
};

namespace detail {

/// x theta for every point x, in increasing order.
template <class T>
[[nodiscard]] std::vector<double> sorted_projection(std::span<const T> points,
                                                    const std::vector<double>& direction) {
  const std::size_t dim = direction.size();
  std::vector<double> along(points.size() / dim);
  for (std::size_t i = 0; i < along.size(); ++i)
    for (std::size_t d = 0; d < dim; ++d) along[i] += double(points[i * dim + d]) * direction[d];
  std::sort(along.begin(), along.end());
  return along;
}

/// W_2^2 of two sets of numbers in increasing order: the integral over q in (0, 1) of the squared
/// difference of their quantiles of q.
[[nodiscard]] inline double squared_wasserstein(const std::vector<double>& x,
                                                const std::vector<double>& y) {
  const double n = double(x.size()), m = double(y.size());
  double sum = 0, q = 0;
  for (std::size_t i = 0, j = 0; i < x.size() && j < y.size();) {
    const double end_x = double(i + 1) / n, end_y = double(j + 1) / m;
    const double next = std::min(end_x, end_y);
    sum += (next - q) * (x[i] - y[j]) * (x[i] - y[j]);
    q = next;
    i += end_x <= end_y;
    j += end_y <= end_x;
  }
  return sum;
}

template <class T>
[[nodiscard]] double sliced_wasserstein(std::span<const T> x, std::span<const T> y, std::size_t dim,
                                        const SlicedWassersteinOptions& options) {
  if (options.projections == 0)
    throw SettingError("sliced_wasserstein: projections is 0, but must be at least 1");
  if (dim == 0 || x.empty() || y.empty() || x.size() % dim != 0 || y.size() % dim != 0)
    throw ShapeError("sliced_wasserstein: " + std::to_string(x.size()) + " and " +
                     std::to_string(y.size()) + " values are not one or more rows of " +
                     std::to_string(dim) + " each");
  detail::check_finite("sliced_wasserstein", "the first set", x, dim);
  detail::check_finite("sliced_wasserstein", "the second set", y, dim);
  std::vector<double> squares(options.projections);
#pragma omp parallel for schedule(dynamic)
  for (std::size_t p = 0; p < squares.size(); ++p) {
    RandomStream random(options.seed, Purpose::user, 0, p);
    std::vector<double> direction(dim);
    for (double& component : direction) component = random.normal<double>();
    const double length =
        std::sqrt(std::inner_product(direction.begin(), direction.end(), direction.begin(), 0.0));
    for (double& component : direction) component /= length;
    squares[p] =
        squared_wasserstein(sorted_projection(x, direction), sorted_projection(y, direction));
  }
  return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0) / double(squares.size()));
}

}  // namespace detail

/// The sliced Wasserstein distance of order 2 between the distributions behind two sets of points,
/// sqrt(E W_2^2(theta x, theta y)) over directions theta that are uniform on the sphere (Bonneel et
/// al., "Sliced and Radon Wasserstein barycenters of measures", 2015). In the units of the data:
/// sets that differ by a shift d are |d| / sqrt(dim) apart. It is biased: two sets of one
/// distribution are a little apart, less with more points. Compare results of as many points only.
///
/// \param x (N, dim), N >= 1   \param y (M, dim), M >= 1
/// The same options give the same directions, and the number of threads changes nothing. Throws
/// ShapeError if the sizes are not those, Error on a value that is not finite.
[[nodiscard]] inline double sliced_wasserstein(std::span<const float> x, std::span<const float> y,
                                               std::size_t dim,
                                               const SlicedWassersteinOptions& options = {}) {
  return detail::sliced_wasserstein(x, y, dim, options);
}

/// \copydoc sliced_wasserstein
[[nodiscard]] inline double sliced_wasserstein(std::span<const double> x, std::span<const double> y,
                                               std::size_t dim,
                                               const SlicedWassersteinOptions& options = {}) {
  return detail::sliced_wasserstein(x, y, dim, options);
}

}  // namespace meanflow
