// SPDX-License-Identifier: MIT
/// \file
/// How work is shared among the processor's threads.
///
/// Called inside a parallel region (`parallel_tasks`) a kernel keeps to its own thread; called
/// outside it splits large work among all threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>

#include <omp.h>

#include <meanflow/kernels/convolution_algorithm.hpp>
#include <meanflow/kernels/precision.hpp>
#include <meanflow/tensor/device.hpp>

namespace meanflow::kernels {

namespace detail {

/// Keeps the first exception thrown in a parallel region, to rethrow it outside.
class FirstException {
 public:
  template <class F>
  void run(F&& f) {
    try {
      f();
    } catch (...) {
#pragma omp critical(meanflow_first_exception)
      if (!first_) first_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::exception_ptr first_;
};

/// Element-wise work below this many elements is not worth waking the other threads for.
inline constexpr std::size_t parallel_grain = 1 << 15;

}  // namespace detail

inline void wait(Cpu) {}
[[nodiscard]] inline int spare_memory(Cpu, double /*share*/) { return 0; }

[[nodiscard]] inline std::size_t workers(Cpu) {
  return omp_in_parallel() ? 1 : static_cast<std::size_t>(omp_get_max_threads());
}

/// Tiles of about `tile_rows` rows, as many for each core: activations of small nets stay in a
/// core's own cache through all layers, and cores wait for each other once a step, not once a
/// kernel. Where a gradient per core would cost more memory than that is worth: one tile, and the
/// kernels themselves use all cores.
[[nodiscard]] inline std::size_t row_tiles(Cpu, std::size_t rows, std::size_t parameters,
                                           std::size_t tile_rows = 128) {
  constexpr std::size_t most_numbers = std::size_t{1} << 27;  // in the gradients of all cores
  const std::size_t cores = workers(Cpu{});
  if (parameters > most_numbers / cores || rows <= 1) return 1;
  const std::size_t each = (rows + cores * tile_rows - 1) / (cores * tile_rows);
  return std::min(rows, each * cores);
}

namespace detail {

/// f(worker, count) on each of about `threads` threads, which compute in the caller's precision and
/// by its algorithms.
template <class F>
void on_threads(std::size_t threads, F f) {
  FirstException failure;
  const Precision precision_of_caller = kernels::precision();
  const ConvolutionAlgorithm algorithm_of_caller = kernels::convolution_algorithm();
#pragma omp parallel num_threads(static_cast<int>(threads))
  {
    const SamePrecision precision(precision_of_caller);
    const ConvolutionScope algorithm(algorithm_of_caller);
    const auto worker = static_cast<std::size_t>(omp_get_thread_num());
    const auto count = static_cast<std::size_t>(omp_get_num_threads());
    failure.run([&] { f(worker, count); });
  }
  failure.rethrow();
}

}  // namespace detail

template <class F>
void parallel_for(Cpu, std::size_t n, std::size_t grain, F f) {
  const std::size_t threads = std::min(workers(Cpu{}), n / std::max<std::size_t>(grain, 1));
  if (threads <= 1) return f(std::size_t{0}, n);
  detail::on_threads(threads, [&](std::size_t worker, std::size_t count) {
    // Ranges begin at multiples of a cache line's worth of elements.
    const std::size_t unit = grain >= 16 ? 16 : 1;
    const auto border = [&](std::size_t i) { return i == count ? n : n * i / count / unit * unit; };
    f(border(worker), border(worker + 1));
  });
}

/// Tasks are dealt out to workers in contiguous runs, always the same way, so that sums kept per
/// worker do not change from run to run.
template <class F>
void parallel_tasks(Cpu, std::size_t tasks, F f) {
  const auto run = [&](std::size_t worker, std::size_t count) {
    for (std::size_t task = tasks * worker / count; task < tasks * (worker + 1) / count; ++task)
      f(task, worker);
  };
  const std::size_t threads = std::min(workers(Cpu{}), tasks);
  if (threads <= 1) return run(0, 1);
  detail::on_threads(threads, run);
}

}  // namespace meanflow::kernels
