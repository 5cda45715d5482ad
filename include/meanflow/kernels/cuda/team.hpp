// SPDX-License-Identifier: MIT
/// \file
/// Blocks of threads that work in phases on memory that they share. Where Thrust runs on the host a
/// loop takes the threads' place, so that the same algorithm is tested without a GPU.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <meanflow/config.hpp>
#include <meanflow/kernels/cuda/context.hpp>
#include <meanflow/kernels/cuda/work.hpp>

namespace meanflow::kernels::cuda {

/// One block of threads.
struct Team {
  static constexpr int threads = 128;

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
};

/// The memory that a team may have on every GPU since Ampere, in bytes.
inline constexpr std::size_t team_memory = 96 << 10;

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA

namespace detail {

template <class T, class Task>
__global__ void __launch_bounds__(Team::threads) run_team(Task task) {
  extern __shared__ double2 shared[];
  task(Team{}, static_cast<std::size_t>(blockIdx.x), reinterpret_cast<T*>(shared));
}

}  // namespace detail

#endif

/// task(team, index, memory) for every index in [0, count), each with `numbers` numbers of type T
/// that its team shares.
template <class T, class Task>
void run_teams(std::size_t count, std::size_t numbers, const Task& task) {
  if (count == 0) return;
  work().launch(count * Team::threads);
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  const auto kernel = detail::run_team<T, Task>;
  const std::size_t bytes = numbers * sizeof(T);
  const std::string text =
      std::to_string(count) + " teams with " + std::to_string(bytes) + " bytes each";
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)),
        text);
  kernel<<<static_cast<unsigned>(count), Team::threads, bytes, context().stream>>>(task);
  check(cudaGetLastError(), text);
#else
  std::vector<T> memory(numbers);
  for (std::size_t i = 0; i < count; ++i) task(Team{}, i, memory.data());
#endif
}

}  // namespace meanflow::kernels::cuda
