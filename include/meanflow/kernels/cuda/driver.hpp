// SPDX-License-Identifier: MIT
/// \file
/// Memory straight from the driver, or from the host where Thrust runs there; how much this process
/// holds, and how much it may.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include <meanflow/kernels/cuda/context.hpp>

namespace meanflow::kernels::cuda {

/// The device memory of this process, in bytes.
struct MemoryUse {
  std::atomic<std::size_t> held = 0;  ///< in use or cached
  std::atomic<std::size_t> peak = 0;  ///< the most that was held since it was last set
  std::atomic<std::size_t> limit = std::numeric_limits<std::size_t>::max();
  /// Debug mode, to find bugs in kernels: every block has exactly the requested size, is filled
  /// with NaN, and is freed at once when released. Slow. MEANFLOW_DEBUG_MEMORY=1 in the environment
  /// turns it on from the start.
  std::atomic<bool> debug = [] {
    const char* set = std::getenv("MEANFLOW_DEBUG_MEMORY");
    return set && std::string_view(set) == "1";
  }();
};

// Never destroyed: tensors with static storage may outlive it.
[[nodiscard]] inline MemoryUse& memory_use() {
  static MemoryUse* use = new MemoryUse;
  return *use;
}

namespace detail {

/// The share of the device's memory that the calling thread's allocations leave free.
[[nodiscard]] inline double& spared_share() {
  thread_local double share = 0;
  return share;
}

/// The memory available to this process.
struct Room {
  std::size_t free = std::numeric_limits<std::size_t>::max();
  std::size_t total = std::numeric_limits<std::size_t>::max();
};

[[nodiscard]] inline Room room() {
  Room room;
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  if (!recording()) check(cudaMemGetInfo(&room.free, &room.total), "cudaMemGetInfo");
#endif
  const std::size_t limit = memory_use().limit, held = memory_use().held;
  room.total = std::min(room.total, limit);
  if (limit < std::numeric_limits<std::size_t>::max())
    room.free = std::min(room.free, limit - std::min(limit, held));
  return room;
}

}  // namespace detail

/// While in scope, allocations of the calling thread leave that share of the device's memory free.
class SpareMemory {
 public:
  explicit SpareMemory(double share) : saved_(std::exchange(detail::spared_share(), share)) {}
  SpareMemory(const SpareMemory&) = delete;
  SpareMemory& operator=(const SpareMemory&) = delete;
  ~SpareMemory() { detail::spared_share() = saved_; }

 private:
  double saved_;
};

/// Allocates that many bytes; nullptr if there is no room for them.
[[nodiscard]] inline void* take_memory(std::size_t bytes) {
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  static_cast<void>(context());
#endif
  const detail::Room room = detail::room();
  const double spared = detail::spared_share() * static_cast<double>(room.total);
  if (bytes > room.free || static_cast<double>(room.free - bytes) < spared) return nullptr;
  void* memory = nullptr;
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  if (cudaMalloc(&memory, bytes) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return nullptr;
  }
#else
  if (posix_memalign(&memory, 64, bytes) != 0) return nullptr;
#endif
  MemoryUse& use = memory_use();
  const std::size_t held = use.held += bytes;
  std::size_t peak = use.peak;
  while (held > peak && !use.peak.compare_exchange_weak(peak, held)) {
  }
  return memory;
}

/// Frees what `take_memory` allocated.
inline void return_memory(void* memory, std::size_t bytes) {
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  static_cast<void>(cudaFree(memory));  // waits for the work that uses it
#else
  std::free(memory);
#endif
  memory_use().held -= bytes;
}

/// Fills with bytes that are NaN in every floating-point type, and invalid labels.
inline void fill_with_nan(void* memory, std::size_t bytes) {
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  check(cudaMemsetAsync(memory, 0xFF, bytes, context().stream), "cudaMemset");
#else
  std::memset(memory, 0xFF, bytes);
#endif
}

}  // namespace meanflow::kernels::cuda
