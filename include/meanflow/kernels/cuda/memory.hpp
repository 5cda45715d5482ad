// SPDX-License-Identifier: MIT
/// \file
/// Memory of the device. Freed blocks are kept and given out again in the order of the stream, so
/// that a training step that repeats itself asks the driver for nothing. Where Thrust runs on the
/// host it is the host's memory.
#pragma once

#include <cstddef>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/kernels/cuda/context.hpp>
#include <meanflow/kernels/scratch.hpp>
#include <meanflow/tensor/memory.hpp>

namespace meanflow {

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA

namespace kernels::cuda {

/// Blocks of device memory by size. A block that was freed is used again by work that comes later
/// in the same stream, so nothing has to be waited for. One per thread, as the stream is.
class BlockPool {
 public:
  [[nodiscard]] void* allocate(std::size_t size_class) {
    std::vector<void*>& free = free_[size_class];
    if (free.empty()) return from_driver(Classes::bytes_of(size_class));
    void* block = free.back();
    free.pop_back();
    return block;
  }
  void release(std::size_t size_class, void* block) { free_[size_class].push_back(block); }

  [[nodiscard]] std::size_t driver_bytes() const { return driver_bytes_; }

  using Classes = meanflow::detail::MemoryPool;

 private:
  [[nodiscard]] void* from_driver(std::size_t bytes) {
    static_cast<void>(context());
    void* block = nullptr;
    if (cudaMalloc(&block, bytes) != cudaSuccess) {
      static_cast<void>(cudaGetLastError());
      give_back();
      const cudaError_t status = cudaMalloc(&block, bytes);
      if (status != cudaSuccess) {
        std::size_t free = 0, total = 0;
        static_cast<void>(cudaMemGetInfo(&free, &total));
        throw CudaError("out of memory on " + device_text() + ": asked for " +
                        std::to_string(bytes) + " bytes, " + std::to_string(free) + " of " +
                        std::to_string(total) + " are free");
      }
    }
    driver_bytes_ += bytes;
    return block;
  }

  void give_back() {
    context().wait();
    for (auto& [size_class, blocks] : free_) {
      for (void* block : blocks) {
        static_cast<void>(cudaFree(block));
        driver_bytes_ -= Classes::bytes_of(size_class);
      }
      blocks.clear();
    }
  }

  std::map<std::size_t, std::vector<void*>> free_;
  std::size_t driver_bytes_ = 0;
};

[[nodiscard]] inline BlockPool& block_pool() {
  thread_local BlockPool* pool = new BlockPool;  // tensors with static storage may outlive it
  return *pool;
}

/// A counted reference to a block; empty for memory that somebody else owns. The count lies on the
/// host.
class Storage {
 public:
  Storage() = default;
  explicit Storage(std::size_t bytes) : owner_(sizeof(Block)) {
    const std::size_t size_class = BlockPool::Classes::class_of(bytes);
    new (owner_.data()) Block{size_class, block_pool().allocate(size_class)};
  }
  Storage(const Storage&) = default;
  Storage(Storage&&) noexcept = default;
  Storage& operator=(Storage other) noexcept {
    std::swap(owner_, other.owner_);
    return *this;
  }
  ~Storage() {
    if (owner_.unique()) block_pool().release(block()->size_class, block()->memory);
  }

  [[nodiscard]] void* data() const { return owner_.data() ? block()->memory : nullptr; }
  [[nodiscard]] bool unique() const { return owner_.unique(); }

 private:
  struct Block {
    std::size_t size_class;
    void* memory;
  };
  [[nodiscard]] Block* block() const { return static_cast<Block*>(owner_.data()); }

  meanflow::detail::Storage owner_;
};

}  // namespace kernels::cuda

template <>
struct detail::DeviceMemory<Cuda> {
  using Storage = kernels::cuda::Storage;

  static void from_host(std::size_t bytes, const void* from, void* to) {
    // From pageable memory: the driver has read it when the call returns.
    if (bytes > 0) move(bytes, from, to, cudaMemcpyHostToDevice);
  }
  static void to_host(std::size_t bytes, const void* from, void* to) {
    if (bytes == 0) return;
    move(bytes, from, to, cudaMemcpyDeviceToHost);
    kernels::cuda::context().wait();
  }
  static void copy(std::size_t bytes, const void* from, void* to) {
    if (bytes > 0) move(bytes, from, to, cudaMemcpyDeviceToDevice);
  }
  static void zero(std::size_t bytes, void* to) {
    if (bytes > 0)
      kernels::cuda::check(cudaMemsetAsync(to, 0, bytes, kernels::cuda::context().stream),
                           "cudaMemset of " + std::to_string(bytes) + " bytes");
  }

 private:
  static void move(std::size_t bytes, const void* from, void* to, cudaMemcpyKind kind) {
    kernels::cuda::check(cudaMemcpyAsync(to, from, bytes, kind, kernels::cuda::context().stream),
                         "cudaMemcpy of " + std::to_string(bytes) + " bytes");
  }
};

#else

template <>
struct detail::DeviceMemory<Cuda> : detail::DeviceMemory<Cpu> {};

#endif

namespace kernels::cuda {

/// A buffer on the device for as long as it is in scope.
template <class T>
using Scratch = kernels::detail::Scratch<T, Cuda>;

}  // namespace kernels::cuda
}  // namespace meanflow
