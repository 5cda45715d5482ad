// SPDX-License-Identifier: MIT
/// \file
/// Products by the BLAS that is linked (OpenBLAS), through xtensor-blas.
#pragma once

#include <complex>  // cxxblas expects it
#include <cstddef>

// In this order: the configuration makes cxxblas call the BLAS instead of loops of its own.
// clang-format off
#include <xtensor-blas/xblas_config.hpp>
#include <xflens/cxxblas/cxxblas.cxx>
// clang-format on

namespace meanflow::kernels::detail {

/// c (m, n) = op(a) (m, k) op(b) (k, n) + beta c
template <class T>
void blas_gemm(bool transpose_a, bool transpose_b, std::size_t m, std::size_t n, std::size_t k,
               const T* a, const T* b, T beta, T* c) {
  const auto index = [](std::size_t value) { return static_cast<xt::blas_index_t>(value); };
  const auto op = [](bool transpose) { return transpose ? cxxblas::Trans : cxxblas::NoTrans; };
  cxxblas::gemm(cxxblas::RowMajor, op(transpose_a), op(transpose_b), index(m), index(n), index(k),
                T(1), a, index(transpose_a ? m : k), b, index(transpose_b ? k : n), beta, c,
                index(n));
}

}  // namespace meanflow::kernels::detail
