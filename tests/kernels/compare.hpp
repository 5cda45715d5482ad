// SPDX-License-Identifier: MIT
/// \file
/// Kernels of the processor next to the plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <doctest/doctest.h>
#include <omp.h>

#include <meanflow/kernels/cpu.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/random/philox.hpp>

namespace meanflow::test {

/// Sizes around the width of a batch; the last one is large enough for the threads.
inline const std::vector<std::size_t> sizes{0, 1, 3, 15, 16, 17, 1000, 70001};

template <class T>
using Numbers = std::vector<T>;

template <class T>
Numbers<T> numbers(std::size_t n, std::uint64_t seed, T low = -1, T high = 1) {
  Numbers<T> x(n);
  fill_uniform<T>(x, low, high, RandomStream(seed, Purpose::user));
  return x;
}

/// Largest difference in units of T's precision at the larger of 1 and the expected value.
template <class T>
double error_in_ulps(const Numbers<T>& found, const Numbers<T>& expected) {
  if (found.size() != expected.size()) return INFINITY;
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double a = static_cast<double>(found[i]), b = static_cast<double>(expected[i]);
    const double d = std::abs(a - b) / std::max(1.0, std::abs(b));
    worst = std::isnan(d) ? INFINITY : std::max(worst, d);
  }
  return worst / static_cast<double>(std::numeric_limits<T>::epsilon());
}

/// Three threads while in scope, whatever the machine has.
class Threads {
 public:
  explicit Threads(int count = 3) : saved_(omp_get_max_threads()) { omp_set_num_threads(count); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  ~Threads() { omp_set_num_threads(saved_); }

 private:
  int saved_;
};

/// Runs f(device) on the processor, alone and inside a parallel region, and with plain loops, each
/// on its own copy of `state`, and compares what became of it. Alone and inside, it is the same bit
/// for bit, unless `exact` is false: a BLAS rounds differently on several threads.
template <class T, class F>
void expect_same(const F& f, const Numbers<T>& state, double ulps = 4, bool exact = true) {
  const Threads threads;
  Numbers<T> expected = state, found = state, inside = state;
  f(Reference{}, expected);
  f(Cpu{}, found);
  CHECK(error_in_ulps(found, expected) <= ulps);
  kernels::parallel_tasks(Cpu{}, 2, [&](std::size_t task, std::size_t) {
    if (task == 1) f(Cpu{}, inside);
  });
  CHECK(error_in_ulps(inside, expected) <= ulps);
  if (exact) CHECK(inside == found);
}

}  // namespace meanflow::test
