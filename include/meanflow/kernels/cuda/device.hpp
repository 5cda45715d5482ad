// SPDX-License-Identifier: MIT
/// \file
/// The GPU as a device: its work is launched one after the other, and split by the GPU itself.
#pragma once

#include <cstddef>

#include <meanflow/config.hpp>
#include <meanflow/error.hpp>
#include <meanflow/kernels/cuda/context.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/cuda/memory.hpp>
#include <meanflow/kernels/cuda/tag.hpp>
#include <meanflow/kernels/precision.hpp>

namespace meanflow::kernels {

// The device splits its work itself: a batch is one tile, and loops over tiles run on the host.

template <class F>
void parallel_for(Cuda, std::size_t n, std::size_t /*grain*/, F f) {
  f(std::size_t{0}, n);
}
template <class F>
void parallel_tasks(Cuda, std::size_t tasks, F f) {
  for (std::size_t task = 0; task < tasks; ++task) f(task, std::size_t{0});
}
inline void wait(Cuda) {
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  cuda::context().wait();
#endif
}
[[nodiscard]] inline std::size_t workers(Cuda) { return 1; }
/// One: a device with too little memory for all rows at once says so (`OutOfMemoryError`), and is
/// asked again with more.
[[nodiscard]] inline std::size_t row_tiles(Cuda, std::size_t /*rows*/, std::size_t /*parameters*/,
                                           std::size_t /*tile_rows*/ = 0) {
  return 1;
}

/// Everything that a GPU of compute capability 8.0 and later computes in; on the host float32.
inline void check_precision(Cuda, Precision wanted) {
  if (!cuda::on_gpu && wanted != Precision::float32)
    throw SettingError("precision: Thrust on the host computes only in the type that it is given");
}

/// Leaves that share of the device's memory free while the returned object is in scope.
[[nodiscard]] inline cuda::SpareMemory spare_memory(Cuda, double share) {
  return cuda::SpareMemory(share);
}

template <class T>
void fill(Cuda, std::size_t n, T value, T* y) {
  cuda::fill_numbers(n, value, y);
}

template <class T>
void copy(Cuda, std::size_t n, const T* x, T* y) {
  device_traits<Cuda>::copy(n * sizeof(T), x, y);
}

}  // namespace meanflow::kernels
