// SPDX-License-Identifier: MIT
/// \file
/// Blocks of threads that work in phases on memory that they share. Where Thrust runs on the host a
/// loop takes the threads' place, so that the same algorithm is tested without a GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <meanflow/config.hpp>
#include <meanflow/kernels/cuda/context.hpp>
#include <meanflow/kernels/cuda/work.hpp>

namespace meanflow::kernels::cuda {

namespace detail {

#ifdef __CUDACC__
/// What the thread `offset` lanes further has, of any type made of words of 32 bits.
template <class S>
[[nodiscard]] __device__ S shuffled_down(const S& value, unsigned offset) {
  static_assert(sizeof(S) % sizeof(std::uint32_t) == 0);
  constexpr std::size_t words = sizeof(S) / sizeof(std::uint32_t);
  std::uint32_t of[words];
  memcpy(of, &value, sizeof value);
  for (std::size_t k = 0; k < words; ++k) of[k] = __shfl_down_sync(0xffffffffU, of[k], offset);
  S result;
  memcpy(&result, of, sizeof result);
  return result;
}

/// In the first thread of a warp: the sum over all of it.
template <class S>
[[nodiscard]] __device__ S sum_of_warp(S value) {
  for (unsigned offset = 16; offset > 0; offset /= 2) value = value + shuffled_down(value, offset);
  return value;
}
#endif

}  // namespace detail

/// One block of N threads, a multiple of 32.
template <int N>
struct TeamOf {
  static constexpr int threads = N;

  /// f(i) for every i in [0, n), shared among the threads; all of it is done when this returns.
  template <class F>
  MEANFLOW_HOST_DEVICE void each(int n, F f) const {
#ifdef __CUDA_ARCH__
    for (int i = static_cast<int>(threadIdx.x); i < n; i += threads) f(i);
    __syncthreads();
#else
    for (int i = 0; i < n; ++i) f(i);
#endif
  }

  /// Memory that `sum` wants, in numbers of type S.
  static constexpr int sum_memory = N / 32;

  /// The sum of f(thread) over all threads, in the same order every time; every thread gets it.
  template <class S, class F>
  [[nodiscard]] MEANFLOW_HOST_DEVICE S sum(S* memory, F f) const {
#ifdef __CUDA_ARCH__
    const S of_warp = detail::sum_of_warp(f(static_cast<int>(threadIdx.x)));
    if (threadIdx.x % 32 == 0) memory[threadIdx.x / 32] = of_warp;
    __syncthreads();
    S total = memory[0];
    for (int warp = 1; warp < sum_memory; ++warp) total = total + memory[warp];
    __syncthreads();
    return total;
#else
    static_cast<void>(memory);
    S total = f(0);
    for (int thread = 1; thread < threads; ++thread) total = total + f(thread);
    return total;
#endif
  }
};

using Team = TeamOf<128>;

/// The memory that a team may have on every GPU since Ampere, in bytes.
inline constexpr std::size_t team_memory = 96 << 10;

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA

namespace detail {

template <class T, class TheTeam, class Task>
__global__ void __launch_bounds__(TheTeam::threads) run_team(Task task) {
  extern __shared__ double2 shared[];
  task(TheTeam{}, static_cast<std::size_t>(blockIdx.x), reinterpret_cast<T*>(shared));
}

}  // namespace detail

#endif

/// task(team, index, memory) for every index in [0, count), each with `numbers` numbers of type T
/// that its team shares; `elements` and `bytes` are what all of them work on and move.
template <class T, class TheTeam = Team, class Task>
void run_teams(std::size_t count, std::size_t numbers, const Task& task, std::size_t elements = 0,
               std::size_t bytes = 0) {
  if (count == 0) return;
  work().launch(elements ? elements : count * TheTeam::threads, bytes);
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  const auto kernel = detail::run_team<T, TheTeam, Task>;
  const std::size_t memory = numbers * sizeof(T);
  const std::string text =
      std::to_string(count) + " teams with " + std::to_string(memory) + " bytes each";
  // All of it: the limit is the kernel's, and other threads launch it with other sizes.
  if (memory > std::size_t{48} << 10)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(team_memory)),
          text);
  kernel<<<static_cast<unsigned>(count), TheTeam::threads, memory, context().stream>>>(task);
  check(cudaGetLastError(), text);
#else
  std::vector<T> memory(numbers);
  for (std::size_t i = 0; i < count; ++i) task(TheTeam{}, i, memory.data());
#endif
}

}  // namespace meanflow::kernels::cuda
