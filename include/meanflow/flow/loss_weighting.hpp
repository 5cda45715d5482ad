// SPDX-License-Identifier: MIT
/// \file
/// The weight of a row in the loss.
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>

#include <meanflow/config.hpp>

namespace meanflow {

/// A weighting gives the factor of a row's squared error from the squared error itself. The weight
/// stands behind a stop-gradient.
///
/// Syntax: `weighting(square, elements)`, where `square` is the sum of the squared errors of a row
/// and `elements` how many there are. The row's loss is the result times `square`. On a GPU it is
/// called there, so it must be a MEANFLOW_HOST_DEVICE function of an object that can be copied as
/// bytes.
template <class W>
concept LossWeighting = std::copy_constructible<W> &&
                        requires(const W& weighting, double square, std::size_t elements) {
                          { weighting(square, elements) } -> std::convertible_to<double>;
                        };

/// Whether a row's squared error is the sum (the papers') or the mean over its elements.
enum class Reduction { sum, mean };

/// loss = square: every row counts alike. The right choice in low dimensions.
struct ConstantWeighting {
  Reduction reduction = Reduction::sum;

  static constexpr void fields(auto f, auto&... w) { f("reduction", w.reduction...); }

  [[nodiscard]] MEANFLOW_HOST_DEVICE double operator()(double /*square*/,
                                                       std::size_t elements) const {
    return reduction == Reduction::sum ? 1 : 1 / static_cast<double>(elements);
  }
};

/// loss = square / (square + epsilon)^p (arXiv 2505.13447, equation 22). With p = 1 it is near 1
/// whatever happens: watch the raw squared error. In low dimensions it biases the regression away
/// from the mean, which is what the method needs to learn: p = 0.3 already makes samples more
/// precise, and those of thin shapes less varied.
struct AdaptiveWeighting {
  double p = 1;
  double epsilon = 1e-2;
  Reduction reduction = Reduction::sum;

  static constexpr void fields(auto f, auto&... w) {
    f("p", w.p...);
    f("epsilon", w.epsilon...);
    f("reduction", w.reduction...);
  }

  [[nodiscard]] MEANFLOW_HOST_DEVICE double operator()(double square, std::size_t elements) const {
    const double n = reduction == Reduction::sum ? 1 : static_cast<double>(elements);
    if (p == 0) return 1 / n;
    const double base = square / n + epsilon;
    return 1 / (n * (p == 1 ? base : std::pow(base, p)));
  }
};

}  // namespace meanflow
