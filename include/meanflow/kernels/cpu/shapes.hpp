// SPDX-License-Identifier: MIT
/// \file
/// The shapes of work (`kernels/element.hpp`) on the processor: SIMD batches, and all threads where
/// there is enough to do.
#pragma once

#include <algorithm>
#include <cstddef>

#include <meanflow/kernels/cpu/threads.hpp>
#include <meanflow/kernels/element.hpp>
#include <meanflow/kernels/simd.hpp>

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
    for (std::size_t i = first; i < last; ++i) body(i);
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
void for_each_in_rows(Cpu, std::size_t rows, std::size_t columns, const Body& body) {
  using T = typename Body::value_type;
  parallel_for(Cpu{}, rows, detail::rows_grain(columns),
               [&body, columns](std::size_t first, std::size_t last) {
                 for (std::size_t r = first; r < last; ++r) {
                   const auto row = body(r);
                   detail::for_each_position<T>(r * columns, (r + 1) * columns, row);
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
                   const auto row = body(r);
                   Sums<Batch, Body::sums> sum;
                   std::fill_n(sum.of, Body::sums, Batch(T(0)));
                   detail::for_each_position<T>(r * columns, (r + 1) * columns,
                                                [&](auto at) { sum = sum + row.term(at); });
                   Sums<T, Body::sums> total;
                   for (std::size_t k = 0; k < Body::sums; ++k)
                     total.of[k] = xsimd::hadd(sum.of[k]);
                   row.finish(total);
                 }
               });
}

}  // namespace meanflow::kernels
