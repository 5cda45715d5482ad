// SPDX-License-Identifier: MIT
/// \file
/// Dropout. `kernels/random.hpp` says what it computes. A thread draws the four words of a block,
/// which decide about the four neighbouring elements that it takes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <meanflow/kernels/cuda/lanes.hpp>
#include <meanflow/kernels/cuda/shapes.hpp>
#include <meanflow/kernels/cuda/tag.hpp>
#include <meanflow/kernels/random.hpp>

namespace meanflow::kernels {

namespace cuda {

template <class T>
struct DropElements {
  std::size_t to_tangent, tangent_rows;
  kernels::detail::DropoutFactor<T> factor_of;
  std::uint64_t seed;
  const std::uint64_t *step, *numbers;
  std::uint32_t first_block;
  const T* x;
  T* y;

  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At column) const {
    const auto factor = factor_at(row, column);
    at.store(y, factor * at.load(x));
    if (row < tangent_rows) at.store(y + to_tangent, factor * at.load(x + to_tangent));
  }

 private:
  /// Of four elements, or of the one of four that is asked for.
  template <class At>
  [[nodiscard]] MEANFLOW_HOST_DEVICE auto factor_at(std::size_t row, At column) const {
    RandomStream stream(seed, Purpose::dropout, *step, numbers[row]);
    stream.seek(first_block + static_cast<std::uint32_t>(column.index / lanes));
    Lanes<T, lanes> four;
    for (std::size_t k = 0; k < lanes; ++k) four.of[k] = factor_of(stream.bits());
    if constexpr (std::is_same_v<At, Four>) {
      return four;
    } else {
      T one = four.of[0];
      for (std::size_t k = 1; k < lanes; ++k)
        if (column.index % lanes == k) one = four.of[k];
      return one;
    }
  }
};

}  // namespace cuda

template <class T>
void dropout(Cuda device, std::size_t rows, std::size_t tangent_rows, std::size_t columns,
             double rate, std::uint64_t seed, const std::uint64_t* step,
             const std::uint64_t* numbers, std::uint32_t block, const T* x, T* y) {
  for_each_in_rows(
      device, rows, columns,
      cuda::DropElements<T>{rows * columns, tangent_rows, detail::DropoutFactor<T>(rate), seed,
                            step, numbers, block, x, y});
}

}  // namespace meanflow::kernels
