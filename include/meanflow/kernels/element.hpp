// SPDX-License-Identifier: MIT
/// \file
/// How a body of work sees the elements that it is called for, and what it adds up. A body is
/// written once: devices that take elements singly call it with an `Element`, the processor with a
/// vector of neighbouring ones (`kernels/cpu/simd.hpp`), and what `load` returns is a number there
/// and a SIMD batch here.
///
/// The shapes of work that every device has:
///  - `for_each_index(device, n, body)`: body(i) for every i in [0, n);
///  - `for_each(device, n, body)`: body(at) for every element at of n;
///  - `for_each_of_two(device, first, second, body)`: body(at, FirstPart{}) for the first elements,
///    body(at, SecondPart{}) for those that follow;
///  - `for_each_in_rows(device, rows, columns, body)`: body(row, at, column) for every element of a
///    matrix, at its place in the matrix and in its row;
///  - `reduce_rows(device, rows, columns, body)`: body.term(row, at, column), the `Sums` of an
///    element, and body.finish(row, sums), which takes their sum over the row;
///  - `reduce_columns(device, rows, columns, body)`: body.term(at) of every element, and
///    body.finish(column, sum), which takes their sum over the rows.
/// A body of rows that has something to prepare for each of them, such as a square root, returns it
/// from body(row): an object that is called as row(at), or has term(at) and finish(sums).
///
/// A body is copied as bytes. Those of elements have `value_type`, the type of what they load;
/// those of `reduce_rows` have `static constexpr std::size_t sums`, how many there are. Rows are
/// stored one behind the other. A term is asked for once, so that it may store as well, and must be
/// 0 where all that is loaded is 0.
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

/// Which of two runs of elements a body is called for.
struct FirstPart {};
struct SecondPart {};

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

/// A row of a body that has something prepared for it.
template <class Row>
struct PreparedRow {
  Row row;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(At at, At /*column*/) const {
    row(at);
  }
  template <class At>
  [[nodiscard]] MEANFLOW_HOST_DEVICE auto term(At at, At /*column*/) const {
    return row.term(at);
  }
  template <class S>
  MEANFLOW_HOST_DEVICE void finish(const S& sums) const {
    row.finish(sums);
  }
};

/// A row of a body that is told which one it is.
template <class Body>
struct NumberedRow {
  Body body;
  std::size_t row;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(At at, At column) const {
    body(row, at, column);
  }
  template <class At>
  [[nodiscard]] MEANFLOW_HOST_DEVICE auto term(At at, At column) const {
    return body.term(row, at, column);
  }
  template <class S>
  MEANFLOW_HOST_DEVICE void finish(const S& sums) const {
    body.finish(row, sums);
  }
};

/// What a body does for a row.
template <class Body>
[[nodiscard]] MEANFLOW_HOST_DEVICE auto row_of(const Body& body, std::size_t row) {
  if constexpr (requires { body(row); })
    return PreparedRow<decltype(body(row))>{body(row)};
  else
    return NumberedRow<Body>{body, row};
}

/// Functions of SIMD batches; specialised where those are known.
template <class V>
struct BatchFunctions;

template <class V>
concept SimdBatch = requires(V v) { BatchFunctions<V>::fused(v, v, v); };

}  // namespace detail

/// a b + c, rounded once. Of a sum of two products the compiler may round either one first, and
/// may choose differently at the end of a loop than within it; this says which.
template <class V>
[[nodiscard]] MEANFLOW_HOST_DEVICE V fused(const V& a, const V& b, const V& c) {
  if constexpr (detail::SimdBatch<V>) {
    return detail::BatchFunctions<V>::fused(a, b, c);
  } else {
    using std::fma;
    return fma(a, b, c);
  }
}

/// A sine and a cosine.
template <class V>
struct SineAndCosine {
  V sine, cosine;
};

/// Both of x; of SIMD batches they are computed together.
template <class V>
[[nodiscard]] MEANFLOW_HOST_DEVICE SineAndCosine<V> sine_and_cosine(const V& x) {
  if constexpr (detail::SimdBatch<V>) {
    return detail::BatchFunctions<V>::sine_and_cosine(x);
  } else {
    using std::cos;
    using std::sin;
    return {sin(x), cos(x)};
  }
}

}  // namespace meanflow
