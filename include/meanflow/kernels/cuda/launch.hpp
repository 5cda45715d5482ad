// SPDX-License-Identifier: MIT
/// \file
/// Shapes of work that the device's own kernels have: something for every index, by Thrust, or by
/// kernels of its own where much is to be done; and a sum for every row. `columns.hpp` has sums
/// down columns, `team.hpp` blocks of threads that share memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include <thrust/execution_policy.h>
#include <thrust/for_each.h>
#include <thrust/iterator/counting_iterator.h>

#include <meanflow/config.hpp>
#include <meanflow/kernels/cuda/context.hpp>
#include <meanflow/kernels/cuda/lanes.hpp>
#include <meanflow/kernels/cuda/work.hpp>

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
#include <cub/block/block_reduce.cuh>

#include <thrust/system/cuda/execution_policy.h>
#include <thrust/system_error.h>
#endif

namespace meanflow::kernels::cuda {

/// f(i) for every i in [0, n), in any order; `bytes` is what all of them move.
template <class F>
void for_each_index(std::size_t n, F f, std::size_t bytes = 0) {
  work().launch(n, bytes);
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

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA

namespace detail {

inline constexpr unsigned item_threads = 256;

template <class F>
__global__ void __launch_bounds__(item_threads) run_items(std::uint32_t n, F f) {
  const std::uint32_t i = blockIdx.x * item_threads + threadIdx.x;
  if (i < n) f(i);
}

}  // namespace detail

#endif

/// Items of work that one launch may have.
inline constexpr std::size_t most_items = std::size_t{1} << 30;

/// f(i) for every i in [0, n), n <= `most_items`, which stand for `elements` elements and move
/// `bytes`: in place of `for_each_index` where time goes, with numbers of 32 bits, of which a GPU
/// makes its addresses in a third of the instructions.
template <class F>
void for_each_item(std::size_t n, std::size_t elements, std::size_t bytes, F f) {
  if (n == 0) return;
  if (n >> 31) throw CudaError("a kernel over " + std::to_string(n) + " items is too large");
  work().launch(elements, bytes);
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  const auto count = static_cast<std::uint32_t>(n);
  detail::run_items<<<(count - 1) / detail::item_threads + 1, detail::item_threads, 0,
                      context().stream>>>(count, f);
  check(cudaGetLastError(), "a kernel over " + std::to_string(elements) + " numbers");
#else
  const thrust::counting_iterator<std::uint32_t> first(0);
  thrust::for_each_n(thrust::device, first, n, f);
#endif
}

/// f(first, count) for parts of [0, n) that one launch can take, `each` items a time at least: what
/// must stay together. All of it, but for the largest of batches.
template <class F>
void for_each_launch(std::size_t n, std::size_t each, F f) {
  const std::size_t most = std::max<std::size_t>(most_items / std::max<std::size_t>(each, 1), 1);
  for (std::size_t first = 0; first < n; first += most) f(first, std::min(most, n - first));
}

/// y = value, n times.
template <class T>
void fill_numbers(std::size_t n, T value, T* y) {
  for_each_launch(fours(n), 1, [&](std::size_t first, std::size_t count) {
    const std::size_t begin = first * lanes, end = std::min(n, begin + count * lanes);
    for_each_item(count, end - begin, (end - begin) * sizeof(T),
                  [value, y, begin, end] MEANFLOW_HOST_DEVICE(std::uint32_t i) {
                    const std::size_t at = begin + lanes * i;
                    if (at + lanes <= end)
                      store_lanes(y + at, Lanes<T, lanes>(value));
                    else
                      for (std::size_t k = at; k < end; ++k) y[k] = value;
                  });
  });
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
void reduce_rows(std::size_t rows, std::size_t n, Term term, Finish finish, std::size_t bytes = 0) {
  work().move(bytes);
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

}  // namespace meanflow::kernels::cuda
