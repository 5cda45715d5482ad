// SPDX-License-Identifier: MIT
/// \file
/// Sums down the columns of matrices. Neighbouring threads take neighbouring columns, so that they
/// read the memory in one piece; long columns are cut into parts whose sums are added up at last.
#pragma once

#include <algorithm>
#include <cstddef>

#include <meanflow/kernels/cuda/divisor.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/cuda/memory.hpp>

namespace meanflow::kernels::cuda {

/// finish(m, c, the sum over r in [0, rows) of term(m, r, c)) for every column c in [0, columns) of
/// every matrix m in [0, matrices). Sums are of type S, which starts at S{}; the same numbers are
/// added in the same order every time.
template <class S, class Term, class Finish>
void reduce_columns(std::size_t matrices, std::size_t rows, std::size_t columns, Term term,
                    Finish finish) {
  constexpr std::size_t threads = std::size_t{1} << 17;  // enough for every GPU
  constexpr std::size_t min_rows = 32;                   // rows that are worth a part of their own
  const std::size_t sums = matrices * columns;
  if (sums == 0) return;
  const std::size_t wanted = std::min(threads / sums, rows / min_rows);
  const std::size_t each =
      wanted < 2 ? std::max<std::size_t>(rows, 1) : (rows + wanted - 1) / wanted;
  const std::size_t parts = std::max<std::size_t>((rows + each - 1) / each, 1);
  const Divisor by_columns(columns), by_parts(parts);
  const Scratch<S> memory(parts > 1 ? sums * parts : 0);
  S* partial = memory.data();
  work().more(matrices * rows * columns);
  for_each_index(sums * parts, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const std::size_t c = i % by_columns, of = i / by_columns;
    const std::size_t m = of / by_parts, part = of % by_parts;
    const std::size_t last = (part + 1) * each < rows ? (part + 1) * each : rows;
    S sum{};
    for (std::size_t r = part * each; r < last; ++r) sum = sum + term(m, r, c);
    if (parts == 1)
      finish(m, c, sum);
    else
      partial[i] = sum;
  });
  if (parts == 1) return;
  for_each_index(sums, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const std::size_t c = i % by_columns, m = i / by_columns;
    S sum{};
    for (std::size_t part = 0; part < parts; ++part)
      sum = sum + partial[(m * parts + part) * columns + c];
    finish(m, c, sum);
  });
}

}  // namespace meanflow::kernels::cuda
