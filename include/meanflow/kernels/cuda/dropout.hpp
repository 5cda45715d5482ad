// SPDX-License-Identifier: MIT
/// \file
/// Dropout. `kernels/random.hpp` says what it computes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <meanflow/kernels/cuda/divisor.hpp>
#include <meanflow/kernels/cuda/lanes.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/cuda/tag.hpp>
#include <meanflow/kernels/random.hpp>

namespace meanflow::kernels {

namespace cuda {

/// Four neighbouring elements of a row, or as many as its end leaves, and their tangents: the four
/// words of one block decide about them.
template <class T>
struct DropFour {
  Divisor by_fours;  // of a row
  std::size_t columns, first_row, to_tangent, tangent_rows;
  kernels::detail::DropoutFactor<T> factor_of;
  std::uint64_t seed;
  const std::uint64_t *step, *numbers;
  std::uint32_t first_block;
  const T* x;
  T* y;

  MEANFLOW_HOST_DEVICE void operator()(std::uint32_t i) const {
    const std::uint32_t of_part = i / by_fours, four = i % by_fours;
    const std::size_t row = first_row + of_part, column = lanes * std::size_t{four};
    RandomStream stream(seed, Purpose::dropout, *step, numbers[row]);
    stream.seek(first_block + four);
    Lanes<T, lanes> factor;
    for (std::size_t k = 0; k < lanes; ++k) factor.of[k] = factor_of(stream.bits());
    const std::size_t at = of_part * columns + column;
    multiply(factor, column, at);
    if (row < tangent_rows) multiply(factor, column, to_tangent + at);
  }

 private:
  MEANFLOW_HOST_DEVICE void multiply(const Lanes<T, lanes>& factor, std::size_t column,
                                     std::size_t at) const {
    if (columns % lanes == 0) {
      store_lanes(y + at, factor * load_lanes<lanes>(x + at));
    } else {
      for (std::size_t k = 0; k < lanes; ++k)
        if (column + k < columns) y[at + k] = factor.of[k] * x[at + k];
    }
  }
};

}  // namespace cuda

template <class T>
void dropout(Cuda, std::size_t rows, std::size_t tangent_rows, std::size_t columns, double rate,
             std::uint64_t seed, const std::uint64_t* step, const std::uint64_t* numbers,
             std::uint32_t block, const T* x, T* y) {
  const std::size_t fours = cuda::fours(columns);
  cuda::for_each_launch(fours == 0 ? 0 : rows, fours, [&](std::size_t first, std::size_t count) {
    const std::size_t end = first + count;
    const std::size_t tangents = std::min(end, tangent_rows) - std::min(first, tangent_rows);
    cuda::for_each_item(
        count * fours, count * columns, 2 * (count + tangents) * columns * sizeof(T),
        cuda::DropFour<T>{cuda::Divisor(fours), columns, first, rows * columns, tangent_rows,
                          detail::DropoutFactor<T>(rate), seed, step, numbers, block,
                          x + first * columns, y + first * columns});
  });
}

}  // namespace meanflow::kernels
