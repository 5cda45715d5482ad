// SPDX-License-Identifier: MIT
/// \file
/// The same numbers in another order, on every device.
#pragma once

#include <cstddef>

#include <meanflow/kernels/element.hpp>

namespace meanflow::kernels {

/// The extents of (outer, first, middle, second, inner), whose axes `first` and `second` change
/// places.
struct AxisSwap {
  std::size_t outer, first, middle, second, inner;

  [[nodiscard]] constexpr std::size_t rows() const { return outer * first * middle * second; }
  [[nodiscard]] constexpr AxisSwap reversed() const {
    return {outer, second, middle, first, inner};
  }
};

namespace detail {

template <class T>
struct SwapAxes {
  using value_type = T;
  AxisSwap s;
  const T* x;
  T* y;

  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At column) const {
    const std::size_t first = row % s.first, middle = row / s.first % s.middle;
    const std::size_t rest = row / (s.first * s.middle);
    const std::size_t second = rest % s.second, outer = rest / s.second;
    const std::size_t from = ((outer * s.first + first) * s.middle + middle) * s.second + second;
    at.store(y, column.load(x + from * s.inner));
  }
};

}  // namespace detail

/// y (outer, second, middle, first, inner) of x (outer, first, middle, second, inner)
template <class Device, class T>
void swap_axes(Device device, const AxisSwap& s, const T* x, T* y) {
  for_each_in_rows(device, s.rows(), s.inner, detail::SwapAxes<T>{s, x, y});
}

}  // namespace meanflow::kernels
