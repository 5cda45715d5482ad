// SPDX-License-Identifier: MIT
/// \file
/// The device of plain loops: one thread, and the host's memory. What is said here holds for every
/// device.
#pragma once

#include <cstddef>

#include <meanflow/error.hpp>
#include <meanflow/kernels/precision.hpp>
#include <meanflow/tensor/device.hpp>

namespace meanflow::kernels {

/// Runs f(first, last) over [0, n); devices with cores split the range.
template <class F>
void parallel_for(Reference, std::size_t n, std::size_t /*grain*/, F f) {
  f(std::size_t{0}, n);
}

/// Runs f(task, worker) for task in [0, tasks); worker < workers(device).
template <class F>
void parallel_tasks(Reference, std::size_t tasks, F f) {
  for (std::size_t task = 0; task < tasks; ++task) f(task, std::size_t{0});
}

/// Throws SettingError if the device cannot compute in `wanted`.
inline void check_precision(Reference, Precision wanted) {
  if (wanted != Precision::float32)
    throw SettingError("precision: the plain loops compute only in the type that they are given");
}

/// Waits until the device has finished all queued work.
inline void wait(Reference) {}

/// Leaves a share of the device's memory free while the returned object is in scope; memory of the
/// host is shared with all.
[[nodiscard]] inline int spare_memory(Reference, double /*share*/) { return 0; }

/// How many workers `parallel_tasks` uses.
[[nodiscard]] inline std::size_t workers(Reference) { return 1; }

/// Into how many tiles a batch of `rows` is best cut for a net with that many parameters.
[[nodiscard]] inline std::size_t row_tiles(Reference, std::size_t /*rows*/,
                                           std::size_t /*parameters*/,
                                           std::size_t /*tile_rows*/ = 0) {
  return 1;
}

/// y = value
template <class T>
void fill(Reference, std::size_t n, T value, T* y) {
  for (std::size_t i = 0; i < n; ++i) y[i] = value;
}

/// y = x
template <class T>
void copy(Reference, std::size_t n, const T* x, T* y) {
  for (std::size_t i = 0; i < n; ++i) y[i] = x[i];
}

}  // namespace meanflow::kernels
