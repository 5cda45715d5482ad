// SPDX-License-Identifier: MIT
/// \file
/// How a body of work sees the elements that it is called for, and what it adds up. A body is
/// written once: devices that take elements singly call it with an `Element`, the processor with a
/// vector of neighbouring ones (`kernels/simd.hpp`), and what `load` returns is a number there and
/// a SIMD batch here.
///
/// The shapes of work that every device has:
///  - `for_each_index(device, n, body)`: body(i) for every i in [0, n);
///  - `for_each(device, n, body)`: body(at) for every element at of n;
///  - `for_each_in_rows(device, rows, columns, body)`: body(row) gives the body of a row's
///  elements;
///  - `reduce_rows(device, rows, columns, body)`: body(row) gives `term(at)`, the `Sums` of an
///    element, and `finish(sums)`, which takes their sum over the row.
/// A body has `value_type`, the type of what it loads, and is copied as bytes; rows are stored one
/// behind the other. Terms must be 0 where all that is loaded is 0.
#pragma once

#include <cmath>
#include <cstddef>
#include <type_traits>

#include <meanflow/config.hpp>

namespace meanflow {

/// One element of buffers.
struct Element {
  std::size_t index;

  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE T load(const T* x) const {
    return x[index];
  }
  template <class T>
  MEANFLOW_HOST_DEVICE void store(T* y, const T& value) const {
    y[index] = value;
  }
};

/// K sums at a time, of numbers or of SIMD batches.
template <class V, std::size_t K>
struct Sums {
  V of[K];

  friend MEANFLOW_HOST_DEVICE Sums operator+(const Sums& a, const Sums& b) {
    Sums sum;
    for (std::size_t k = 0; k < K; ++k) sum.of[k] = a.of[k] + b.of[k];
    return sum;
  }
};

namespace detail {

/// a b + c of SIMD batches, rounded once; specialised where those are known.
template <class V>
struct FusedOf;

}  // namespace detail

/// a b + c, rounded once. Of a sum of two products the compiler may round either one first, and
/// may choose differently at the end of a loop than within it; this says which.
template <class V>
[[nodiscard]] MEANFLOW_HOST_DEVICE V fused(const V& a, const V& b, const V& c) {
  if constexpr (std::is_arithmetic_v<V>) {
    using std::fma;
    return fma(a, b, c);
  } else {
    return detail::FusedOf<V>::of(a, b, c);
  }
}

}  // namespace meanflow
