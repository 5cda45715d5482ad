// SPDX-License-Identifier: MIT
/// \file
/// Products of matrices by the libraries that the build found.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include <meanflow/kernels/cpu/blas.hpp>
#include <meanflow/kernels/onednn/product.hpp>
#include <meanflow/kernels/precision.hpp>
#include <meanflow/kernels/transpose.hpp>
#include <meanflow/tensor/device.hpp>

namespace meanflow::kernels {

namespace detail {

/// Whether oneDNN's product of floats is the faster one. With 2 columns or rows of 4, as the first
/// and last layers of a 2-D flow have, OpenBLAS is several times faster; with 8 rows of thousands,
/// as a transformer's modulation has, it takes twice as long.
[[nodiscard]] inline bool onednn_is_faster(std::size_t m, std::size_t n, std::size_t k) {
  const std::size_t least = std::min({m, n, k});
  return least >= 16 || (least >= 8 && m * n * k >= std::size_t{1} << 20);
}

}  // namespace detail

/// oneDNN for wide products of floats, OpenBLAS for the rest.
template <class T>
void gemm(Cpu, Transpose transpose_a, Transpose transpose_b, std::size_t m, std::size_t n,
          std::size_t k, const T* a, const T* b, T beta, T* c) {
  const bool ta = transpose_a == Transpose::yes, tb = transpose_b == Transpose::yes;
  if (m == 0 || n == 0) return;
  if (k == 0) {  // BLAS refuses leading extents of 0
    for (std::size_t i = 0; i < m * n; ++i) c[i] = beta == T(0) ? T(0) : beta * c[i];
    return;
  }
#ifdef MEANFLOW_WITH_ONEDNN
  if constexpr (std::is_same_v<T, float>) {
    if (precision() == Precision::bfloat16 && (beta == 0 || beta == 1) &&
        std::min({m, n, k}) >= 16 && 2 * m * n * k >= detail::least_bfloat16_product)
      return detail::onednn_bfloat16_gemm(ta, tb, m, n, k, a, b, beta, c);
    if (detail::onednn_is_faster(m, n, k))
      return detail::onednn_gemm(ta, tb, m, n, k, a, b, beta, c);
  }
#endif
  detail::blas_gemm(ta, tb, m, n, k, a, b, beta, c);
}

}  // namespace meanflow::kernels
