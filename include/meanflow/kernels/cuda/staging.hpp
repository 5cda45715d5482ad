// SPDX-License-Identifier: MIT
/// \file
/// Pinned memory of the host that numbers pass through on their way to the device, so that nobody
/// waits until they are there.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <string>

#include <meanflow/kernels/cuda/context.hpp>

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA

namespace meanflow::kernels::cuda {

/// A few buffers that are used in turn; one that is still being read is waited for.
class Staging {
 public:
  /// Of one buffer: what is larger is copied from where it is.
  static constexpr std::size_t most_bytes = std::size_t{16} << 20;

  Staging() = default;
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  ~Staging() {  // by then the driver may be gone: errors do not matter
    for (Buffer& buffer : buffers_) {
      if (buffer.read) static_cast<void>(cudaEventDestroy(buffer.read));
      static_cast<void>(cudaFreeHost(buffer.memory));
    }
  }

  /// Has `bytes` at `from`, which may be overwritten when this returns, copied to the device; false
  /// if they are too many, or the host gives no pinned memory.
  [[nodiscard]] bool send(std::size_t bytes, const void* from, void* to) {
    if (bytes > most_bytes) return false;
    Buffer& buffer = buffers_[next_++ % buffers_.size()];
    if (!reserve(buffer, bytes)) return false;
    std::memcpy(buffer.memory, from, bytes);
    const cudaStream_t stream = context().stream;
    check(cudaMemcpyAsync(to, buffer.memory, bytes, cudaMemcpyHostToDevice, stream),
          "cudaMemcpy of " + std::to_string(bytes) + " bytes to the device");
    check(cudaEventRecord(buffer.read, stream), "cudaEventRecord");
    return true;
  }

 private:
  struct Buffer {
    void* memory = nullptr;
    std::size_t bytes = 0;
    cudaEvent_t read = nullptr;
  };

  [[nodiscard]] static bool reserve(Buffer& buffer, std::size_t bytes) {
    if (buffer.read)
      check(cudaEventSynchronize(buffer.read), "cudaEventSynchronize");
    else
      check(cudaEventCreateWithFlags(&buffer.read, cudaEventDisableTiming), "cudaEventCreate");
    if (buffer.bytes >= bytes) return true;
    static_cast<void>(cudaFreeHost(buffer.memory));
    buffer.memory = nullptr;
    buffer.bytes = 0;
    const std::size_t size = std::max(bytes, std::size_t{1} << 16);
    if (cudaMallocHost(&buffer.memory, size) != cudaSuccess) {
      static_cast<void>(cudaGetLastError());
      buffer.memory = nullptr;
      return false;
    }
    buffer.bytes = size;
    return true;
  }

  std::array<Buffer, 8> buffers_{};
  std::size_t next_ = 0;
};

[[nodiscard]] inline Staging& staging() {
  static_cast<void>(context());  // outlives it
  thread_local Staging of_thread;
  return of_thread;
}

}  // namespace meanflow::kernels::cuda

#endif
