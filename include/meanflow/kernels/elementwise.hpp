// SPDX-License-Identifier: MIT
/// \file
/// Element-wise kernels of every device: bodies over its shapes of work (`kernels/element.hpp`).
///
/// Conventions of all kernels: matrices are row-major. `rows` are value rows; `tangent_rows` <=
/// `rows` are the tangents of the first of them and follow the values in the same buffer. A kernel
/// knows nothing of differentiation: what it computes is written in its comment.
#pragma once

#include <cstddef>
#include <type_traits>

#include <meanflow/kernels/element.hpp>
#include <meanflow/scalar/dual.hpp>
#include <meanflow/scalar/math.hpp>

namespace meanflow::kernels {

/// A buffer that may be null; T comes from the other arguments.
template <class T>
using OrNull = std::type_identity_t<T>*;

namespace detail {

template <class T>
struct Accumulate {
  using value_type = T;
  const T* x;
  T* y;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(At at) const {
    at.store(y, at.load(y) + at.load(x));
  }
};

template <class T>
struct Multiply {
  using value_type = T;
  const T *x, *y;
  T* z;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(At at) const {
    at.store(z, at.load(x) * at.load(y));
  }
};

template <class T>
struct Affine {
  using value_type = T;
  T a, b;
  const T* x;
  T* y;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(At at, FirstPart) const {
    at.store(y, a * at.load(x) + b);
  }
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(At at, SecondPart) const {
    at.store(y, a * at.load(x));
  }
};

template <class F, class T>
struct Unary {
  using value_type = T;
  F f;
  std::size_t n;
  const T* x;
  T *y, *derivative;

  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(At at, FirstPart) const {
    const auto result = dual(at);
    at.store(y + n, result.tangent * at.load(x + n));
    if (derivative) at.store(derivative, result.tangent);
    at.store(y, result.primal);
  }
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(At at, SecondPart) const {
    if (!derivative) return at.store(y, f(at.load(x)));
    const auto result = dual(at);
    at.store(derivative, result.tangent);
    at.store(y, result.primal);
  }
  template <class At>
  [[nodiscard]] MEANFLOW_HOST_DEVICE auto dual(At at) const {
    using V = decltype(at.load(x));
    return f(Dual<V>(at.load(x), V(T(1))));
  }
};

/// Without slopes or tangents, as samplers ask for it.
template <class F, class T>
struct BiasUnaryValues {
  using value_type = T;
  F f;
  const T* bias;
  T* x;

  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t /*row*/, At at, At column) const {
    using V = decltype(at.load(x));
    at.store(x, bias ? V(f(V(at.load(x) + column.load(bias)))) : V(f(at.load(x))));
  }
};

template <class F, class T>
struct BiasUnary {
  using value_type = T;
  F f;
  std::size_t to_tangent, tangent_rows;
  const T* bias;
  T *x, *derivative;

  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At column) const {
    using V = decltype(at.load(x));
    const V shifted = bias ? V(at.load(x) + column.load(bias)) : at.load(x);
    const auto result = f(Dual<V>(shifted, V(T(1))));
    T* const tangent = x + to_tangent;
    if (row < tangent_rows) at.store(tangent, V(result.tangent * at.load(tangent)));
    if (derivative) at.store(derivative, V(result.tangent));
    at.store(x, V(result.primal));
  }
};

template <class T>
struct BiasUnaryBackward {
  using value_type = T;
  const T* derivative;
  T *g, *bias_gradient;

  template <class At>
  [[nodiscard]] MEANFLOW_HOST_DEVICE auto term(At at) const {
    auto value = at.load(g);
    if (derivative) {
      value = value * at.load(derivative);
      at.store(g, value);
    }
    return value;
  }
  template <class At, class V>
  MEANFLOW_HOST_DEVICE void finish(At column, const V& sum) const {
    column.store(bias_gradient, column.load(bias_gradient) + sum);
  }
};

template <class T>
struct CopyColumns {
  using value_type = T;
  const T* x;
  std::size_t x_stride;
  T* y;
  std::size_t y_stride;
  bool add;

  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At /*at*/, At column) const {
    T* const to = y + row * y_stride;
    const auto value = column.load(x + row * x_stride);
    column.store(to, add ? column.load(to) + value : value);
  }
};

}  // namespace detail

/// y += x
template <class Device, class T>
void accumulate(Device device, std::size_t n, const T* x, T* y) {
  for_each(device, n, detail::Accumulate<T>{x, y});
}

/// z = x y
template <class Device, class T>
void multiply(Device device, std::size_t n, const T* x, const T* y, T* z) {
  for_each(device, n, detail::Multiply<T>{x, y, z});
}

/// y = a x + b for n values, and dy = a dx for the `tangents` that follow.
template <class Device, class T>
void affine(Device device, std::size_t n, std::size_t tangents, T a, T b, const T* x, T* y) {
  for_each_of_two(device, n, tangents, detail::Affine<T>{a, b, x, y});
}

/// y = f(x) for n values; for the first `tangents` of them, whose tangents follow the values,
/// dy = f'(x) dx. Stores f'(x) of all values if `derivative` is given. x and y may be the same.
template <class Device, class F, class T>
void unary(Device device, F f, std::size_t n, std::size_t tangents, const T* x, T* y,
           OrNull<T> derivative) {
  for_each_of_two(device, tangents, n - tangents, detail::Unary<F, T>{f, n, x, y, derivative});
}

/// As `unary`, with f(x + bias) of a matrix of `columns` columns, in place.
template <class Device, class F, class T>
void bias_unary(Device device, F f, std::size_t rows, std::size_t tangent_rows, std::size_t columns,
                OrNull<const T> bias, T* x, OrNull<T> derivative) {
  if (tangent_rows == 0 && !derivative)
    for_each_in_rows(device, rows, columns, detail::BiasUnaryValues<F, T>{f, bias, x});
  else
    for_each_in_rows(device, rows, columns,
                     detail::BiasUnary<F, T>{f, rows * columns, tangent_rows, bias, x, derivative});
}

/// g *= derivative (unless null), then bias_gradient += column sums of g (unless null).
template <class Device, class T>
void bias_unary_backward(Device device, std::size_t rows, std::size_t columns,
                         OrNull<const T> derivative, T* g, OrNull<T> bias_gradient) {
  if (bias_gradient)
    reduce_columns(device, rows, columns,
                   detail::BiasUnaryBackward<T>{derivative, g, bias_gradient});
  else if (derivative)
    multiply(device, rows * columns, derivative, g, g);
}

/// Of two matrices x, one behind the other: the column sums of the first one are added to y0, those
/// of the second one to y1, unless these are null. A device that can do both at a time overloads
/// it.
template <class Device, class T>
void add_column_sums(Device device, std::size_t rows, std::size_t columns, T* x, OrNull<T> y0,
                     OrNull<T> y1) {
  if (y0) bias_unary_backward(device, rows, columns, nullptr, x, y0);
  if (y1) bias_unary_backward(device, rows, columns, nullptr, x + rows * columns, y1);
}

/// y[:, :columns] (+)= x[:, :columns] between matrices of different strides.
template <class Device, class T>
void copy_columns(Device device, std::size_t rows, std::size_t columns, const T* x,
                  std::size_t x_stride, T* y, std::size_t y_stride, bool add) {
  for_each_in_rows(device, rows, columns, detail::CopyColumns<T>{x, x_stride, y, y_stride, add});
}

}  // namespace meanflow::kernels
