// SPDX-License-Identifier: MIT
/// \file
/// The weighted squared error, which regressions are trained by.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>

#include <meanflow/config.hpp>
#include <meanflow/flow/objective.hpp>
#include <meanflow/kernels/reference/shapes.hpp>

namespace meanflow {

namespace detail {

/// y[row] = scales[row] x[row]; y may be x.
template <class T>
struct ScaleRows {
  using value_type = T;
  const T *scales, *x;
  T* y;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At /*column*/) const {
    at.store(y, scales[row] * at.load(x));
  }
};

/// Weighs a row by its squared error: loss = w |error|^2, and scale = 2 w / batch turns its error
/// into the gradient of the mean loss. A weight that is negative or not finite makes the loss
/// NaN.
template <class W, class T>
struct WeighRow {
  W weighting;
  std::size_t elements, batch;
  double* losses;
  T *scales, *squared_errors;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, T squared_error) const {
    const double square = static_cast<double>(squared_error);
    const double given = weighting(square, elements);
    const bool valid = given >= 0 && given <= std::numeric_limits<double>::max();
    const double weight = valid ? given : std::numeric_limits<double>::quiet_NaN();
    losses[row] = weight * square;
    scales[row] = static_cast<T>(2 * weight / static_cast<double>(batch));
    squared_errors[row] = squared_error;
  }
};

/// error = u - target
template <class W, class T>
struct SquaredError {
  using value_type = T;
  static constexpr std::size_t sums = 1;
  WeighRow<W, T> weigh;
  const T *u, *target;
  T* error;
  template <class At>
  [[nodiscard]] MEANFLOW_HOST_DEVICE auto term(std::size_t /*row*/, At at, At /*column*/) const {
    const auto e = at.load(u) - at.load(target);
    at.store(error, e);
    return Sums<decltype(e * e), 1>{e * e};
  }
  MEANFLOW_HOST_DEVICE void finish(std::size_t row, const Sums<T, 1>& sum) const {
    weigh(row, sum.of[0]);
  }
};

}  // namespace detail

/// The weighted squared error of an output of the net.
template <class T, class Device = Cpu>
struct WeightedError {
  Tensor<double, Device> loss;       ///< weight |u - target|^2 of each row (B)
  OutputGradient<T, Device> output;  ///< gradient of the mean loss by u
  Tensor<T, Device> squared_error;   ///< |u - target|^2 of each row (B)
};

/// The weighted squared error of the output u (B, ...), which is node `node` of the tape, towards a
/// target (B, ...). The weights are constants to the gradient.
template <class N, class W, class T, class Device>
[[nodiscard]] WeightedError<T, Device> squared_error(const StepContext<N, W>& context,
                                                     std::size_t node, const Tensor<T, Device>& u,
                                                     const Tensor<T, Device>& target) {
  if (!(u.shape() == target.shape()))
    throw_shape_error("squared_error", u.shape(), target.shape(), "shapes differ");
  const std::size_t rows = u.rows(), columns = u.row_size();
  WeightedError<T, Device> result{Tensor<double, Device>({rows}),
                                  {node, Tensor<T, Device>(u.shape())},
                                  Tensor<T, Device>({rows})};
  Tensor<T, Device>& error = result.output.gradient;
  Tensor<T, Device> scales({rows});
  const detail::WeighRow<W, T> weigh{context.weighting, columns,
                                     context.batch,     result.loss.data(),
                                     scales.data(),     result.squared_error.data()};
  reduce_rows(Device{}, rows, columns,
              detail::SquaredError<W, T>{weigh, u.data(), target.data(), error.data()});
  for_each_in_rows(Device{}, rows, columns,
                   detail::ScaleRows<T>{scales.data(), error.data(), error.data()});
  return result;
}

/// The same of an output with or without tangents.
template <class N, class W, class X, class T, class Device>
[[nodiscard]] WeightedError<T, Device> squared_error(const StepContext<N, W>& context,
                                                     const Var<X>& u,
                                                     const Tensor<T, Device>& target) {
  return squared_error(context, u.node(), Tensor<T, Device>(primal(u)), target);
}

}  // namespace meanflow
