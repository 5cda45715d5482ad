// SPDX-License-Identifier: MIT
/// \file
/// Matrix products by cuBLAS, one or many at a time; by the processor's library where Thrust runs
/// on the host.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <type_traits>
#include <vector>

#include <meanflow/kernels/cuda/device.hpp>
#include <meanflow/kernels/cuda/divisor.hpp>
#include <meanflow/kernels/precision.hpp>
#include <meanflow/kernels/transpose.hpp>

#if THRUST_DEVICE_SYSTEM != THRUST_DEVICE_SYSTEM_CUDA
#include <meanflow/kernels/cpu.hpp>
#endif

namespace meanflow::kernels {

namespace cuda {

/// Matrices of one kind among many products: how far their rows are apart, and how far one matrix
/// is from the next; 0 for one that all share.
template <class T>
struct Matrices {
  T* data;
  std::size_t row, next = 0;
};

#if THRUST_DEVICE_SYSTEM != THRUST_DEVICE_SYSTEM_CUDA

namespace detail {

/// c = op(a) op(b) + beta c by the processor's library, whose matrices have no gaps between rows.
template <class T>
void product_with_gaps(Transpose transpose_a, Transpose transpose_b, std::size_t m, std::size_t n,
                       std::size_t k, Matrices<const T> a, Matrices<const T> b, T beta,
                       Matrices<T> c) {
  const auto packed = [](const auto& from, std::size_t rows, std::size_t columns) {
    std::vector<T> to(rows * columns);
    for (std::size_t r = 0; r < rows; ++r)
      std::copy_n(from.data + r * from.row, columns, to.data() + r * columns);
    return to;
  };
  const bool turned_a = transpose_a == Transpose::yes, turned_b = transpose_b == Transpose::yes;
  const auto pa = packed(a, turned_a ? k : m, turned_a ? m : k);
  const auto pb = packed(b, turned_b ? n : k, turned_b ? k : n);
  auto pc = packed(c, m, n);
  kernels::gemm(Cpu{}, transpose_a, transpose_b, m, n, k, pa.data(), pb.data(), beta, pc.data());
  for (std::size_t r = 0; r < m; ++r) std::copy_n(pc.data() + r * n, n, c.data + r * c.row);
}

}  // namespace detail

#endif

/// c (m, n) = op(a) (m, k) op(b) (k, n) + beta c, `count` times.
template <class T>
void products(std::size_t count, Transpose transpose_a, Transpose transpose_b, std::size_t m,
              std::size_t n, std::size_t k, Matrices<const T> a, Matrices<const T> b, T beta,
              Matrices<T> c) {
  if (m == 0 || n == 0 || count == 0) return;
  work().product(static_cast<double>(count) * static_cast<double>(m * n) * static_cast<double>(k));
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  if (k == 0) {
    const Divisor by(n);
    for_each_index(m * n, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
      for (std::size_t p = 0; p < count; ++p) {
        T& to = c.data[p * c.next + i / by * c.row + i % by];
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
  const auto text = [&] {
    return std::to_string(count) + " products (" + std::to_string(m) + ", " + std::to_string(k) +
           ") x (" + std::to_string(k) + ", " + std::to_string(n) + ")";
  };
  // One product has more kernels to choose from than many.
  if (count == 1)
    check(cublasGemmEx(context().blas, operation(transpose_b), operation(transpose_a), extent(n),
                       extent(m), extent(k), &one, b.data, type, extent(b.row), a.data, type,
                       extent(a.row), &beta, c.data, type, extent(c.row), compute,
                       CUBLAS_GEMM_DEFAULT),
          text());
  else
    check(cublasGemmStridedBatchedEx(context().blas, operation(transpose_b), operation(transpose_a),
                                     extent(n), extent(m), extent(k), &one, b.data, type,
                                     extent(b.row), stride(b.next), a.data, type, extent(a.row),
                                     stride(a.next), &beta, c.data, type, extent(c.row),
                                     stride(c.next), extent(count), compute, CUBLAS_GEMM_DEFAULT),
          text());
#else
  const bool dense = a.row == (transpose_a == Transpose::yes ? m : k) &&
                     b.row == (transpose_b == Transpose::yes ? k : n) && c.row == n;
  for (std::size_t p = 0; p < count; ++p) {
    const Matrices<const T> pa{a.data + p * a.next, a.row}, pb{b.data + p * b.next, b.row};
    const Matrices<T> pc{c.data + p * c.next, c.row};
    if (dense)
      kernels::gemm(Cpu{}, transpose_a, transpose_b, m, n, k, pa.data, pb.data, beta, pc.data);
    else
      detail::product_with_gaps(transpose_a, transpose_b, m, n, k, pa, pb, beta, pc);
  }
#endif
}

}  // namespace cuda

template <class T>
void gemm(Cuda, Transpose transpose_a, Transpose transpose_b, std::size_t m, std::size_t n,
          std::size_t k, const T* a, const T* b, T beta, T* c) {
  cuda::products<T>(1, transpose_a, transpose_b, m, n, k,
                    {a, transpose_a == Transpose::yes ? m : k},
                    {b, transpose_b == Transpose::yes ? k : n}, beta, {c, n});
}

}  // namespace meanflow::kernels
