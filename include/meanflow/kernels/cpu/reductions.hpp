// SPDX-License-Identifier: MIT
/// \file
/// Sums over rows and what is made of them: SIMD along rows, which the threads share.
#pragma once

#include <algorithm>
#include <cstddef>

#include <meanflow/kernels/cpu/shapes.hpp>
#include <meanflow/kernels/cpu/simd.hpp>
#include <meanflow/kernels/cpu/threads.hpp>

namespace meanflow::kernels {

template <class T>
[[nodiscard]] double squared_norm(Cpu, std::size_t n, const T* x) {
  // Blocks of fixed size, each summed in T and added in double: the same sum for any thread count.
  constexpr std::size_t block = 4096;
  double sum = 0;
  for (std::size_t first = 0; first < n; first += block)
    sum += static_cast<double>(detail::sum_of_batches<T>(
        first, std::min(n, first + block), [=](auto lanes, std::size_t i) {
          const xsimd::batch<T> value = lanes.load(x + i);
          return value * value;
        }));
  return sum;
}

template <class T>
void squared_norm(Cpu, std::size_t n, const T* x, double* to) {
  *to = squared_norm(Cpu{}, n, x);
}

template <class T>
void softmax(Cpu, std::size_t rows, std::size_t columns, const T* x, T* y) {
  const std::size_t grain = detail::rows_grain(columns);
  parallel_for(Cpu{}, rows, grain, [=](std::size_t first, std::size_t last) {
    for (std::size_t r = first; r < last; ++r) {
      const T* in = x + r * columns;
      T* out = y + r * columns;
      const T largest = *std::max_element(in, in + columns);
      detail::for_each_batch<T>(0, columns, [=](auto lanes, std::size_t c) {
        lanes.store(out + c, xsimd::exp(lanes.load(in + c) - xsimd::batch<T>(largest)));
      });
      const T sum = detail::sum_of_batches<T>(
          0, columns, [=](auto lanes, std::size_t c) { return lanes.load(out + c); });
      detail::for_each_batch<T>(0, columns, [=](auto lanes, std::size_t c) {
        lanes.store(out + c, lanes.load(out + c) / xsimd::batch<T>(sum));
      });
    }
  });
}

template <class T>
void softmax_jacobian(Cpu, std::size_t rows, std::size_t columns, const T* y, const T* v, T* z) {
  const std::size_t grain = detail::rows_grain(columns);
  parallel_for(Cpu{}, rows, grain, [=](std::size_t first, std::size_t last) {
    for (std::size_t r = first; r < last; ++r) {
      const T *p = y + r * columns, *q = v + r * columns;
      const T dot = detail::sum_of_batches<T>(0, columns, [=](auto lanes, std::size_t c) {
        return lanes.load(p + c) * lanes.load(q + c);
      });
      detail::for_each_batch<T>(0, columns, [=](auto lanes, std::size_t c) {
        lanes.store(z + r * columns + c,
                    lanes.load(p + c) * (lanes.load(q + c) - xsimd::batch<T>(dot)));
      });
    }
  });
}

}  // namespace meanflow::kernels
