// SPDX-License-Identifier: MIT
/// \file
/// Blocks of the device's memory. Freed blocks are kept and given out again in the order of the
/// stream, so that a training step that repeats itself asks the driver for nothing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <meanflow/kernels/cuda/driver.hpp>
#include <meanflow/tensor/memory.hpp>

namespace meanflow::kernels::cuda {

/// Blocks of device memory by size. A block that was freed is used again by work that comes later
/// in the same stream, so nothing has to be waited for.
class BlockPool {
 public:
  struct Block {
    void* memory = nullptr;
    std::size_t bytes = 0;
    bool cached = true;     ///< kept for reuse when it is released
    bool recorded = false;  ///< allocated by work that is being recorded
  };

  BlockPool() {
    const std::lock_guard lock(all().mutex);
    all().pools.push_back(this);
  }
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool() {
    {
      const std::lock_guard lock(all().mutex);
      std::erase(all().pools, this);
    }
    free_all();
  }

  [[nodiscard]] Block allocate(std::size_t bytes) {
    using Classes = meanflow::detail::MemoryPool;
    if (memory_use().debug) {
      const std::size_t exact = std::max<std::size_t>(bytes, 1);
      const Block block{from_driver(exact), exact, false, recording()};
      fill_with_nan(block.memory, block.bytes);
      return block;
    }
    const std::size_t size = Classes::bytes_of(Classes::class_of(bytes));
    std::vector<void*>& free = free_[size];
    if (free.empty()) return {from_driver(size), size};
    void* memory = free.back();
    free.pop_back();
    return {memory, size};
  }

  void release(const Block& block) {
    if (block.cached || block.recorded || recording())
      free_[block.bytes].push_back(block.memory);
    else
      return_memory(block.memory, block.bytes);
  }

  /// While pinned, free blocks are not returned to the driver: recorded work may use them.
  void pin() { ++pins_; }
  void unpin() { --pins_; }

  /// Returns the free blocks to the driver, unless the pool is pinned.
  void give_back() {
    if (pins_ > 0 || recording()) return;
    finish_work();
    free_all();
  }

 private:
  struct All {
    std::mutex mutex;
    std::vector<BlockPool*> pools;
  };
  // Never destroyed: tensors with static storage may outlive it.
  [[nodiscard]] static All& all() {
    static All* every = new All;
    return *every;
  }

  /// Frees what the calling thread's pools cache, before an allocation is given up.
  static void give_back_everywhere() {
    const std::lock_guard lock(all().mutex);
    for (BlockPool* pool : all().pools)
      if (pool->thread_ == std::this_thread::get_id()) pool->give_back();
  }

  [[nodiscard]] static void* from_driver(std::size_t bytes) {
    if (void* memory = take_memory(bytes)) return memory;
    give_back_everywhere();
    if (void* memory = take_memory(bytes)) return memory;
    std::string message =
        "out of memory on " + device_text() + ": asked for " + std::to_string(bytes) + " bytes";
    if (recording()) throw OutOfMemoryError(message + " while recording");
    const detail::Room room = detail::room();
    message += ", " + std::to_string(room.free) + " of " + std::to_string(room.total) + " are free";
    const double spared = detail::spared_share() * static_cast<double>(room.total);
    if (spared > 0)
      message += ", of which " + std::to_string(static_cast<std::size_t>(spared)) +
                 " are kept for other work";
    throw OutOfMemoryError(message);
  }

  void free_all() {
    for (auto& [bytes, blocks] : free_) {
      for (void* memory : blocks) return_memory(memory, bytes);
      blocks.clear();
    }
  }

  std::map<std::size_t, std::vector<void*>> free_;  // by size
  std::size_t pins_ = 0;
  std::thread::id thread_ = std::this_thread::get_id();
};

/// The pool that the calling thread allocates from; there is one per thread, as there is one
/// stream.
[[nodiscard]] inline std::shared_ptr<BlockPool>& block_pool() {
  thread_local auto pool = std::make_shared<BlockPool>();
  return pool;
}

/// While in scope, the calling thread's memory comes from that pool.
class UsePool {
 public:
  explicit UsePool(std::shared_ptr<BlockPool> pool)
      : outside_(std::exchange(block_pool(), std::move(pool))) {}
  UsePool(const UsePool&) = delete;
  UsePool& operator=(const UsePool&) = delete;
  ~UsePool() { block_pool() = std::move(outside_); }

 private:
  std::shared_ptr<BlockPool> outside_;
};

/// A counted reference to a block, which goes back to where it came from; empty for memory that
/// somebody else owns. The count lies on the host.
class Storage {
 public:
  Storage() = default;
  explicit Storage(std::size_t bytes) : owner_(sizeof(Owned)) {
    new (owner_.data()) Owned{block_pool()->allocate(bytes), block_pool()};
  }
  Storage(const Storage&) = default;
  Storage(Storage&&) noexcept = default;
  Storage& operator=(Storage other) noexcept {
    std::swap(owner_, other.owner_);
    return *this;
  }
  ~Storage() {
    if (!owner_.unique()) return;
    owned()->pool->release(owned()->block);
    owned()->~Owned();
  }

  [[nodiscard]] void* data() const { return owner_.data() ? owned()->block.memory : nullptr; }
  [[nodiscard]] bool unique() const { return owner_.unique(); }

 private:
  struct Owned {
    BlockPool::Block block;
    std::shared_ptr<BlockPool> pool;
  };
  [[nodiscard]] Owned* owned() const { return static_cast<Owned*>(owner_.data()); }

  meanflow::detail::Storage owner_;
};

}  // namespace meanflow::kernels::cuda
