// SPDX-License-Identifier: MIT
/// \file
/// Normalisation over the last axis on the processor: a row stays in the first-level cache from its
/// mean to its last tangent. `kernels/reference/row_norm.hpp` says what each kernel computes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <meanflow/kernels/cpu.hpp>
#include <meanflow/kernels/reference/row_norm.hpp>

namespace meanflow::kernels {

namespace detail {

/// Row `r` of numbers that `together` rows share; null stays null.
template <class T>
[[nodiscard]] const T* shared_row(const GroupedRows& s, const T* x, std::size_t r) {
  return x ? x + r / s.together * s.columns : nullptr;
}

template <class T>
void normalize_row(Centred centred, std::size_t columns, T epsilon, const T* x, const T* a,
                   const T* b, T* y, T* mean, T* inv_std) {
  using Batch = xsimd::batch<T>;
  const T share = T(1) / T(columns);
  const T m = centred == Centred::no
                  ? T(0)
                  : share * sum_of_batches<T>(
                                0, columns, [=](auto lanes, auto c) { return lanes.load(x + c); });
  // Stored before it is squared: loaded again, the lanes beyond the end hold zeros.
  for_each_batch<T>(0, columns, [=](auto lanes, std::size_t c) {
    lanes.store(y + c, lanes.load(x + c) - Batch(m));
  });
  const T square = sum_of_batches<T>(0, columns, [=](auto lanes, auto c) {
    const Batch value = lanes.load(y + c);
    return value * value;
  });
  *mean = m;
  *inv_std = T(1) / std::sqrt(share * square + epsilon);
  const Batch factor(*inv_std);
  for_each_batch<T>(0, columns, [=](auto lanes, std::size_t c) {
    const Batch n = lanes.load(y + c) * factor;
    const Batch scaled = a ? n * lanes.load(a + c) : n;
    lanes.store(y + c, b ? scaled + lanes.load(b + c) : scaled);
  });
}

template <class T>
void normalize_row_tangent(Centred centred, std::size_t columns, const T* x, const T* dx, T mean,
                           T inv_std, const T* a, const T* da, const T* db, T* dy) {
  using Batch = xsimd::batch<T>;
  const Batch shift(mean), factor(inv_std);
  const T share = T(1) / T(columns);
  const auto n = [=](auto lanes, std::size_t c) {
    return Batch((lanes.load(x + c) - shift) * factor);
  };
  Batch sum(T(0)), dot(T(0));
  for_each_batch<T>(0, columns, [&](auto lanes, std::size_t c) {
    const Batch d = lanes.load(dx + c);
    sum += d;
    dot += n(lanes, c) * d;
  });
  const Batch mean_of_d(centred == Centred::no ? T(0) : share * xsimd::hadd(sum));
  const Batch mean_of_dot(share * xsimd::hadd(dot));
  for_each_batch<T>(0, columns, [=](auto lanes, std::size_t c) {
    const Batch value = n(lanes, c);
    Batch d = (lanes.load(dx + c) - mean_of_d - value * mean_of_dot) * factor;
    if (a) d = d * lanes.load(a + c);
    if (da) d = d + value * lanes.load(da + c);
    lanes.store(dy + c, db ? d + lanes.load(db + c) : d);
  });
}

template <class T>
void normalize_row_backward(Centred centred, std::size_t columns, const T* x, T mean, T inv_std,
                            const T* a, const T* g, T* gx) {
  using Batch = xsimd::batch<T>;
  const Batch shift(mean), factor(inv_std);
  const T share = T(1) / T(columns);
  const auto n = [=](auto lanes, std::size_t c) {
    return Batch((lanes.load(x + c) - shift) * factor);
  };
  const auto q = [=](auto lanes, std::size_t c) {
    return a ? Batch(lanes.load(g + c) * lanes.load(a + c)) : Batch(lanes.load(g + c));
  };
  Batch sum(T(0)), dot(T(0));
  for_each_batch<T>(0, columns, [&](auto lanes, std::size_t c) {
    const Batch value = q(lanes, c);
    sum += value;
    dot += n(lanes, c) * value;
  });
  const Batch mean_of_q(centred == Centred::no ? T(0) : share * xsimd::hadd(sum));
  const Batch mean_of_dot(share * xsimd::hadd(dot));
  for_each_batch<T>(0, columns, [=](auto lanes, std::size_t c) {
    lanes.store(gx + c, (q(lanes, c) - mean_of_q - n(lanes, c) * mean_of_dot) * factor);
  });
}

/// Adds the sums of g n and of g over the rows of group `group`, for the columns [from, to).
template <class T>
void sum_group(const GroupedRows& s, std::size_t group, std::size_t from, std::size_t to,
               const T* x, const T* mean, const T* inv_std, const T* g, T* ga, T* gb) {
  using Batch = xsimd::batch<T>;
  for_each_batch<T>(from, to, [=](auto lanes, std::size_t c) {
    Batch scale(T(0)), shift(T(0));
    for (std::size_t r = group * s.together; r < (group + 1) * s.together; ++r) {
      const Batch up = lanes.load(g + r * s.columns + c);
      scale += up * ((lanes.load(x + r * s.columns + c) - Batch(mean[r])) * Batch(inv_std[r]));
      shift += up;
    }
    const auto add = [&](T* to_row, const Batch& sum) {
      T* const place = to_row + group * s.columns + c;
      lanes.store(place, lanes.load(place) + sum);
    };
    if (ga) add(ga, scale);
    if (gb) add(gb, shift);
  });
}

}  // namespace detail

template <class T>
void row_norm(Cpu, Centred centred, const GroupedRows& s, std::size_t tangent_rows, T epsilon,
              const T* x, const T* a, const T* b, const T* da, const T* db, T* y, T* mean,
              T* inv_std) {
  const std::size_t columns = s.columns;
  parallel_for(
      Cpu{}, s.rows, detail::rows_grain(columns), [=](std::size_t first, std::size_t last) {
        for (std::size_t r = first; r < last; ++r) {
          const T* of_row = detail::shared_row(s, a, r);
          detail::normalize_row(centred, columns, epsilon, x + r * columns, of_row,
                                detail::shared_row(s, b, r), y + r * columns, mean + r,
                                inv_std + r);
          if (r >= tangent_rows) continue;
          detail::normalize_row_tangent(centred, columns, x + r * columns,
                                        x + (s.rows + r) * columns, mean[r], inv_std[r], of_row,
                                        detail::shared_row(s, da, r), detail::shared_row(s, db, r),
                                        y + (s.rows + r) * columns);
        }
      });
}

template <class T>
void row_norm_backward(Cpu, Centred centred, const GroupedRows& s, const T* x, const T* mean,
                       const T* inv_std, const T* a, const T* g, T* gx, T* ga, T* gb) {
  const std::size_t columns = s.columns;
  parallel_for(Cpu{}, s.rows, detail::rows_grain(columns),
               [=](std::size_t first, std::size_t last) {
                 for (std::size_t r = first; r < last; ++r)
                   detail::normalize_row_backward(centred, columns, x + r * columns, mean[r],
                                                  inv_std[r], detail::shared_row(s, a, r),
                                                  g + r * columns, gx + r * columns);
               });
  if (!ga && !gb) return;
  // Columns are split, not rows: every column's sum stays with one thread, in a fixed order.
  constexpr std::size_t strip = 4 * detail::FullLanes<T>::count;
  const std::size_t strips = (columns + strip - 1) / strip;
  const std::size_t grain =
      std::max<std::size_t>(1, detail::parallel_grain / (strip * (s.together + 1)));
  parallel_for(Cpu{}, s.groups() * strips, grain, [=](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) {
      const std::size_t from = i % strips * strip;
      detail::sum_group(s, i / strips, from, std::min(columns, from + strip), x, mean, inv_std, g,
                        ga, gb);
    }
  });
}

}  // namespace meanflow::kernels
