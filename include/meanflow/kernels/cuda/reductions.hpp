// SPDX-License-Identifier: MIT
/// \file
/// Sums over rows and what is made of them.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>

#include <meanflow/config.hpp>
#include <meanflow/kernels/cuda/lanes.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/cuda/memory.hpp>
#include <meanflow/kernels/cuda/tag.hpp>
#include <meanflow/kernels/cuda/team.hpp>

namespace meanflow::kernels {

/// *square = sum of x^2, in double, on the device. In two stages, so that all of it takes part.
template <class T>
void squared_norm(Cuda, std::size_t n, const T* x, double* square) {
  constexpr std::size_t max_parts = 1024;
  const std::size_t all = cuda::fours(n);
  const std::size_t parts = all < max_parts ? 1 : max_parts, each = (all + parts - 1) / parts;
  const cuda::Scratch<double> partial(parts);
  double* sums = partial.data();
  cuda::reduce_rows<double>(
      parts, each,
      [=] MEANFLOW_HOST_DEVICE(std::size_t part, std::size_t i) {
        const std::size_t at = cuda::lanes * (part * each + i);
        double sum = 0;
        if (at + cuda::lanes <= n) {
          const auto values = cuda::load_lanes<cuda::lanes>(x + at);
          for (const T value : values.of)
            sum += static_cast<double>(value) * static_cast<double>(value);
        } else {
          for (std::size_t k = at; k < n; ++k)
            sum += static_cast<double>(x[k]) * static_cast<double>(x[k]);
        }
        return sum;
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t part, double sum) { sums[part] = sum; }, n * sizeof(T));
  cuda::reduce_rows<double>(
      1, parts, [=] MEANFLOW_HOST_DEVICE(std::size_t, std::size_t i) { return sums[i]; },
      [=] MEANFLOW_HOST_DEVICE(std::size_t, double sum) { *square = sum; });
}

template <class T>
[[nodiscard]] double squared_norm(Cuda, std::size_t n, const T* x) {
  const cuda::Scratch<double> square(1);
  squared_norm(Cuda{}, n, x, square.data());
  double value = 0;
  device_traits<Cuda>::to_host(sizeof value, square.data(), &value);
  return value;
}

namespace cuda {

/// The larger of two, as a sum.
template <class T>
struct Largest {
  T value = -std::numeric_limits<T>::infinity();
  friend MEANFLOW_HOST_DEVICE Largest operator+(const Largest& a, const Largest& b) {
    return a.value < b.value ? b : a;
  }
};

/// y = softmax(scale x) of a row of n numbers, and the logarithm of its sum unless `lse` is null.
template <class T>
struct SoftmaxOfRow {
  std::size_t n;
  T scale;
  const T* x;
  T *y, *lse;

  template <class Team>
  MEANFLOW_HOST_DEVICE void operator()(Team team, std::size_t row, T* memory) const {
    using std::exp;
    using std::log;
    const T* const from = x + row * n;
    T *const to = y + row * n, *const log_sum = lse;
    const auto count = static_cast<int>(n);
    const T factor = scale;
    const T top = team.sum(reinterpret_cast<Largest<T>*>(memory),
                           [&](int thread) {
                             Largest<T> found;
                             for (int i = thread; i < count; i += Team::threads)
                               found = found + Largest<T>{factor * from[i]};
                             return found;
                           })
                      .value;
    const T sum = team.sum(memory, [&](int thread) {
      T part(0);
      for (int i = thread; i < count; i += Team::threads) {
        const T e = exp(factor * from[i] - top);
        to[i] = e;  // where x and y are the same, each thread reads what it writes
        part += e;
      }
      return part;
    });
    team.each(count, [&](int i) {
      to[i] /= sum;
      if (i == 0 && log_sum) log_sum[row] = top + log(sum);
    });
  }
};

/// z = factor y (v - y . v) of a row of n numbers.
template <class T>
struct SoftmaxJacobianOfRow {
  std::size_t n;
  T factor;
  const T *y, *v;
  T* z;

  template <class Team>
  MEANFLOW_HOST_DEVICE void operator()(Team team, std::size_t row, T* memory) const {
    const T *const of = y + row * n, *const by = v + row * n;
    T* const to = z + row * n;
    const auto count = static_cast<int>(n);
    const T by_factor = factor;
    const T dot = team.sum(memory, [&](int thread) {
      T part(0);
      for (int i = thread; i < count; i += Team::threads) part += of[i] * by[i];
      return part;
    });
    team.each(count, [&](int i) { to[i] = by_factor * (of[i] * (by[i] - dot)); });
  }
};

template <class T>
void softmax_of_rows(std::size_t rows, std::size_t columns, T scale, const T* x, T* y, T* lse) {
  if (columns == 0) return;
  run_teams<T>(rows, Team::sum_memory, SoftmaxOfRow<T>{columns, scale, x, y, lse}, rows * columns,
               5 * rows * columns * sizeof(T));
}

template <class T>
void softmax_jacobian_of_rows(std::size_t rows, std::size_t columns, T factor, const T* y,
                              const T* v, T* z) {
  if (columns == 0) return;
  run_teams<T>(rows, Team::sum_memory, SoftmaxJacobianOfRow<T>{columns, factor, y, v, z},
               rows * columns, 5 * rows * columns * sizeof(T));
}

}  // namespace cuda

template <class T>
void softmax(Cuda, std::size_t rows, std::size_t columns, const T* x, T* y) {
  cuda::softmax_of_rows<T>(rows, columns, T(1), x, y, nullptr);
}

template <class T>
void softmax_jacobian(Cuda, std::size_t rows, std::size_t columns, const T* y, const T* v, T* z) {
  cuda::softmax_jacobian_of_rows(rows, columns, T(1), y, v, z);
}

}  // namespace meanflow::kernels
