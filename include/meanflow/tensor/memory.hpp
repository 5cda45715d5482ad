// SPDX-License-Identifier: MIT
/// \file
/// Memory for tensors. Blocks are kept and reused, so that a training step that repeats itself asks
/// the system for nothing after its first rounds: no growth, no page faults.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <string>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <meanflow/error.hpp>

namespace meanflow {

/// What the pool of a device has done so far.
struct MemoryStatistics {
  std::size_t system_allocations = 0;  ///< blocks requested from the system so far
  std::size_t system_bytes = 0;        ///< bytes held from the system, in use or free
};

namespace detail {

/// The header in front of every block of memory; the data follow at the next cache line.
struct Block {
  std::atomic<std::int64_t> references;
  std::size_t size_class;
  Block* next;

  static constexpr std::size_t header_bytes = 64;
  [[nodiscard]] void* data() { return reinterpret_cast<std::byte*>(this) + header_bytes; }
};

/// Bytes of a huge page. Blocks that hold one begin at one: with pages of 4 KB, kernels that go
/// along many rows at once would spend their time looking up addresses.
inline constexpr std::size_t huge_page = std::size_t{1} << 21;

/// Memory from the system, null if there is none.
[[nodiscard]] inline void* system_memory(std::size_t bytes) {
#if defined(__linux__)
  void* memory = nullptr;
  if (bytes >= huge_page && posix_memalign(&memory, huge_page, bytes) == 0) {
    madvise(memory, bytes, MADV_HUGEPAGE);  // a hint: without it all is as right
    return memory;
  }
#endif
  return std::aligned_alloc(64, bytes);
}

/// Free blocks by size class: 64 bytes times powers of two, in quarter steps (at most 25 % waste).
/// Each thread keeps its own free blocks, last in first out, since those are warm in its cache;
/// what it holds in excess goes to a list shared by all.
class MemoryPool {
 public:
  static Block* allocate(std::size_t bytes) {
    const std::size_t size_class = class_of(bytes);
    Cache& cache = thread_cache();
    Block* block = cache.lists[size_class].pop();
    if (!block) block = shared().pop(size_class);
    if (!block) block = from_system(size_class);
    block->references.store(1, std::memory_order_relaxed);
    return block;
  }

  static void release(Block* block) {
    Cache& cache = thread_cache();
    List& list = cache.lists[block->size_class];
    const std::size_t limit = block->size_class > class_of(1 << 24) ? 4 : 64;
    if (list.count < limit)
      list.push(block);
    else
      shared().push(block);
  }

  [[nodiscard]] static MemoryStatistics statistics() {
    return {shared().allocations.load(), shared().bytes.load()};
  }

  [[nodiscard]] static constexpr std::size_t class_of(std::size_t bytes) {
    const std::size_t lines =
        bytes <= 256 ? 4 : (bytes + 63) / 64;  // at least 4, so quarters exist
    const std::size_t power = static_cast<std::size_t>(std::bit_width(lines)) - 1;
    const std::size_t quarter = std::size_t{1} << (power - 2);
    const std::size_t step = (lines - (std::size_t{1} << power) + quarter - 1) / quarter;
    return power * 4 + step;
  }

  [[nodiscard]] static constexpr std::size_t bytes_of(std::size_t size_class) {
    const std::size_t power = size_class / 4;
    return 64 * ((std::size_t{1} << power) + (size_class % 4) * (std::size_t{1} << (power - 2)));
  }

 private:
  static constexpr std::size_t class_count = 4 * 52;

  struct List {
    Block* head = nullptr;
    std::size_t count = 0;

    void push(Block* block) {
      block->next = head;
      head = block;
      ++count;
    }
    Block* pop() {
      if (!head) return nullptr;
      --count;
      return std::exchange(head, head->next);
    }
  };

  struct Shared {
    std::mutex mutex;
    List lists[class_count];
    std::atomic<std::size_t> allocations = 0;
    std::atomic<std::size_t> bytes = 0;

    void push(Block* block) {
      const std::lock_guard lock(mutex);
      lists[block->size_class].push(block);
    }
    Block* pop(std::size_t size_class) {
      const std::lock_guard lock(mutex);
      return lists[size_class].pop();
    }
  };

  struct Cache {
    List lists[class_count];
    ~Cache() {
      for (List& list : lists)
        while (Block* block = list.pop()) shared().push(block);
    }
  };

  // Never destroyed: tensors with static storage may outlive it.
  static Shared& shared() {
    static Shared* pool = new Shared;
    return *pool;
  }

  static Cache& thread_cache() {
    thread_local Cache cache;
    return cache;
  }

  static Block* from_system(std::size_t size_class) {
    const std::size_t bytes = Block::header_bytes + bytes_of(size_class);
    void* memory = system_memory(bytes);
    if (!memory)
      throw OutOfMemoryError("out of memory: asked for " + std::to_string(bytes) +
                             " bytes; a smaller batch needs less");
    shared().allocations.fetch_add(1);
    shared().bytes.fetch_add(bytes);
    return new (memory) Block{.references = 1, .size_class = size_class, .next = nullptr};
  }
};

/// A counted reference to a block; empty for memory that somebody else owns.
class Storage {
 public:
  Storage() = default;
  explicit Storage(std::size_t bytes) : block_(MemoryPool::allocate(bytes)) {}
  Storage(const Storage& other) : block_(other.block_) {
    if (block_) block_->references.fetch_add(1, std::memory_order_relaxed);
  }
  Storage(Storage&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Storage& operator=(Storage other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Storage() {
    if (block_ && block_->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
      MemoryPool::release(block_);
  }

  [[nodiscard]] void* data() const { return block_ ? block_->data() : nullptr; }
  [[nodiscard]] bool unique() const {
    return block_ && block_->references.load(std::memory_order_acquire) == 1;
  }

 private:
  Block* block_ = nullptr;
};

}  // namespace detail

/// What this process's pool of host memory has done so far.
[[nodiscard]] inline MemoryStatistics memory_statistics() {
  return detail::MemoryPool::statistics();
}

}  // namespace meanflow
