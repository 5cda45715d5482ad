// SPDX-License-Identifier: MIT
/// \file
/// Sums, softmax and embeddings of rows. `kernels/reference.hpp` says what each computes.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>

#include <meanflow/kernels/cuda/elementwise.hpp>

namespace meanflow::kernels {

template <class T>
void sum_rows(Cuda, std::size_t rows, std::size_t columns, T scale, const T* x, T* y) {
  cuda::reduce_rows<T>(
      rows, columns,
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, std::size_t c) { return x[r * columns + c]; },
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, T sum) { y[r] = scale * sum; });
}

template <class T>
void add_to_rows(Cuda, std::size_t rows, std::size_t columns, T scale, const T* g, T* gx) {
  const cuda::Divisor by(columns);
  cuda::for_each_index(rows * columns,
                       [=] MEANFLOW_HOST_DEVICE(std::size_t i) { gx[i] += scale * g[i / by]; });
}

/// *square = sum of x^2, in double, on the device. In two stages, so that all of it takes part.
template <class T>
void squared_norm(Cuda, std::size_t n, const T* x, double* square) {
  constexpr std::size_t most = 1024;
  const std::size_t parts = n < most ? 1 : most, each = (n + parts - 1) / parts;
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
  meanflow::detail::DeviceMemory<Cuda>::to_host(sizeof value, square.data(), &value);
  return value;
}

// ------------------------------------------------------------------ softmax, embeddings

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

template <class T>
void sinusoid(Cuda, std::size_t rows, std::size_t tangent_rows, std::size_t half,
              const T* frequencies, bool sines_first, const T* x, T* y) {
  cuda::for_each_index(rows * half, [=] MEANFLOW_HOST_DEVICE(std::size_t index) {
    using std::cos;
    using std::sin;
    const std::size_t r = index / half, i = index % half;
    T* cosines = y + r * 2 * half + (sines_first ? half : 0);
    T* sines = y + r * 2 * half + (sines_first ? 0 : half);
    const T c = cos(x[r] * frequencies[i]), s = sin(x[r] * frequencies[i]);
    cosines[i] = c;
    sines[i] = s;
    if (r >= tangent_rows) return;
    const T angle_tangent = frequencies[i] * x[rows + r];
    cosines[rows * 2 * half + i] = -s * angle_tangent;
    sines[rows * 2 * half + i] = c * angle_tangent;
  });
}

template <class T>
void sinusoid_backward(Cuda, std::size_t rows, std::size_t half, const T* frequencies,
                       bool sines_first, const T* y, const T* g, T* gx) {
  cuda::reduce_rows<T>(
      rows, half,
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, std::size_t i) {
        const std::size_t c = r * 2 * half + (sines_first ? half : 0) + i;
        const std::size_t s = r * 2 * half + (sines_first ? 0 : half) + i;
        return frequencies[i] * (y[c] * g[s] - y[s] * g[c]);
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, T sum) { gx[r] += sum; });
}

}  // namespace meanflow::kernels
