// SPDX-License-Identifier: MIT
// A step allocates nothing once its memory has been found: neither from the heap nor for tensors.
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

#include <doctest/doctest.h>
#include <omp.h>

#include <meanflow/kernels/cpu.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

namespace {

std::atomic<std::size_t> heap_allocations = 0;

void* counted(std::size_t bytes, std::size_t alignment) {
  heap_allocations.fetch_add(1);
  void* memory =
      alignment > alignof(std::max_align_t)
          ? std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment)
          : std::malloc(bytes);
  if (!memory) throw std::bad_alloc();
  return memory;
}

}  // namespace

// Not inlined, since GCC would then warn of a new that ends in free.
[[gnu::noinline]] void* operator new(std::size_t bytes) { return counted(bytes, 0); }
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  heap_allocations.fetch_add(1);
  return std::malloc(bytes);
}
[[gnu::noinline]] void operator delete(void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace {

template <class Trainer>
void expect_no_allocation(Trainer trainer) {
  using T = typename Trainer::T;
  Tensor<T> x({trainer.settings().batch, 2});
  const auto train = [&](std::uint64_t steps) {
    for (std::uint64_t i = 0; i < steps; ++i) {
      fill_normal_rows(Cpu{}, 1, Purpose::data, trainer.steps_done(), 0, x.rows(), 2, x.data());
      trainer.step(x);
    }
  };
  train(5);
  const std::size_t heap = heap_allocations.load();
  const MemoryStatistics before = memory_statistics();
  train(20);
  CHECK(heap_allocations.load() - heap == 0);
  CHECK(memory_statistics().system_allocations - before.system_allocations == 0);
  CHECK(memory_statistics().system_bytes == before.system_bytes);
}

template <class T = float>
Mlp<T> make_net() {
  return Mlp<T>({.hidden = 64,
                 .layers = 3,
                 .time = {.inputs = TimeInputs::t_r_h, .encoding = TimeEncoding::sinusoidal}});
}

}  // namespace

TEST_CASE("heap allocations are seen") {
  const std::size_t before = heap_allocations.load();
  void* const volatile memory = ::operator new(8);
  ::operator delete(memory);
  CHECK(heap_allocations.load() > before);
}

TEST_CASE("a step of MeanFlow allocates nothing") {
  expect_no_allocation(MeanFlowTrainer(make_net(), {.batch = 512, .clip_norm = 1}));
}

TEST_CASE("a step in one tile, with kernels on all cores, allocates nothing") {
  // In double: for a product of floats on several threads oneDNN itself asks the heap.
  expect_no_allocation(MeanFlowTrainer(make_net<double>(), {.batch = 512, .tile_rows = 512}));
}

TEST_CASE("a step allocates nothing on more threads than the machine may have") {
  const int threads = omp_get_max_threads();
  omp_set_num_threads(3);
  expect_no_allocation(MeanFlowTrainer(make_net(), {.batch = 500, .tile_rows = 30}));
  omp_set_num_threads(threads);
}

TEST_CASE("a step of flow matching and of improved Mean Flows allocates nothing") {
  expect_no_allocation(MeanFlowTrainer(make_net(), {.batch = 300}, Recipe<FlowMatching>{}));
  expect_no_allocation(
      MeanFlowTrainer(make_net(), {.batch = 300}, Recipe<ImprovedMeanFlow, AdaptiveWeighting>{}));
}
