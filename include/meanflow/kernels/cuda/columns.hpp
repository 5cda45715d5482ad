// SPDX-License-Identifier: MIT
/// \file
/// Sums down the columns of matrices, with one launch. Neighbouring threads take neighbouring
/// columns, so that they read the memory in one piece; long columns are cut into parts, and the
/// team that is the last to finish one of a stretch of columns adds up their sums.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/cuda/memory.hpp>
#include <meanflow/kernels/cuda/team.hpp>

namespace meanflow::kernels::cuda {

/// How sums are shared among teams: each has a stretch of `wide` columns of one matrix, and of its
/// rows one of `parts`.
struct ColumnTeams {
  using Team = TeamOf<256>;
  std::size_t matrices, rows, columns;
  int wide = 1;
  std::uint32_t stretches, parts;
  std::size_t each;  // rows of a part

  ColumnTeams(std::size_t m, std::size_t r, std::size_t c) : matrices(m), rows(r), columns(c) {
    constexpr std::size_t rows_of_a_thread = 8;
    while (wide < 32 && static_cast<std::size_t>(wide) < columns) wide *= 2;
    const auto across = static_cast<std::size_t>(wide);
    stretches = static_cast<std::uint32_t>((columns + across - 1) / across);
    const std::size_t worth = static_cast<std::size_t>(strips()) * rows_of_a_thread;
    const std::size_t wanted =
        std::min(most_groups / std::max<std::size_t>(groups(), 1), rows / worth);
    each = wanted < 2 ? std::max<std::size_t>(rows, 1) : (rows + wanted - 1) / wanted;
    parts = static_cast<std::uint32_t>(std::max<std::size_t>((rows + each - 1) / each, 1));
  }
  [[nodiscard]] MEANFLOW_HOST_DEVICE int strips() const { return Team::threads / wide; }
  /// Stretches of all matrices: so many sums of parts are to be added up.
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t groups() const { return matrices * stretches; }
};

/// The sums of one reduction.
template <class S, class Term, class Finish>
struct ColumnSums {
  using Team = ColumnTeams::Team;
  ColumnTeams by;
  Term term;
  Finish finish;
  S* partial;  // (groups, parts, wide), where there are parts

  /// What a team has to do first, with the number of its stretch and of its part.
  MEANFLOW_HOST_DEVICE void of_part(Team team, std::uint32_t group, std::uint32_t part,
                                    S* memory) const {
    const std::uint32_t m = group / by.stretches;
    const std::size_t begin = part * by.each;
    const std::size_t end = begin + by.each < by.rows ? begin + by.each : by.rows;
    const auto& self = *this;
    sum_of_strips(team, group, begin, end, memory, [&](std::size_t row, std::size_t column, int) {
      return self.term(m, row, column);
    });
    team.each(by.wide, [&](int t) {
      const std::size_t column = self.column(group, t);
      if (column >= self.by.columns) return;
      if (self.by.parts == 1)
        self.finish(m, column, memory[t]);
      else
        self.partial[self.place(group, part, t)] = memory[t];
    });
  }

  /// What the last team of a stretch does then.
  MEANFLOW_HOST_DEVICE void of_parts(Team team, std::uint32_t group, S* memory) const {
    const std::uint32_t m = group / by.stretches;
    const auto& self = *this;
    sum_of_strips(team, group, 0, by.parts, memory, [&](std::size_t part, std::size_t, int t) {
      return self.partial[self.place(group, part, t)];
    });
    team.each(by.wide, [&](int t) {
      const std::size_t column = self.column(group, t);
      if (column < self.by.columns) self.finish(m, column, memory[t]);
    });
  }

 private:
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t column(std::uint32_t group, int t) const {
    return std::size_t{group % by.stretches} * static_cast<std::size_t>(by.wide) +
           static_cast<std::size_t>(t);
  }
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t place(std::uint32_t group, std::size_t part,
                                                       int t) const {
    return (std::size_t{group} * by.parts + part) * static_cast<std::size_t>(by.wide) +
           static_cast<std::size_t>(t);
  }
  /// memory[t] = the sum of from(row, column, t) over [begin, end) for every column t of a stretch.
  template <class From>
  MEANFLOW_HOST_DEVICE void sum_of_strips(Team team, std::uint32_t group, std::size_t begin,
                                          std::size_t end, S* memory, const From& from) const {
    const int wide = by.wide, strips = by.strips();
    const auto& self = *this;
    team.each(Team::threads, [&](int thread) {
      const int t = thread & (wide - 1);  // a power of two
      const std::size_t c = self.column(group, t);
      S sum{};
      if (c < self.by.columns)
        for (std::size_t r = begin + static_cast<std::size_t>(thread / wide); r < end;
             r += static_cast<std::size_t>(strips))
          sum = sum + from(r, c, t);
      memory[thread] = sum;
    });
    for (int half = strips / 2; half > 0; half /= 2)
      team.each(half * wide, [&](int t) { memory[t] = memory[t] + memory[t + half * wide]; });
  }
};

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA

namespace detail {

template <class S, class Sums>
__global__ void __launch_bounds__(Sums::Team::threads) sum_columns(Sums sums, unsigned* finished) {
  extern __shared__ double2 shared[];
  S* const memory = reinterpret_cast<S*>(shared);
  const std::uint32_t group = blockIdx.x / sums.by.parts, part = blockIdx.x % sums.by.parts;
  sums.of_part({}, group, part, memory);
  if (sums.by.parts == 1) return;
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(finished + group, 1U) + 1 == sums.by.parts;
    if (last) finished[group] = 0;  // for the next launch
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  sums.of_parts({}, group, memory);
}

}  // namespace detail

#endif

/// finish(m, c, the sum over r in [0, rows) of term(m, r, c)) for every column c in [0, columns) of
/// every matrix m in [0, matrices). Sums are of type S, which starts at S{}; the same numbers are
/// added in the same order every time. The terms are of `elements` elements (0: one each), for
/// which `bytes` move.
template <class S, class Term, class Finish>
void reduce_columns(std::size_t matrices, std::size_t rows, std::size_t columns, Term term,
                    Finish finish, std::size_t elements = 0, std::size_t bytes = 0) {
  if (matrices * columns == 0) return;
  const ColumnTeams by(matrices, rows, columns);
  const std::size_t teams = by.groups() * by.parts;
  const Scratch<S> partial(by.parts > 1 ? teams * static_cast<std::size_t>(by.wide) : 0);
  const ColumnSums<S, Term, Finish> sums{by, term, finish, partial.data()};
  work().launch(std::max<std::size_t>(elements ? elements : matrices * rows * columns, 1), bytes);
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  detail::sum_columns<S><<<static_cast<unsigned>(teams), ColumnTeams::Team::threads,
                           ColumnTeams::Team::threads * sizeof(S), context().stream>>>(
      sums, context().finished_teams());
  check(cudaGetLastError(),
        "sums of " + std::to_string(columns) + " columns of " + std::to_string(rows) + " rows");
#else
  std::vector<S> memory(ColumnTeams::Team::threads);
  for (std::uint32_t group = 0; group < by.groups(); ++group) {
    for (std::uint32_t part = 0; part < by.parts; ++part)
      sums.of_part({}, group, part, memory.data());
    if (by.parts > 1) sums.of_parts({}, group, memory.data());
  }
#endif
}

}  // namespace meanflow::kernels::cuda
