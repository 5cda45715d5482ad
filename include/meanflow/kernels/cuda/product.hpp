// SPDX-License-Identifier: MIT
/// \file
/// Matrix products by cuBLAS, one or many at a time; by the processor's library where Thrust runs
/// on the host.
#pragma once

#include <cstddef>
#include <string>
#include <type_traits>

#include <meanflow/kernels/cuda/device.hpp>
#include <meanflow/kernels/precision.hpp>
#include <meanflow/kernels/transpose.hpp>

#if THRUST_DEVICE_SYSTEM != THRUST_DEVICE_SYSTEM_CUDA
#include <meanflow/kernels/cpu.hpp>
#endif

namespace meanflow::kernels {

namespace cuda {

/// The strides from the matrices of one product to the next; 0 for one that all share.
struct Strides {
  std::size_t a = 0, b = 0, c = 0;
};

/// c (m, n) = op(a) (m, k) op(b) (k, n) + beta c, `count` times.
template <class T>
void products(std::size_t count, Strides strides, Transpose transpose_a, Transpose transpose_b,
              std::size_t m, std::size_t n, std::size_t k, const T* a, const T* b, T beta, T* c) {
  if (m == 0 || n == 0 || count == 0) return;
  work().product(static_cast<double>(count) * static_cast<double>(m * n) * static_cast<double>(k));
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  if (k == 0) {
    for_each_index(m * n, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
      for (std::size_t p = 0; p < count; ++p) {
        T& to = c[p * strides.c + i];
        to = beta == T(0) ? T(0) : beta * to;
      }
    });
    return;
  }
  // cuBLAS counts by columns: a row-major c is its transpose, op(b)^T op(a)^T.
  const auto operation = [](Transpose t) {
    return t == Transpose::yes ? CUBLAS_OP_T : CUBLAS_OP_N;
  };
  const auto extent = [](std::size_t value) { return static_cast<int>(value); };
  const auto stride = [](std::size_t value) { return static_cast<long long>(value); };
  const cudaDataType_t type = std::is_same_v<T, float> ? CUDA_R_32F : CUDA_R_64F;
  const cublasComputeType_t compute =
      !std::is_same_v<T, float>            ? CUBLAS_COMPUTE_64F
      : precision() == Precision::bfloat16 ? CUBLAS_COMPUTE_32F_FAST_16BF
      : precision() == Precision::tf32     ? CUBLAS_COMPUTE_32F_FAST_TF32
                                           : CUBLAS_COMPUTE_32F;
  const T one(1);
  check(cublasGemmStridedBatchedEx(context().blas, operation(transpose_b), operation(transpose_a),
                                   extent(n), extent(m), extent(k), &one, b, type,
                                   extent(transpose_b == Transpose::yes ? k : n), stride(strides.b),
                                   a, type, extent(transpose_a == Transpose::yes ? m : k),
                                   stride(strides.a), &beta, c, type, extent(n), stride(strides.c),
                                   extent(count), compute, CUBLAS_GEMM_DEFAULT),
        std::to_string(count) + " products (" + std::to_string(m) + ", " + std::to_string(k) +
            ") x (" + std::to_string(k) + ", " + std::to_string(n) + ")");
#else
  for (std::size_t p = 0; p < count; ++p)
    kernels::gemm(Cpu{}, transpose_a, transpose_b, m, n, k, a + p * strides.a, b + p * strides.b,
                  beta, c + p * strides.c);
#endif
}

}  // namespace cuda

template <class T>
void gemm(Cuda, Transpose transpose_a, Transpose transpose_b, std::size_t m, std::size_t n,
          std::size_t k, const T* a, const T* b, T beta, T* c) {
  cuda::products(1, {}, transpose_a, transpose_b, m, n, k, a, b, beta, c);
}

}  // namespace meanflow::kernels
