// SPDX-License-Identifier: MIT
/// \file
/// Sums over rows and what is made of them, as plain loops.
#pragma once

#include <cmath>
#include <cstddef>

#include <meanflow/tensor/device.hpp>

namespace meanflow::kernels {

/// Sum of x^2, in double.
template <class T>
[[nodiscard]] double squared_norm(Reference, std::size_t n, const T* x) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

/// *to = the same
template <class T>
void squared_norm(Reference, std::size_t n, const T* x, double* to) {
  *to = squared_norm(Reference{}, n, x);
}

/// y[r] = exp(x[r] - max x[r]) / sum
template <class T>
void softmax(Reference, std::size_t rows, std::size_t columns, const T* x, T* y) {
  using std::exp;
  for (std::size_t r = 0; r < rows; ++r) {
    const T* in = x + r * columns;
    T* out = y + r * columns;
    T largest = in[0];
    for (std::size_t c = 1; c < columns; ++c) largest = in[c] > largest ? in[c] : largest;
    T sum(0);
    for (std::size_t c = 0; c < columns; ++c) sum += (out[c] = exp(in[c] - largest));
    for (std::size_t c = 0; c < columns; ++c) out[c] /= sum;
  }
}

/// z[r] = y[r] (v[r] - <y[r], v[r]>): the Jacobian of softmax at its result y times v. The Jacobian
/// is symmetric, so this is both the tangent and the backward rule.
template <class T>
void softmax_jacobian(Reference, std::size_t rows, std::size_t columns, const T* y, const T* v,
                      T* z) {
  for (std::size_t r = 0; r < rows; ++r) {
    T dot(0);
    for (std::size_t c = 0; c < columns; ++c) dot += y[r * columns + c] * v[r * columns + c];
    for (std::size_t c = 0; c < columns; ++c)
      z[r * columns + c] = y[r * columns + c] * (v[r * columns + c] - dot);
  }
}

}  // namespace meanflow::kernels
