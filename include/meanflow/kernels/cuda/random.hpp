// SPDX-License-Identifier: MIT
/// \file
/// Random numbers and dropout. `kernels/reference.hpp` says what each computes.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include <meanflow/kernels/cuda/elementwise.hpp>
#include <meanflow/random/philox.hpp>

namespace meanflow::kernels {

// ------------------------------------------------------------------------ random numbers

// A step is a number or the place on the device where it lies: work that is recorded and replayed
// has to look it up.

namespace cuda {

[[nodiscard]] MEANFLOW_HOST_DEVICE inline std::uint64_t number(std::uint64_t step) { return step; }
[[nodiscard]] MEANFLOW_HOST_DEVICE inline std::uint64_t number(const std::uint64_t* step) {
  return *step;
}

}  // namespace cuda

// A thread takes what one block of four words gives: four numbers of float, or two of double.
template <class Step, class T>
void fill_normal_rows(Cuda, std::uint64_t seed, Purpose purpose, Step step, std::size_t first_row,
                      std::size_t rows, std::size_t columns, T* y) {
  constexpr std::size_t each = 16 / sizeof(T);
  const std::size_t blocks = (columns + each - 1) / each;
  cuda::for_each_index(rows * blocks, [=] MEANFLOW_HOST_DEVICE(std::size_t index) {
    const std::size_t r = index / blocks, block = index % blocks;
    RandomStream stream(seed, purpose, cuda::number(step), first_row + r);
    stream.seek(static_cast<std::uint32_t>(block));
    const std::size_t first = block * each;
    const std::size_t last = first + each < columns ? first + each : columns;
    for (std::size_t c = first; c < last; ++c) y[r * columns + c] = stream.template normal<T>();
  });
}

template <class T>
void dropout(Cuda, std::size_t rows, std::size_t tangent_rows, std::size_t columns, double rate,
             std::uint64_t seed, const std::uint64_t* step, const std::uint64_t* numbers,
             std::uint32_t block, const T* x, T* y) {
  constexpr std::size_t each = 4;
  const std::size_t blocks = (columns + each - 1) / each;
  const double threshold = rate * 4294967296.0;  // 2^32
  const T scale = T(1 / (1 - rate));
  cuda::for_each_index(rows * blocks, [=] MEANFLOW_HOST_DEVICE(std::size_t index) {
    const std::size_t r = index / blocks, part = index % blocks;
    RandomStream stream(seed, Purpose::dropout, *step, numbers[r]);
    stream.seek(block + static_cast<std::uint32_t>(part));
    const std::size_t first = part * each;
    const std::size_t last = first + each < columns ? first + each : columns;
    for (std::size_t c = first; c < last; ++c) {
      const T factor = static_cast<double>(stream.bits()) < threshold ? T(0) : scale;
      y[r * columns + c] = factor * x[r * columns + c];
      const std::size_t tangent = (rows + r) * columns + c;
      if (r < tangent_rows) y[tangent] = factor * x[tangent];
    }
  });
}

}  // namespace meanflow::kernels
