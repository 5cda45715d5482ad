// SPDX-License-Identifier: MIT
/// \file
/// Normalisation of rows: a team of threads for each, which reads value and tangent once where its
/// memory holds them. The backward pass reads its operands twice.
/// `kernels/reference/row_norm.hpp` says what each kernel computes.
#pragma once

#include <cmath>
#include <cstddef>
#include <type_traits>

#include <meanflow/kernels/cuda/columns.hpp>
#include <meanflow/kernels/cuda/lanes.hpp>
#include <meanflow/kernels/cuda/memory.hpp>
#include <meanflow/kernels/cuda/norm.hpp>
#include <meanflow/kernels/cuda/tag.hpp>
#include <meanflow/kernels/cuda/team.hpp>
#include <meanflow/kernels/element.hpp>
#include <meanflow/kernels/grouped_rows.hpp>
#include <meanflow/kernels/reference/row_norm.hpp>

namespace meanflow::kernels {

namespace cuda {

/// A row of W numbers at a time, or of nothing where there is none.
template <int W, class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Lanes<T, W> load_or(const T* x, std::size_t at, T otherwise) {
  return x ? load_lanes<W>(x + at) : Lanes<T, W>(otherwise);
}

/// The columns of a row, W at a time.
template <int W>
struct ColumnsOfRow {
  int columns;
  using Place = Neighbours<W>;
  /// f(place) for the columns of a thread.
  template <class Team, class F>
  MEANFLOW_HOST_DEVICE void walk(Team, int thread, const F& f) const {
    for (int c = thread * W; c < columns; c += Team::threads * W)
      f(Place{static_cast<std::size_t>(c)});
  }
};

template <class T, int W>
struct RowNormForward {
  using V = Lanes<T, W>;
  GroupedRows s;
  bool moves;
  std::size_t tangent_rows;
  T epsilon;
  const T *x, *a, *b, *da, *db;
  T *y, *mean, *inv_std;
  bool holds;  // x and dx in the team's memory

  template <class Team>
  MEANFLOW_HOST_DEVICE void operator()(Team team, std::size_t r, T* memory) const {
    if (r < tangent_rows)
      run<true>(team, r, memory);
    else
      run<false>(team, r, memory);
  }

  template <bool Tangent, class Team>
  MEANFLOW_HOST_DEVICE void run(Team team, std::size_t r, T* memory) const {
    using Two = Sums<T, 2>;
    const ColumnsOfRow<W> row{static_cast<int>(s.columns)};
    const std::size_t values = s.rows * s.columns;
    const T *const in = x + r * s.columns, *const din = in + values;
    T *const held = memory + norm_sums, *const dheld = held + s.columns;
    const bool keep = holds, centres = moves;
    Two* const sums = reinterpret_cast<Two*>(memory);
    const Two first = team.sum(sums, [&](int thread) {
      V sum(T(0)), dsum(T(0));
      row.walk(team, thread, [&](auto at) {
        const V v = at.load(in);
        sum += v;
        if (keep) at.store(held, v);
        if constexpr (Tangent) {
          const V dv = at.load(din);
          dsum += dv;
          if (keep) at.store(dheld, dv);
        }
      });
      return Two{{sum_of(sum), sum_of(dsum)}};
    });
    const T share = T(1) / T(s.columns);
    const T m = centres ? share * first.of[0] : T(0), dm = centres ? share * first.of[1] : T(0);
    const T *const from = keep ? held : in, *const dfrom = keep ? dheld : din;
    const Two second = team.sum(sums, [&](int thread) {
      V square(T(0)), dot(T(0));
      row.walk(team, thread, [&](auto at) {
        const V d = at.load(from) - m;
        square += d * d;
        if constexpr (Tangent) dot += d * at.load(dfrom);
      });
      return Two{{sum_of(square), sum_of(dot)}};
    });
    const T inverse = T(1) / std::sqrt(share * second.of[0] + epsilon);
    const T dot = inverse * (share * second.of[1]);
    const std::size_t group = r / s.together * s.columns;
    T *const out = y + r * s.columns, *const dout = out + values;
    const T *const scale = a, *const shift = b, *const dscale = da, *const dshift = db;
    T *const means = mean, *const inverses = inv_std;
    team.each(Team::threads, [&](int thread) {
      row.walk(team, thread, [&](auto at) {
        const V n = (at.load(from) - m) * V(inverse);
        const V ka = load_or<W>(scale, group + at.index, T(1));
        at.store(out, V(n * ka + load_or<W>(shift, group + at.index, T(0))));
        if constexpr (Tangent) {
          const V dn = (at.load(dfrom) - dm - n * V(dot)) * V(inverse);
          at.store(dout, V(dn * ka + n * load_or<W>(dscale, group + at.index, T(0)) +
                           load_or<W>(dshift, group + at.index, T(0))));
        }
      });
      if (thread == 0) {
        means[r] = m;
        inverses[r] = inverse;
      }
    });
  }
};

/// The gradient of a row.
template <class T, int W>
struct RowNormBackward {
  using V = Lanes<T, W>;
  GroupedRows s;
  bool moves;
  const T *x, *mean, *inv_std, *a, *g;
  T* gx;

  template <class Team>
  MEANFLOW_HOST_DEVICE void operator()(Team team, std::size_t r, T* memory) const {
    using Two = Sums<T, 2>;
    const ColumnsOfRow<W> row{static_cast<int>(s.columns)};
    const T *const in = x + r * s.columns, *const up = g + r * s.columns, *const scale = a;
    const std::size_t group = r / s.together * s.columns;
    const T m = mean[r], inverse = inv_std[r];
    T* const out = gx + r * s.columns;
    const auto n_at = [&](auto at) { return (at.load(in) - m) * V(inverse); };
    const auto q_at = [&](auto at) {
      return at.load(up) * load_or<W>(scale, group + at.index, T(1));
    };
    const Two total = team.sum(reinterpret_cast<Two*>(memory), [&](int thread) {
      V sum(T(0)), dot(T(0));
      row.walk(team, thread, [&](auto at) {
        const V q = q_at(at);
        sum += q;
        dot += n_at(at) * q;
      });
      return Two{{sum_of(sum), sum_of(dot)}};
    });
    const T share = T(1) / T(s.columns);
    const T average = moves ? share * total.of[0] : T(0), dot = share * total.of[1];
    team.each(Team::threads, [&](int thread) {
      row.walk(team, thread, [&](auto at) {
        at.store(out, V((q_at(at) - average - n_at(at) * V(dot)) * V(inverse)));
      });
    });
  }
};

/// Adds the gradients of a group's a and b: sums over its rows.
template <int W, class T>
void add_row_norm_gradients(const GroupedRows& s, const T* x, const T* mean, const T* inv_std,
                            const T* g, T* ga, T* gb) {
  using V = Lanes<T, W>;
  const std::size_t columns = s.columns, together = s.together;
  reduce_columns<Sums<V, 2>>(
      s.groups(), together, columns / W,
      [=] MEANFLOW_HOST_DEVICE(std::size_t group, std::size_t token, std::size_t unit) {
        const std::size_t r = group * together + token, i = r * columns + unit * W;
        const V up = load_lanes<W>(g + i);
        return Sums<V, 2>{{up * ((load_lanes<W>(x + i) - V(mean[r])) * V(inv_std[r])), up}};
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t group, std::size_t unit, const Sums<V, 2>& sums) {
        const std::size_t at = group * columns + unit * W;
        if (ga) store_lanes(ga + at, load_lanes<W>(ga + at) + sums.of[0]);
        if (gb) store_lanes(gb + at, load_lanes<W>(gb + at) + sums.of[1]);
      },
      s.rows * columns, 2 * s.rows * columns * sizeof(T));
}

}  // namespace cuda

template <class T>
void row_norm(Cuda, Centred centred, const GroupedRows& s, std::size_t tangent_rows, T epsilon,
              const T* x, const T* a, const T* b, const T* da, const T* db, T* y, T* mean,
              T* inv_std) {
  if (s.columns == 0) return;
  const bool moves = centred == Centred::yes;
  const std::size_t kept = (tangent_rows > 0 ? 2 : 1) * s.columns;
  const std::size_t elements = (s.rows + tangent_rows) * s.columns;
  const bool holds = (cuda::norm_sums + kept) * sizeof(T) <= cuda::team_memory;
  cuda::with_width(s.columns, [&]<int W>(std::integral_constant<int, W>) {
    const cuda::RowNormForward<T, W> task{s,  moves, tangent_rows, epsilon, x,    a, b, da,
                                          db, y,     mean,         inv_std, holds};
    cuda::run_teams<T>(s.rows, cuda::norm_sums + (holds ? kept : 0), task, elements,
                       (holds ? 2 : 4) * elements * sizeof(T));
  });
}

template <class T>
void row_norm_backward(Cuda, Centred centred, const GroupedRows& s, const T* x, const T* mean,
                       const T* inv_std, const T* a, const T* g, T* gx, T* ga, T* gb) {
  if (s.columns == 0) return;
  const bool moves = centred == Centred::yes;
  cuda::with_width(s.columns, [&]<int W>(std::integral_constant<int, W>) {
    cuda::run_teams<T>(s.rows, cuda::norm_sums,
                       cuda::RowNormBackward<T, W>{s, moves, x, mean, inv_std, a, g, gx},
                       s.rows * s.columns, 5 * s.rows * s.columns * sizeof(T));
    if (ga || gb) cuda::add_row_norm_gradients<W>(s, x, mean, inv_std, g, ga, gb);
  });
}

}  // namespace meanflow::kernels
