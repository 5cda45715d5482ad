// SPDX-License-Identifier: MIT
/// \file
/// Sums of two branches of a net, on every device.
#pragma once

#include <cstddef>

#include <meanflow/kernels/element.hpp>
#include <meanflow/kernels/elementwise.hpp>

namespace meanflow::kernels {

namespace detail {

/// z = (x + bias + y) scale, the bias for the first rows alone.
template <class T>
struct ScaledSum {
  using value_type = T;
  std::size_t biased_rows;
  T scale;
  const T *x, *bias, *y;
  T* z;

  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At column) const {
    auto sum = at.load(x);
    if (row < biased_rows) sum = sum + column.load(bias);
    at.store(z, (sum + at.load(y)) * scale);
  }
};

/// gy = g scale, and its column sums.
template <class T>
struct ScaledSumBackward {
  using value_type = T;
  T scale;
  const T* g;
  T *scaled, *bias_gradient;

  template <class At>
  [[nodiscard]] MEANFLOW_HOST_DEVICE auto term(At at) const {
    const auto value = at.load(g) * scale;
    at.store(scaled, value);
    return value;
  }
  template <class At, class V>
  MEANFLOW_HOST_DEVICE void finish(At column, const V& sum) const {
    column.store(bias_gradient, column.load(bias_gradient) + sum);
  }
};

}  // namespace detail

/// z = (x + bias + y) scale of matrices; without a bias (null), and for rows from `biased_rows` on,
/// z = (x + y) scale.
template <class Device, class T>
void scaled_sum(Device device, std::size_t rows, std::size_t biased_rows, std::size_t columns,
                T scale, const T* x, OrNull<const T> bias, const T* y, T* z) {
  for_each_in_rows(device, rows, columns,
                   detail::ScaledSum<T>{bias ? biased_rows : 0, scale, x, bias, y, z});
}

/// scaled = g scale, and bias_gradient += its column sums unless that is null.
template <class Device, class T>
void scaled_sum_backward(Device device, std::size_t rows, std::size_t columns, T scale, const T* g,
                         T* scaled, OrNull<T> bias_gradient) {
  if (bias_gradient)
    reduce_columns(device, rows, columns,
                   detail::ScaledSumBackward<T>{scale, g, scaled, bias_gradient});
  else
    affine(device, rows * columns, std::size_t{0}, scale, T(0), g, scaled);
}

}  // namespace meanflow::kernels
