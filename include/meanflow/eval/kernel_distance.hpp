// SPDX-License-Identifier: MIT
/// \file
/// The kernel distance between two sets of features: the KID, where the features are those of the
/// Inception network.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/tensor/eigen.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// How many subsets kernel_distance_of_subsets() draws, and of how many rows each.
struct KernelDistanceOptions {
  std::size_t subsets = 100;       ///< 1 or more
  std::size_t subset_size = 1000;  ///< 2 or more, and at most the rows of the smaller set
  std::uint64_t seed = 1;
};

struct KernelDistanceEstimate {
  double mean = 0;
  double standard_deviation = 0;  ///< between the subsets (divided by their number, not one less)
};

namespace detail {

inline constexpr std::size_t kernel_block_rows = 128;

template <class T>
[[nodiscard]] RowMajorMatrix<double> kernel_block(const Tensor<T>& rows, std::size_t block) {
  const std::size_t first = block * kernel_block_rows;
  const Tensor<T> part = rows.rows(first, std::min(first + kernel_block_rows, rows.rows()));
  return as_eigen(part).template cast<double>();
}

/// The sum of k(x_i, y_j) over all pairs, or over i != j if x and y are one set. Blocks of rows are
/// summed one by one and then in order, so the number of threads does not change the result.
template <class T>
[[nodiscard]] double sum_of_kernel(const Tensor<T>& x, const Tensor<T>& y, bool one_set) {
  const auto blocks = [](const Tensor<T>& rows) {
    return (rows.rows() + kernel_block_rows - 1) / kernel_block_rows;
  };
  const std::size_t count = blocks(y);
  std::vector<double> sums(blocks(x));
#pragma omp parallel for schedule(dynamic) if (sums.size() > 1)
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const RowMajorMatrix<double> left = kernel_block(x, i);
    for (std::size_t j = one_set ? i : 0; j < count; ++j) {
      const RowMajorMatrix<double> products = left * kernel_block(y, j).transpose();
      const auto kernel = (products.array() / double(left.cols()) + 1).cube();
      if (!one_set) {
        sums[i] += kernel.sum();
      } else if (j > i) {
        sums[i] += 2 * kernel.sum();
      } else {
        sums[i] += kernel.sum() - kernel.matrix().diagonal().sum();
      }
    }
  }
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

/// `count` distinct rows, drawn from a stream of their own for this set and subset.
template <class T>
[[nodiscard]] Tensor<T> drawn_rows(const Tensor<T>& rows, std::size_t count, RandomStream stream) {
  std::vector<std::size_t> order(rows.rows());
  std::iota(order.begin(), order.end(), std::size_t(0));
  Tensor<T> drawn({count, rows.row_size()});
  for (std::size_t i = 0; i < count; ++i) {
    std::swap(order[i], order[i + stream.below(order.size() - i)]);
    std::copy_n(rows.row(order[i]), rows.row_size(), drawn.row(i));
  }
  return drawn;
}

template <class T>
void check_kernel_distance(const Tensor<T>& x, const Tensor<T>& y) {
  const auto usable = [](const Shape& shape) { return shape.rank() == 2 && shape.rows() >= 2; };
  if (usable(x.shape()) && usable(y.shape()) && x.row_size() == y.row_size() && x.row_size() > 0) {
    return;
  }
  throw ShapeError("kernel_distance: features of shapes " + to_string(x.shape()) + " and " +
                   to_string(y.shape()) +
                   ", expected (N, D) and (M, D) with two or more rows each.");
}

inline void check_options(const KernelDistanceOptions& options, std::size_t rows) {
  if (options.subsets == 0) {
    throw SettingError("KernelDistanceOptions: subsets is 0, expected 1 or more.");
  }
  if (options.subset_size < 2 || options.subset_size > rows) {
    throw SettingError("KernelDistanceOptions: subset_size is " +
                       std::to_string(options.subset_size) + ", expected 2 to " +
                       std::to_string(rows) + ", the rows of the smaller set.");
  }
}

}  // namespace detail

/// The squared maximum mean discrepancy between two sets of features with the kernel
/// k(x, y) = (x.y / D + 1)^3 (Binkowski et al., arXiv 1801.01401, section 4, with the estimate of
/// Gretton et al., "A kernel two-sample test", 2012, lemma 6):
///
///     mean of k(x_i, x_j) over i != j  +  the same of y  -  2 mean of k(x_i, y_j)
///
/// It is unbiased: 0 on average between equal distributions, where single results have either
/// sign, and the mean does not depend on the number of rows, as that of the Frechet distance does.
///
/// \param x (N, D), N >= 2   \param y (M, D), M >= 2
/// Computed in double. The result does not depend on the number of threads. Takes of the order of
/// (N + M)^2 D operations. Throws ShapeError if the shapes are not those.
template <std::floating_point T>
[[nodiscard]] double kernel_distance(const Tensor<T>& x, const Tensor<T>& y) {
  detail::check_kernel_distance(x, y);
  const double n = double(x.rows()), m = double(y.rows());
  return detail::sum_of_kernel(x, x, true) / (n * (n - 1)) +
         detail::sum_of_kernel(y, y, true) / (m * (m - 1)) -
         2 * detail::sum_of_kernel(x, y, false) / (n * m);
}

/// The kernel distance between pairs of subsets, as it is usually reported: faster than between the
/// whole sets, and with an idea of its noise. Each subset is drawn without replacement, from
/// RandomStream(seed, Purpose::permutation, subset, 1 for x and 2 for y).
/// Throws ShapeError as kernel_distance(). Throws SettingError if an option is out of range.
template <std::floating_point T>
[[nodiscard]] KernelDistanceEstimate kernel_distance_of_subsets(
    const Tensor<T>& x, const Tensor<T>& y, const KernelDistanceOptions& options = {}) {
  detail::check_kernel_distance(x, y);
  detail::check_options(options, std::min(x.rows(), y.rows()));
  std::vector<double> distances(options.subsets);
  for (std::size_t subset = 0; subset < options.subsets; ++subset) {
    const auto drawn = [&](const Tensor<T>& rows, std::uint64_t set) {
      return detail::drawn_rows(rows, options.subset_size,
                                {options.seed, Purpose::permutation, subset, set});
    };
    distances[subset] = kernel_distance(drawn(x, 1), drawn(y, 2));
  }
  const double count = double(options.subsets);
  KernelDistanceEstimate estimate;
  estimate.mean = std::accumulate(distances.begin(), distances.end(), 0.0) / count;
  for (const double distance : distances) {
    estimate.standard_deviation += (distance - estimate.mean) * (distance - estimate.mean) / count;
  }
  estimate.standard_deviation = std::sqrt(estimate.standard_deviation);
  return estimate;
}

}  // namespace meanflow
