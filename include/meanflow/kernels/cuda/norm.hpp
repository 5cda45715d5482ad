// SPDX-License-Identifier: MIT
/// \file
/// Normalisation over groups of channels and over the last axis. `kernels/reference/norm.hpp` says
/// what each computes.
#pragma once

#include <cmath>
#include <cstddef>

#include <meanflow/kernels/cuda/columns.hpp>
#include <meanflow/kernels/cuda/divisor.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/cuda/memory.hpp>
#include <meanflow/kernels/reference/norm.hpp>

namespace meanflow::kernels {

namespace cuda {

/// `NormShape` as the device reads it, and where the elements of a group lie.
struct Groups {
  std::size_t rows, pixels, channels, groups, each;
  Divisor by_image, by_channels, by_groups, by_each;

  explicit Groups(const NormShape& n)
      : rows(n.rows),
        pixels(n.pixels),
        channels(n.channels),
        groups(n.groups),
        each(n.group_channels()),
        by_image(pixels * channels),
        by_channels(channels),
        by_groups(groups),
        by_each(each) {}

  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t size() const { return pixels * each; }
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t elements() const {
    return rows * pixels * channels;
  }
  /// The element number i of group number `group` of all rows.
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t element(std::size_t group, std::size_t i) const {
    const std::size_t row = group / by_groups, channel = group % by_groups * each + i % by_each;
    return (row * pixels + i / by_each) * channels + channel;
  }
  /// Of an element: its group among those of all rows, and its row and channel.
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t group(std::size_t element) const {
    return element / by_image * groups + element % by_channels / by_each;
  }
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t modulation(std::size_t element) const {
    return element / by_image * channels + element % by_channels;
  }
};

}  // namespace cuda

template <class T>
void group_statistics(Cuda, const NormShape& shape, T epsilon, const T* x, T* mean, T* inv_std) {
  const cuda::Groups n(shape);
  const std::size_t all = n.rows * n.groups;
  const T share = T(1) / T(n.size());
  cuda::reduce_rows<T>(
      all, n.size(),
      [=] MEANFLOW_HOST_DEVICE(std::size_t g, std::size_t i) { return x[n.element(g, i)]; },
      [=] MEANFLOW_HOST_DEVICE(std::size_t g, T sum) { mean[g] = share * sum; });
  cuda::reduce_rows<T>(
      all, n.size(),
      [=] MEANFLOW_HOST_DEVICE(std::size_t g, std::size_t i) {
        const T d = x[n.element(g, i)] - mean[g];
        return d * d;
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t g, T sum) {
        using std::sqrt;
        inv_std[g] = T(1) / sqrt(share * sum + epsilon);
      });
}

template <class F, class T>
void group_norm(Cuda, F f, const NormShape& shape, const T* x, const T* mean, const T* inv_std,
                const T* a, const T* b, T* y) {
  const cuda::Groups n(shape);
  cuda::for_each_index(n.elements(), [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const std::size_t g = n.group(i), k = n.modulation(i);
    y[i] = f((x[i] - mean[g]) * inv_std[g] * a[k] + b[k]);
  });
}

template <class F, class T>
void group_norm_tangent(Cuda, F f, const NormShape& shape, const T* x, const T* dx, const T* mean,
                        const T* inv_std, const T* a, const T* da, const T* b, const T* db, T* dy) {
  const cuda::Groups n(shape);
  const cuda::Scratch<cuda::Pair<T>> memory(n.rows * n.groups);
  cuda::Pair<T>* means = memory.data();
  const T share = T(1) / T(n.size());
  cuda::reduce_rows<cuda::Pair<T>>(
      n.rows * n.groups, n.size(),
      [=] MEANFLOW_HOST_DEVICE(std::size_t g, std::size_t i) {
        const std::size_t at = n.element(g, i);
        return cuda::Pair<T>{dx[at], (x[at] - mean[g]) * inv_std[g] * dx[at]};
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t g, cuda::Pair<T> sums) {
        means[g] = {share * sums.first, share * sums.second};
      });
  cuda::for_each_index(n.elements(), [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const std::size_t g = n.group(i), k = n.modulation(i);
    const T normalized = (x[i] - mean[g]) * inv_std[g];
    const T dn = (dx[i] - means[g].first - normalized * means[g].second) * inv_std[g];
    const T slope = f(Dual<T>(normalized * a[k] + b[k], T(1))).tangent;
    dy[i] = slope * (dn * a[k] + normalized * da[k] + db[k]);
  });
}

template <class F, class T>
void group_norm_backward(Cuda, F f, const NormShape& shape, const T* x, const T* mean,
                         const T* inv_std, const T* a, const T* b, const T* g, T* gx, T* ga,
                         T* gb) {
  const cuda::Groups n(shape);
  const cuda::Scratch<cuda::Pair<T>> memory(n.rows * n.groups);
  cuda::Pair<T>* means = memory.data();
  const T share = T(1) / T(n.size());
  // q = g f'(p) is kept in gx between the passes.
  cuda::reduce_columns<cuda::Pair<T>>(
      n.rows, n.pixels, n.channels,
      [=] MEANFLOW_HOST_DEVICE(std::size_t row, std::size_t pixel, std::size_t c) {
        const std::size_t i = (row * n.pixels + pixel) * n.channels + c, k = row * n.channels + c;
        const std::size_t group = row * n.groups + c / n.by_each;
        const T normalized = (x[i] - mean[group]) * inv_std[group];
        const T q = g[i] * f(Dual<T>(normalized * a[k] + b[k], T(1))).tangent;
        gx[i] = q;
        return cuda::Pair<T>{q * normalized, q};
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t row, std::size_t c, cuda::Pair<T> sums) {
        ga[row * n.channels + c] = sums.first;
        gb[row * n.channels + c] = sums.second;
      });
  cuda::reduce_rows<cuda::Pair<T>>(
      n.rows * n.groups, n.each,
      [=] MEANFLOW_HOST_DEVICE(std::size_t group, std::size_t c) {
        const std::size_t k = group * n.each + c;
        return cuda::Pair<T>{gb[k] * a[k], ga[k] * a[k]};
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t group, cuda::Pair<T> sums) {
        means[group] = {share * sums.first, share * sums.second};
      });
  cuda::for_each_index(n.elements(), [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const std::size_t group = n.group(i);
    const T normalized = (x[i] - mean[group]) * inv_std[group];
    gx[i] = (gx[i] * a[n.modulation(i)] - means[group].first - normalized * means[group].second) *
            inv_std[group];
  });
}

}  // namespace meanflow::kernels
