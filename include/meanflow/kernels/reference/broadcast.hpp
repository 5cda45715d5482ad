// SPDX-License-Identifier: MIT
/// \file
/// Functions of two operands that are broadcast (`kernels/broadcast.hpp`), as plain loops.
#pragma once

#include <cstddef>

#include <meanflow/kernels/broadcast.hpp>
#include <meanflow/scalar/dual.hpp>
#include <meanflow/tensor/device.hpp>

namespace meanflow::kernels {

/// z = f(x, y), broadcast.
template <class F, class T>
void binary(Reference, F f, const Broadcast& shape, const T* x, const T* y, T* z) {
  const std::size_t inner = shape.inner();
  const std::size_t xs = shape.inner_strides().x, ys = shape.inner_strides().y;
  for (std::size_t o = 0; o < shape.outer(); ++o) {
    const auto at = shape.offsets(o);
    for (std::size_t i = 0; i < inner; ++i)
      z[o * inner + i] = f(x[at.x + i * xs], y[at.y + i * ys]);
  }
}

/// dz = df/dx dx + df/dy dy at (x, y), broadcast.
template <class F, class T>
void binary_tangent(Reference, F f, const Broadcast& shape, const T* x, const T* dx, const T* y,
                    const T* dy, T* dz) {
  const std::size_t inner = shape.inner();
  const std::size_t xs = shape.inner_strides().x, ys = shape.inner_strides().y;
  for (std::size_t o = 0; o < shape.outer(); ++o) {
    const auto at = shape.offsets(o);
    for (std::size_t i = 0; i < inner; ++i) {
      const std::size_t p = at.x + i * xs, q = at.y + i * ys;
      dz[o * inner + i] = f(Dual<T>(x[p], dx[p]), Dual<T>(y[q], dy[q])).tangent;
    }
  }
}

/// gx += g df/dx and gy += g df/dy at (x, y), summed over what was broadcast; either may be null.
template <class F, class T>
void binary_backward(Reference, F f, const Broadcast& shape, const T* x, const T* y, const T* g,
                     T* gx, T* gy) {
  const std::size_t inner = shape.inner();
  const std::size_t xs = shape.inner_strides().x, ys = shape.inner_strides().y;
  for (std::size_t o = 0; o < shape.outer(); ++o) {
    const auto at = shape.offsets(o);
    for (std::size_t i = 0; i < inner; ++i) {
      const std::size_t p = at.x + i * xs, q = at.y + i * ys;
      const T upstream = g[o * inner + i];
      if (gx) gx[p] += upstream * f(Dual<T>(x[p], T(1)), Dual<T>(y[q], T(0))).tangent;
      if (gy) gy[q] += upstream * f(Dual<T>(x[p], T(0)), Dual<T>(y[q], T(1))).tangent;
    }
  }
}

}  // namespace meanflow::kernels
