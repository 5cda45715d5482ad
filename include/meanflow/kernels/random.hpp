// SPDX-License-Identifier: MIT
/// \file
/// Random numbers and dropout of every device. Work is dealt out by blocks of four words of the
/// stream: a thread takes what one of them gives. The number of a step is given, or the place where
/// a device finds it: work that is recorded and replayed has to look it up.
#pragma once

#include <cstddef>
#include <cstdint>

#include <meanflow/config.hpp>
#include <meanflow/kernels/element.hpp>
#include <meanflow/random/philox.hpp>

namespace meanflow::kernels {

namespace detail {

[[nodiscard]] MEANFLOW_HOST_DEVICE inline std::uint64_t step_number(std::uint64_t step) {
  return step;
}
[[nodiscard]] MEANFLOW_HOST_DEVICE inline std::uint64_t step_number(const std::uint64_t* step) {
  return *step;
}

/// f(column) for the columns of block number `block`, of `each` columns.
template <class F>
MEANFLOW_HOST_DEVICE void for_each_column(std::size_t block, std::size_t each, std::size_t columns,
                                          F f) {
  const std::size_t first = block * each;
  const std::size_t last = first + each < columns ? first + each : columns;
  for (std::size_t c = first; c < last; ++c) f(c);
}

template <class Step, class T>
struct FillNormalRows {
  static constexpr std::size_t each = 16 / sizeof(T);  // four numbers of float, or two of double
  std::uint64_t seed;
  Purpose purpose;
  Step step;
  std::size_t first_row, columns, blocks;
  T* y;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t index) const {
    const std::size_t r = index / blocks, block = index % blocks;
    RandomStream stream(seed, purpose, step_number(step), first_row + r);
    stream.seek(static_cast<std::uint32_t>(block));
    T* const row = y + r * columns;
    for_each_column(block, each, columns,
                    [&](std::size_t c) { row[c] = stream.template normal<T>(); });
  }
};

template <class T>
struct Dropout {
  static constexpr std::size_t each = 4;
  std::size_t rows, tangent_rows, columns, blocks;
  double threshold;
  T scale;
  std::uint64_t seed;
  const std::uint64_t *step, *numbers;
  std::uint32_t first_block;
  const T* x;
  T* y;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t index) const {
    const std::size_t r = index / blocks, block = index % blocks;
    RandomStream stream(seed, Purpose::dropout, *step, numbers[r]);
    stream.seek(first_block + static_cast<std::uint32_t>(block));
    for_each_column(block, each, columns, [&](std::size_t c) {
      const T factor = static_cast<double>(stream.bits()) < threshold ? T(0) : scale;
      y[r * columns + c] = factor * x[r * columns + c];
      const std::size_t tangent = (rows + r) * columns + c;
      if (r < tangent_rows) y[tangent] = factor * x[tangent];
    });
  }
};

}  // namespace detail

/// y (rows, columns) = standard normal numbers; row r is drawn at (step, first_row + r).
template <class Device, class Step, class T>
void fill_normal_rows(Device device, std::uint64_t seed, Purpose purpose, Step step,
                      std::size_t first_row, std::size_t rows, std::size_t columns, T* y) {
  using Body = detail::FillNormalRows<Step, T>;
  const std::size_t blocks = (columns + Body::each - 1) / Body::each;
  for_each_index(device, rows * blocks, Body{seed, purpose, step, first_row, columns, blocks, y});
}

/// y[r] = x[r] m / (1 - rate), with m = 0 or 1 for each element: word 4 * block + c of the stream
/// (seed, dropout, *step, numbers[r]) decides about column c, dropping with probability `rate`.
/// Rows from `rows` on are tangents of the first ones and share their masks. y may be x.
template <class Device, class T>
void dropout(Device device, std::size_t rows, std::size_t tangent_rows, std::size_t columns,
             double rate, std::uint64_t seed, const std::uint64_t* step,
             const std::uint64_t* numbers, std::uint32_t block, const T* x, T* y) {
  using Body = detail::Dropout<T>;
  const std::size_t blocks = (columns + Body::each - 1) / Body::each;
  for_each_index(device, rows * blocks,
                 Body{rows, tangent_rows, columns, blocks, rate * 4294967296.0, T(1 / (1 - rate)),
                      seed, step, numbers, block, x, y});
}

}  // namespace meanflow::kernels
