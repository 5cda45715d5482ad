// SPDX-License-Identifier: MIT
/// \file
/// Sums over rows and what is made of them.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>

#include <meanflow/config.hpp>
#include <meanflow/kernels/cuda/divisor.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/cuda/memory.hpp>
#include <meanflow/kernels/cuda/tag.hpp>

namespace meanflow::kernels {

/// *square = sum of x^2, in double, on the device. In two stages, so that all of it takes part.
template <class T>
void squared_norm(Cuda, std::size_t n, const T* x, double* square) {
  constexpr std::size_t max_parts = 1024;
  const std::size_t parts = n < max_parts ? 1 : max_parts, each = (n + parts - 1) / parts;
  const cuda::Scratch<double> partial(parts);
  double* sums = partial.data();
  cuda::reduce_rows<double>(
      parts, each,
      [=] MEANFLOW_HOST_DEVICE(std::size_t part, std::size_t i) {
        const std::size_t at = part * each + i;
        const double value = at < n ? static_cast<double>(x[at]) : 0.0;
        return value * value;
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t part, double sum) { sums[part] = sum; });
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

}  // namespace cuda

template <class T>
void softmax(Cuda, std::size_t rows, std::size_t columns, const T* x, T* y) {
  const cuda::Scratch<T> memory(2 * rows);
  T *largest = memory.data(), *sums = memory.data() + rows;
  const cuda::Divisor by(columns);
  cuda::reduce_rows<cuda::Largest<T>>(
      rows, columns,
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, std::size_t c) {
        return cuda::Largest<T>{x[r * columns + c]};
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, cuda::Largest<T> all) { largest[r] = all.value; });
  cuda::for_each_index(rows * columns, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    using std::exp;
    y[i] = exp(x[i] - largest[i / by]);
  });
  cuda::reduce_rows<T>(
      rows, columns,
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, std::size_t c) { return y[r * columns + c]; },
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, T sum) { sums[r] = sum; });
  cuda::for_each_index(rows * columns,
                       [=] MEANFLOW_HOST_DEVICE(std::size_t i) { y[i] /= sums[i / by]; });
}

template <class T>
void softmax_jacobian(Cuda, std::size_t rows, std::size_t columns, const T* y, const T* v, T* z) {
  const cuda::Scratch<T> memory(rows);
  T* dots = memory.data();
  const cuda::Divisor by(columns);
  cuda::reduce_rows<T>(
      rows, columns,
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, std::size_t c) {
        return y[r * columns + c] * v[r * columns + c];
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, T dot) { dots[r] = dot; });
  cuda::for_each_index(rows * columns, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    z[i] = y[i] * (v[i] - dots[i / by]);
  });
}

}  // namespace meanflow::kernels
