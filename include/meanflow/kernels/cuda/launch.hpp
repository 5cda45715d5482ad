// SPDX-License-Identifier: MIT
/// \file
/// Shapes of work that the device's own kernels have: something for every index, and a sum for
/// every row. `columns.hpp` has the third.
#pragma once

#include <cstddef>
#include <string>

#include <thrust/execution_policy.h>
#include <thrust/for_each.h>
#include <thrust/iterator/counting_iterator.h>

#include <meanflow/config.hpp>
#include <meanflow/kernels/cuda/context.hpp>
#include <meanflow/kernels/cuda/work.hpp>

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
#include <cub/block/block_reduce.cuh>

#include <thrust/system/cuda/execution_policy.h>
#include <thrust/system_error.h>
#endif

namespace meanflow::kernels::cuda {

/// f(i) for every i in [0, n), in any order.
template <class F>
void for_each_index(std::size_t n, F f) {
  work().launch(n);
  const thrust::counting_iterator<std::size_t> first(0);
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  if (n == 0) return;
  try {
    thrust::for_each_n(thrust::cuda::par_nosync.on(context().stream), first, n, f);
  } catch (const thrust::system_error& error) {
    throw CudaError("a kernel over " + std::to_string(n) + " numbers failed on " + device_text() +
                    ": " + error.what());
  }
#else
  thrust::for_each_n(thrust::device, first, n, f);
#endif
}

namespace detail {

/// One thread for each row: for rows that are short.
template <class S, class Term, class Finish>
void sum_each(std::size_t rows, std::size_t n, Term term, Finish finish) {
  work().more(n > 1 ? rows * (n - 1) : 0);
  for_each_index(rows, [=] MEANFLOW_HOST_DEVICE(std::size_t row) {
    S sum{};
    for (std::size_t i = 0; i < n; ++i) sum = sum + term(row, i);
    finish(row, sum);
  });
}

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA

struct Plus {
  template <class S>
  __device__ S operator()(const S& a, const S& b) const {
    return a + b;
  }
};

/// One block of threads for each row.
template <int threads, class S, class Term, class Finish>
__global__ void reduce_row(std::size_t n, Term term, Finish finish) {
  using Reduce = cub::BlockReduce<S, threads>;
  __shared__ typename Reduce::TempStorage shared;
  const std::size_t row = blockIdx.x;
  S sum{};
  for (std::size_t i = threadIdx.x; i < n; i += threads) sum = sum + term(row, i);
  const S total = Reduce(shared).Reduce(sum, Plus{});
  if (threadIdx.x == 0) finish(row, total);
}

template <int threads, class S, class Term, class Finish>
void launch_rows(std::size_t rows, std::size_t n, Term term, Finish finish) {
  reduce_row<threads, S>
      <<<static_cast<unsigned>(rows), threads, 0, context().stream>>>(n, term, finish);
  check(cudaGetLastError(), "a sum of " + std::to_string(rows) + " rows of " + std::to_string(n));
}

#endif

}  // namespace detail

/// finish(row, the sum over i in [0, n) of term(row, i)) for every row in [0, rows). Sums are of
/// type S, which starts at S{}; the same numbers are added in the same order every time.
template <class S, class Term, class Finish>
void reduce_rows(std::size_t rows, std::size_t n, Term term, Finish finish) {
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  if (rows == 0) return;
  if (n <= 8) return detail::sum_each<S>(rows, n, term, finish);
  work().launch(rows * n);
  if (n <= 64)
    detail::launch_rows<32, S>(rows, n, term, finish);
  else if (n <= 1024)
    detail::launch_rows<128, S>(rows, n, term, finish);
  else
    detail::launch_rows<512, S>(rows, n, term, finish);
#else
  detail::sum_each<S>(rows, n, term, finish);
#endif
}

/// Two sums at a time.
template <class T>
struct Pair {
  T first{}, second{};
  friend MEANFLOW_HOST_DEVICE Pair operator+(const Pair& a, const Pair& b) {
    return {a.first + b.first, a.second + b.second};
  }
};

}  // namespace meanflow::kernels::cuda
