// SPDX-License-Identifier: MIT
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/tensor/tensor.hpp>

using namespace meanflow;
using detail::MemoryPool;

TEST_CASE("size classes hold what they are asked for, with at most a quarter of waste") {
  std::size_t previous = 0;
  for (std::size_t bytes = 0; bytes < 100'000; bytes += 7) {
    const std::size_t size_class = MemoryPool::class_of(bytes);
    const std::size_t held = MemoryPool::bytes_of(size_class);
    REQUIRE(held >= bytes);
    REQUIRE(held % 64 == 0);
    REQUIRE(size_class >= previous);
    if (bytes > 256) REQUIRE(held <= bytes + bytes / 4 + 64);
    REQUIRE(MemoryPool::class_of(held) == size_class);
    previous = size_class;
  }
  for (std::size_t power = 9; power < 40; ++power)
    CHECK(MemoryPool::bytes_of(MemoryPool::class_of(std::size_t{1} << power)) == std::size_t{1}
                                                                                     << power);
}

TEST_CASE("memory is reused, last in first out, and lies at cache lines") {
  float* first = nullptr;
  {
    Tensor<float> x({1000});
    first = x.data();
    CHECK(reinterpret_cast<std::uintptr_t>(first) % 64 == 0);
  }
  const Tensor<float> y({990});
  CHECK(y.data() == first);
}

TEST_CASE("blocks that hold a huge page begin at one, behind their header") {
  for (const std::size_t bytes :
       {detail::huge_page, detail::huge_page + 1, std::size_t{9'000'000}}) {
    const Tensor<float> x({bytes / sizeof(float)});
    CHECK(reinterpret_cast<std::uintptr_t>(x.data()) % detail::huge_page ==
          detail::Block::header_bytes);
  }
}

TEST_CASE("repeating work asks the system for nothing") {
  const auto work = [] {
    std::vector<Tensor<double>> kept;
    for (std::size_t i = 1; i < 50; ++i) kept.emplace_back(Shape{i, 100});
    for (std::size_t i = 1; i < 50; ++i) kept.push_back(kept[i - 1].clone());
  };
  work();
  const auto before = memory_statistics();
  for (int i = 0; i < 100; ++i) work();
  CHECK(memory_statistics().system_allocations == before.system_allocations);
  CHECK(memory_statistics().system_bytes == before.system_bytes);
}

TEST_CASE("memory may be released by another thread, and does not pile up there") {
  const auto pass_on = [] {
    for (int round = 0; round < 200; ++round) {
      Tensor<float> x({5000});
      x[0] = 1;
      std::thread([owned = std::move(x)]() mutable { owned = Tensor<float>(); }).join();
    }
  };
  pass_on();
  const auto before = memory_statistics();
  pass_on();
  CHECK(memory_statistics().system_allocations == before.system_allocations);
}

TEST_CASE("threads share and release the same memory") {
  const Tensor<float> x = Tensor<float>::full({1000}, 3);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([x] {
      for (int k = 0; k < 1000; ++k) {
        const Tensor<float> copy = x;
        const Tensor<float> part = copy.rows(10, 20);
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(x.unique());
  CHECK(x[999] == 3);
}

TEST_CASE("unique tells whether anybody else sees the memory") {
  Tensor<float> x({4});
  CHECK(x.unique());
  {
    const auto view = x.rows(1, 2);
    CHECK_FALSE(x.unique());
  }
  CHECK(x.unique());
  float own[4];
  CHECK_FALSE(Tensor<float>::borrow(own, {4}).unique());
  CHECK_FALSE(Tensor<float>().unique());
  const auto moved = std::move(x);
  CHECK(moved.unique());
}
