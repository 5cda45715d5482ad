// SPDX-License-Identifier: MIT
/// \file
/// How a table's columns are brought to zero mean and unit variance, and back.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <meanflow/error.hpp>

namespace meanflow {

/// What columns are divided by.
enum class ScalingRule {
  per_column,  ///< each by its own standard deviation
  one_factor,  ///< all by the same, so that the variance is 1 on average and shapes stay as they
               ///< are
  none,        ///< nothing is subtracted or divided by
};

/// x -> (x - mean) / scale, column by column. Without columns, nothing is changed.
struct Scaling {
  std::vector<double> mean, scale;  ///< (D)

  [[nodiscard]] bool identity() const { return mean.empty(); }

  static constexpr void fields(auto f, auto&... s) {
    f("mean", s.mean...);
    f("scale", s.scale...);
  }

  /// From the table's own units to those that a net sees, in place. Throws ShapeError if the values
  /// are not a whole number of rows, or means and factors are not as many.
  template <class T>
  void apply(std::span<T> values) const {
    check(values.size());
    for (std::size_t i = 0; i < values.size() && !identity(); ++i) {
      const std::size_t d = i % mean.size();
      values[i] = static_cast<T>((static_cast<double>(values[i]) - mean[d]) / scale[d]);
    }
  }

  /// The way back.
  template <class T>
  void undo(std::span<T> values) const {
    check(values.size());
    for (std::size_t i = 0; i < values.size() && !identity(); ++i) {
      const std::size_t d = i % mean.size();
      values[i] = static_cast<T>(static_cast<double>(values[i]) * scale[d] + mean[d]);
    }
  }

 private:
  void check(std::size_t values) const {
    if (mean.size() != scale.size())
      throw ShapeError("Scaling: " + std::to_string(mean.size()) + " means for " +
                       std::to_string(scale.size()) + " factors");
    if (!identity() && values % mean.size() != 0)
      throw ShapeError("Scaling: " + std::to_string(values) +
                       " values are not a whole number of rows of " + std::to_string(mean.size()));
  }
};

/// The scaling of a table (N, dim). A column whose values are all equal is centred and divided
/// by 1. `name` is what the message calls the table. Throws FileError if all rows are equal, or
/// values are too large.
[[nodiscard]] inline Scaling measure_scaling(std::span<const double> values, std::size_t dim,
                                             ScalingRule rule = ScalingRule::per_column,
                                             const std::string& name = "the table") {
  if (rule == ScalingRule::none) return {};
  if (dim == 0 || values.empty() || values.size() % dim != 0)
    throw ShapeError("measure_scaling: " + std::to_string(values.size()) +
                     " values are not one or more rows of " + std::to_string(dim));
  const double count = static_cast<double>(values.size() / dim);
  Scaling scaling{std::vector<double>(dim), std::vector<double>(dim)};
  for (std::size_t i = 0; i < values.size(); ++i) scaling.mean[i % dim] += values[i] / count;
  for (std::size_t d = 0; d < dim; ++d) {
    bool all_equal = true;
    for (std::size_t i = d; i < values.size(); i += dim)
      all_equal = all_equal && values[i] == values[d];
    if (all_equal) scaling.mean[d] = values[d];  // without rounding, so that its variance is 0
  }
  std::vector<double> variance(dim);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double centred = values[i] - scaling.mean[i % dim];
    variance[i % dim] += centred * centred / count;
  }
  double all = 0;
  for (const double one : variance) all += one / static_cast<double>(dim);
  if (!std::isfinite(all)) throw FileError(name + " holds values too large to be scaled.");
  if (!(all > 0)) throw FileError(name + " has only equal rows, from which nothing can be learnt.");
  for (std::size_t d = 0; d < dim; ++d) {
    const double square = rule == ScalingRule::one_factor ? all : variance[d];
    scaling.scale[d] = square > 0 ? std::sqrt(square) : 1;
  }
  return scaling;
}

}  // namespace meanflow
