// SPDX-License-Identifier: MIT
/// \file
/// Memory of the device. Freed blocks are kept and given out again in the order of the stream, so
/// that a training step that repeats itself asks the driver for nothing. Where Thrust runs on the
/// host it is the host's memory.
#pragma once

#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/kernels/cuda/context.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/cuda/work.hpp>
#include <meanflow/kernels/scratch.hpp>
#include <meanflow/tensor/memory.hpp>

namespace meanflow {

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA

namespace kernels::cuda {

/// Blocks of device memory by size. A block that was freed is used again by work that comes later
/// in the same stream, so nothing has to be waited for.
class BlockPool {
 public:
  using Classes = meanflow::detail::MemoryPool;

  BlockPool() = default;
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool() { free_all(); }

  [[nodiscard]] void* allocate(std::size_t size_class) {
    std::vector<void*>& free = free_[size_class];
    if (free.empty()) return from_driver(Classes::bytes_of(size_class));
    void* block = free.back();
    free.pop_back();
    return block;
  }
  void release(std::size_t size_class, void* block) { free_[size_class].push_back(block); }

  /// Returns the free blocks to the driver.
  void give_back() {
    context().wait();
    free_all();
  }

 private:
  [[nodiscard]] void* from_driver(std::size_t bytes) {
    static_cast<void>(context());
    void* block = nullptr;
    if (cudaMalloc(&block, bytes) == cudaSuccess) return block;
    static_cast<void>(cudaGetLastError());
    if (!recording()) give_back();
    if (cudaMalloc(&block, bytes) == cudaSuccess) return block;
    static_cast<void>(cudaGetLastError());
    std::size_t free = 0, total = 0;
    static_cast<void>(cudaMemGetInfo(&free, &total));
    throw CudaError("out of memory on " + device_text() + ": asked for " + std::to_string(bytes) +
                    " bytes, " + std::to_string(free) + " of " + std::to_string(total) +
                    " are free");
  }

  void free_all() {
    for (auto& [size_class, blocks] : free_) {
      for (void* block : blocks) static_cast<void>(cudaFree(block));
      blocks.clear();
    }
  }

  std::map<std::size_t, std::vector<void*>> free_;
};

/// Where the calling thread's memory comes from, one per thread as the stream is.
[[nodiscard]] inline std::shared_ptr<BlockPool>& block_pool() {
  thread_local auto pool = std::make_shared<BlockPool>();
  return pool;
}

/// While in scope, what the calling thread asks its stream for is recorded, in memory of its own.
class Recording {
 public:
  explicit Recording(std::shared_ptr<BlockPool> memory)
      : outside_(std::exchange(block_pool(), std::move(memory))) {
    recording() = true;
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording() {
    recording() = false;
    block_pool() = std::move(outside_);
  }

 private:
  std::shared_ptr<BlockPool> outside_;
};

/// A counted reference to a block, which goes back to where it came from; empty for memory that
/// somebody else owns. The count lies on the host.
class Storage {
 public:
  Storage() = default;
  explicit Storage(std::size_t bytes) : owner_(sizeof(Block)) {
    const std::size_t size_class = BlockPool::Classes::class_of(bytes);
    void* memory = block_pool()->allocate(size_class);
    new (owner_.data()) Block{size_class, memory, block_pool()};
  }
  Storage(const Storage&) = default;
  Storage(Storage&&) noexcept = default;
  Storage& operator=(Storage other) noexcept {
    std::swap(owner_, other.owner_);
    return *this;
  }
  ~Storage() {
    if (!owner_.unique()) return;
    block()->pool->release(block()->size_class, block()->memory);
    block()->~Block();
  }

  [[nodiscard]] void* data() const { return owner_.data() ? block()->memory : nullptr; }
  [[nodiscard]] bool unique() const { return owner_.unique(); }

 private:
  struct Block {
    std::size_t size_class;
    void* memory;
    std::shared_ptr<BlockPool> pool;
  };
  [[nodiscard]] Block* block() const { return static_cast<Block*>(owner_.data()); }

  meanflow::detail::Storage owner_;
};

}  // namespace kernels::cuda

template <>
struct detail::DeviceMemory<Cuda> {
  using Storage = kernels::cuda::Storage;

  static void from_host(std::size_t bytes, const void* from, void* to) {
    if (bytes == 0) return;
    kernels::cuda::refuse_while_recording();
    kernels::cuda::work().transfer(bytes);
    move(bytes, from, to, cudaMemcpyHostToDevice);
    kernels::cuda::context().wait();  // `from` may be gone when this returns
  }
  static void to_host(std::size_t bytes, const void* from, void* to) {
    if (bytes == 0) return;
    kernels::cuda::refuse_while_recording();
    kernels::cuda::work().transfer(bytes);
    move(bytes, from, to, cudaMemcpyDeviceToHost);
    kernels::cuda::context().wait();
  }
  static void copy(std::size_t bytes, const void* from, void* to) {
    kernels::cuda::work().copy(bytes);
    if (bytes > 0) move(bytes, from, to, cudaMemcpyDeviceToDevice);
  }
  static void zero(std::size_t bytes, void* to) {
    kernels::cuda::work().copy(bytes);
    if (bytes > 0)
      kernels::cuda::check(cudaMemsetAsync(to, 0, bytes, kernels::cuda::context().stream),
                           "cudaMemset of " + std::to_string(bytes) + " bytes");
  }
  template <class T>
  static void fill(std::size_t count, T value, T* to) {
    kernels::cuda::for_each_index(count,
                                  [=] MEANFLOW_HOST_DEVICE(std::size_t i) { to[i] = value; });
  }

 private:
  static void move(std::size_t bytes, const void* from, void* to, cudaMemcpyKind kind) {
    kernels::cuda::check(cudaMemcpyAsync(to, from, bytes, kind, kernels::cuda::context().stream),
                         "cudaMemcpy of " + std::to_string(bytes) + " bytes");
  }
};

#else

/// The host's memory, and what of it counts as work of the device.
template <>
struct detail::DeviceMemory<Cuda> {
  using Host = detail::DeviceMemory<Cpu>;
  using Storage = Host::Storage;

  static void from_host(std::size_t bytes, const void* from, void* to) {
    kernels::cuda::work().transfer(bytes);
    Host::from_host(bytes, from, to);
  }
  static void to_host(std::size_t bytes, const void* from, void* to) {
    kernels::cuda::work().transfer(bytes);
    Host::to_host(bytes, from, to);
  }
  static void copy(std::size_t bytes, const void* from, void* to) {
    kernels::cuda::work().copy(bytes);
    Host::copy(bytes, from, to);
  }
  static void zero(std::size_t bytes, void* to) {
    kernels::cuda::work().copy(bytes);
    Host::zero(bytes, to);
  }
  template <class T>
  static void fill(std::size_t count, T value, T* to) {
    kernels::cuda::work().launch(count);
    Host::fill(count, value, to);
  }
};

#endif

namespace kernels::cuda {

/// A buffer on the device for as long as it is in scope.
template <class T>
using Scratch = kernels::detail::Scratch<T, Cuda>;

}  // namespace kernels::cuda
}  // namespace meanflow
