// SPDX-License-Identifier: MIT
/// \file
/// Normalisation over the last axis. `kernels/reference/row_norm.hpp` says what each kernel
/// computes.
#pragma once

#include <cmath>
#include <cstddef>

#include <meanflow/kernels/cuda/columns.hpp>
#include <meanflow/kernels/cuda/divisor.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/cuda/memory.hpp>
#include <meanflow/kernels/reference/row_norm.hpp>

namespace meanflow::kernels {

template <class T>
void row_norm(Cuda, Centred centred, const GroupedRows& s, std::size_t tangent_rows, T epsilon,
              const T* x, const T* a, const T* b, const T* da, const T* db, T* y, T* mean,
              T* inv_std) {
  const bool moves = centred == Centred::yes;
  const std::size_t columns = s.columns;
  const T share = T(1) / T(columns);
  cuda::reduce_rows<T>(
      s.rows, columns,
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, std::size_t c) {
        return moves ? x[r * columns + c] : T(0);
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, T sum) { mean[r] = share * sum; });
  cuda::reduce_rows<T>(
      s.rows, columns,
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, std::size_t c) {
        const T d = x[r * columns + c] - mean[r];
        return d * d;
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, T sum) {
        using std::sqrt;
        inv_std[r] = T(1) / sqrt(share * sum + epsilon);
      });
  const cuda::Divisor by(columns), by_together(s.together);
  cuda::for_each_index(s.rows * columns, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const std::size_t r = i / by, of_group = r / by_together * columns + i % by;
    const T n = (x[i] - mean[r]) * inv_std[r];
    y[i] = (a ? n * a[of_group] : n) + (b ? b[of_group] : T(0));
  });
  if (tangent_rows == 0) return;
  const T* dx = x + s.rows * columns;
  T* dy = y + s.rows * columns;
  const cuda::Scratch<cuda::Pair<T>> memory(tangent_rows);
  cuda::Pair<T>* means = memory.data();
  cuda::reduce_rows<cuda::Pair<T>>(
      tangent_rows, columns,
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, std::size_t c) {
        const std::size_t i = r * columns + c;
        return cuda::Pair<T>{moves ? dx[i] : T(0), (x[i] - mean[r]) * inv_std[r] * dx[i]};
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, cuda::Pair<T> sums) {
        means[r] = {share * sums.first, share * sums.second};
      });
  cuda::for_each_index(tangent_rows * columns, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const std::size_t r = i / by, of_group = r / by_together * columns + i % by;
    const T n = (x[i] - mean[r]) * inv_std[r];
    const T dn = (dx[i] - means[r].first - n * means[r].second) * inv_std[r];
    dy[i] =
        (a ? dn * a[of_group] : dn) + (da ? n * da[of_group] : T(0)) + (db ? db[of_group] : T(0));
  });
}

template <class T>
void row_norm_backward(Cuda, Centred centred, const GroupedRows& s, const T* x, const T* mean,
                       const T* inv_std, const T* a, const T* g, T* gx, T* ga, T* gb) {
  const bool moves = centred == Centred::yes;
  const std::size_t columns = s.columns, together = s.together;
  const T share = T(1) / T(columns);
  const cuda::Scratch<cuda::Pair<T>> memory(s.rows);
  cuda::Pair<T>* means = memory.data();
  const cuda::Divisor by(columns), by_together(together);
  const auto q = [=] MEANFLOW_HOST_DEVICE(std::size_t r, std::size_t c) {
    return a ? g[r * columns + c] * a[r / by_together * columns + c] : g[r * columns + c];
  };
  cuda::reduce_rows<cuda::Pair<T>>(
      s.rows, columns,
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, std::size_t c) {
        const T value = q(r, c), n = (x[r * columns + c] - mean[r]) * inv_std[r];
        return cuda::Pair<T>{moves ? value : T(0), n * value};
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, cuda::Pair<T> sums) {
        means[r] = {share * sums.first, share * sums.second};
      });
  cuda::for_each_index(s.rows * columns, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const std::size_t r = i / by;
    const T n = (x[i] - mean[r]) * inv_std[r];
    gx[i] = (q(r, i % by) - means[r].first - n * means[r].second) * inv_std[r];
  });
  cuda::reduce_columns<cuda::Pair<T>>(
      s.groups(), together, ga || gb ? columns : 0,
      [=] MEANFLOW_HOST_DEVICE(std::size_t group, std::size_t token, std::size_t c) {
        const std::size_t r = group * together + token, i = r * columns + c;
        return cuda::Pair<T>{g[i] * ((x[i] - mean[r]) * inv_std[r]), g[i]};
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t group, std::size_t c, cuda::Pair<T> sums) {
        if (ga) ga[group * columns + c] += sums.first;
        if (gb) gb[group * columns + c] += sums.second;
      });
}

}  // namespace meanflow::kernels
