// SPDX-License-Identifier: MIT
/// \file
/// The shapes of work (`kernels/element.hpp`) on the processor: SIMD batches, and all threads where
/// there is enough to do.
#pragma once

#include <algorithm>
#include <cstddef>

#include <meanflow/kernels/cpu/simd.hpp>
#include <meanflow/kernels/cpu/threads.hpp>
#include <meanflow/kernels/element.hpp>

namespace meanflow::kernels {

namespace detail {

/// Rows of so many columns that are worth waking another thread for.
[[nodiscard]] inline std::size_t rows_grain(std::size_t columns) {
  return std::max<std::size_t>(1, parallel_grain / (columns + 1));
}

}  // namespace detail

/// What a body does for an index may be anything, so a few hundred are worth a thread.
template <class Body>
void for_each_index(Cpu, std::size_t n, const Body& body) {
  parallel_for(Cpu{}, n, 512, [&](std::size_t first, std::size_t last) {
    const Body local = body;
    for (std::size_t i = first; i < last; ++i) local(i);
  });
}

template <class Body>
void for_each(Cpu, std::size_t n, const Body& body) {
  using T = typename Body::value_type;
  parallel_for(Cpu{}, n, detail::parallel_grain, [&body](std::size_t first, std::size_t last) {
    const Body local = body;  // so that its members stay in registers
    detail::for_each_position<T>(first, last, local);
  });
}

template <class Body>
void for_each_of_two(Cpu, std::size_t first, std::size_t second, const Body& body) {
  using T = typename Body::value_type;
  parallel_for(
      Cpu{}, first + second, detail::parallel_grain,
      [&body, first](std::size_t begin, std::size_t end) {
        const Body local = body;
        const std::size_t middle = std::clamp(first, begin, end);
        detail::for_each_position<T>(begin, middle, [&](auto at) { local(at, FirstPart{}); });
        detail::for_each_position<T>(middle, end, [&](auto at) { local(at, SecondPart{}); });
      });
}

namespace detail {

/// f(place in the matrix, place in the row) for every batch of row r.
template <class T, class F>
inline void for_each_in_row(std::size_t r, std::size_t columns, const F& f) {
  for_each_position<T>(0, columns, [&](auto column) {
    auto at = column;
    at.index += r * columns;
    f(at, column);
  });
}

}  // namespace detail

template <class Body>
void for_each_in_rows(Cpu, std::size_t rows, std::size_t columns, const Body& body) {
  using T = typename Body::value_type;
  parallel_for(Cpu{}, rows, detail::rows_grain(columns),
               [&body, columns](std::size_t first, std::size_t last) {
                 for (std::size_t r = first; r < last; ++r) {
                   const auto row = meanflow::detail::row_of(body, r);
                   detail::for_each_in_row<T>(r, columns, row);
                 }
               });
}

template <class Body>
void reduce_rows(Cpu, std::size_t rows, std::size_t columns, const Body& body) {
  using T = typename Body::value_type;
  using Batch = xsimd::batch<T>;
  parallel_for(Cpu{}, rows, detail::rows_grain(columns),
               [&body, columns](std::size_t first, std::size_t last) {
                 for (std::size_t r = first; r < last; ++r) {
                   const auto row = meanflow::detail::row_of(body, r);
                   Sums<Batch, Body::sums> sum;
                   std::fill_n(sum.of, Body::sums, Batch(T(0)));
                   detail::for_each_in_row<T>(
                       r, columns, [&](auto at, auto column) { sum = sum + row.term(at, column); });
                   Sums<T, Body::sums> total;
                   for (std::size_t k = 0; k < Body::sums; ++k)
                     total.of[k] = xsimd::hadd(sum.of[k]);
                   row.finish(total);
                 }
               });
}

/// Columns are split among the threads, not rows: every sum stays with one of them, and its order
/// is fixed. A few vectors of columns are summed at a time, so that memory is read in stretches.
template <class Body>
void reduce_columns(Cpu, std::size_t rows, std::size_t columns, const Body& body) {
  using T = typename Body::value_type;
  using Batch = xsimd::batch<T>;
  constexpr std::size_t width = Batch::size, together = 4;
  const std::size_t grain = std::max<std::size_t>(width, detail::parallel_grain / (rows + 1));
  parallel_for(Cpu{}, columns, grain, [&body, rows, columns](std::size_t first, std::size_t last) {
    const Body local = body;
    std::size_t c = first;
    for (; c + together * width <= last; c += together * width) {
      using Full = detail::Position<detail::FullLanes<T>>;
      Batch sums[together] = {Batch(T(0)), Batch(T(0)), Batch(T(0)), Batch(T(0))};
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t k = 0; k < together; ++k)
          sums[k] += local.term(Full{{}, r * columns + c + k * width});
      for (std::size_t k = 0; k < together; ++k) local.finish(Full{{}, c + k * width}, sums[k]);
    }
    detail::for_each_position<T>(c, last, [&](auto column) {
      Batch sum(T(0));
      for (std::size_t r = 0; r < rows; ++r) {
        auto at = column;
        at.index += r * columns;
        sum += local.term(at);
      }
      local.finish(column, sum);
    });
  });
}

}  // namespace meanflow::kernels
