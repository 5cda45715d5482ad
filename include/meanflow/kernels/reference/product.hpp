// SPDX-License-Identifier: MIT
/// \file
/// The product of matrices as plain loops.
#pragma once

#include <cstddef>

#include <meanflow/kernels/transpose.hpp>
#include <meanflow/tensor/device.hpp>

namespace meanflow::kernels {

/// c (m, n) = op(a) (m, k) op(b) (k, n) + beta c
template <class T>
void gemm(Reference, Transpose transpose_a, Transpose transpose_b, std::size_t m, std::size_t n,
          std::size_t k, const T* a, const T* b, T beta, T* c) {
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < n; ++j) {
      T sum(0);
      for (std::size_t l = 0; l < k; ++l)
        sum += (transpose_a == Transpose::yes ? a[l * m + i] : a[i * k + l]) *
               (transpose_b == Transpose::yes ? b[j * k + l] : b[l * n + j]);
      c[i * n + j] = beta == T(0) ? sum : beta * c[i * n + j] + sum;
    }
}

}  // namespace meanflow::kernels
