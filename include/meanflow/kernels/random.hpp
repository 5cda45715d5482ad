// SPDX-License-Identifier: MIT
/// \file
/// Random numbers and dropout of every device. A stream is made of blocks of four words, from any
/// of which it can be read. The number of a step is given, or the place where a device finds it:
/// work that is recorded and replayed has to look it up.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include <meanflow/config.hpp>
#include <meanflow/kernels/element.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/tensor/device.hpp>

namespace meanflow::kernels {

namespace detail {

[[nodiscard]] MEANFLOW_HOST_DEVICE inline std::uint64_t step_number(std::uint64_t step) {
  return step;
}
[[nodiscard]] MEANFLOW_HOST_DEVICE inline std::uint64_t step_number(const std::uint64_t* step) {
  return *step;
}

/// How rows of `columns` numbers are cut into parts that are drawn by themselves, each from the
/// block of the stream where it begins: on a GPU a block each, on the host enough for a stream to
/// pay.
class RowParts {
 public:
  RowParts(std::size_t columns, std::size_t numbers_of_a_block, bool on_host)
      : columns_(columns),
        blocks_(on_host ? 64 : 1),
        numbers_(blocks_ * numbers_of_a_block),
        count_((columns + numbers_ - 1) / numbers_) {}

  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t count() const { return count_; }
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::uint32_t block(std::size_t part) const {
    return static_cast<std::uint32_t>(part * blocks_);
  }
  /// f(column) for the columns of a part.
  template <class F>
  MEANFLOW_HOST_DEVICE void for_each_column(std::size_t part, F f) const {
    const std::size_t first = part * numbers_;
    const std::size_t last = first + numbers_ < columns_ ? first + numbers_ : columns_;
    for (std::size_t c = first; c < last; ++c) f(c);
  }

 private:
  std::size_t columns_, blocks_, numbers_, count_;
};

template <class Step, class T>
struct FillNormalRows {
  static constexpr std::size_t numbers_of_a_block = 16 / sizeof(T);
  std::uint64_t seed;
  Purpose purpose;
  Step step;
  std::size_t first_row, columns;
  RowParts parts;
  T* y;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t index) const {
    const std::size_t r = index / parts.count(), part = index % parts.count();
    RandomStream stream(seed, purpose, step_number(step), first_row + r);
    stream.seek(parts.block(part));
    T* const row = y + r * columns;
    parts.for_each_column(part, [&](std::size_t c) { row[c] = stream.template normal<T>(); });
  }
};

/// What a word of random bits multiplies an element by: 0 with probability `rate`, otherwise
/// 1 / (1 - rate).
template <class T>
struct DropoutFactor {
  std::uint64_t first_kept;
  T scale;

  explicit DropoutFactor(double rate)
      : first_kept(static_cast<std::uint64_t>(std::ceil(rate * 4294967296.0))),
        scale(T(1 / (1 - rate))) {}

  [[nodiscard]] MEANFLOW_HOST_DEVICE T operator()(std::uint32_t word) const {
    return word < first_kept ? T(0) : scale;
  }
};

template <class T>
struct Dropout {
  static constexpr std::size_t numbers_of_a_block = 4;
  std::size_t to_tangent, tangent_rows, columns;
  RowParts parts;
  DropoutFactor<T> factor_of;
  std::uint64_t seed;
  const std::uint64_t *step, *numbers;
  std::uint32_t first_block;
  const T* x;
  T* y;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t index) const {
    const std::size_t r = index / parts.count(), part = index % parts.count();
    RandomStream stream(seed, Purpose::dropout, *step, numbers[r]);
    stream.seek(first_block + parts.block(part));
    const bool has_tangent = r < tangent_rows;
    parts.for_each_column(part, [&](std::size_t c) {
      const T factor = factor_of(stream.bits());
      const std::size_t at = r * columns + c;
      y[at] = factor * x[at];
      if (has_tangent) y[to_tangent + at] = factor * x[to_tangent + at];
    });
  }
};

}  // namespace detail

/// y (rows, columns) = standard normal numbers; row r is drawn at (step, first_row + r).
template <class Device, class Step, class T>
void fill_normal_rows(Device device, std::uint64_t seed, Purpose purpose, Step step,
                      std::size_t first_row, std::size_t rows, std::size_t columns, T* y) {
  using Body = detail::FillNormalRows<Step, T>;
  const detail::RowParts parts(columns, Body::numbers_of_a_block, on_host<Device>);
  for_each_index(device, rows * parts.count(),
                 Body{seed, purpose, step, first_row, columns, parts, y});
}

/// y[r] = x[r] m / (1 - rate), with m = 0 or 1 for each element: word 4 * block + c of the stream
/// (seed, dropout, *step, numbers[r]) decides about column c, dropping with probability `rate`.
/// Rows from `rows` on are tangents of the first ones and share their masks. y may be x.
template <class Device, class T>
void dropout(Device device, std::size_t rows, std::size_t tangent_rows, std::size_t columns,
             double rate, std::uint64_t seed, const std::uint64_t* step,
             const std::uint64_t* numbers, std::uint32_t block, const T* x, T* y) {
  using Body = detail::Dropout<T>;
  const detail::RowParts parts(columns, Body::numbers_of_a_block, on_host<Device>);
  for_each_index(device, rows * parts.count(),
                 Body{rows * columns, tangent_rows, columns, parts, detail::DropoutFactor<T>(rate),
                      seed, step, numbers, block, x, y});
}

}  // namespace meanflow::kernels
