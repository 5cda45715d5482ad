// SPDX-License-Identifier: MIT
/// \file
/// Sinusoids of every device: embeddings of times.
#pragma once

#include <cstddef>

#include <meanflow/kernels/element.hpp>

namespace meanflow::kernels {

namespace detail {

/// Where the halves of a row of `y` begin.
struct SinusoidHalves {
  std::size_t half;
  bool sines_first;
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t cosines(std::size_t row) const {
    return row * 2 * half + (sines_first ? half : 0);
  }
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t sines(std::size_t row) const {
    return row * 2 * half + (sines_first ? 0 : half);
  }
};

template <class T>
struct Sinusoid {
  using value_type = T;
  SinusoidHalves halves;
  std::size_t rows, tangent_rows;
  const T *frequencies, *x;
  T* y;

  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At /*at*/, At column) const {
    const auto frequency = column.load(frequencies);
    using V = decltype(column.load(frequencies));
    const auto [sine, cosine] = sine_and_cosine(V(x[row] * frequency));
    column.store(y + halves.cosines(row), cosine);
    column.store(y + halves.sines(row), sine);
    if (row >= tangent_rows) return;
    const V angle_tangent = frequency * x[rows + row];
    column.store(y + halves.cosines(rows + row), V(-sine * angle_tangent));
    column.store(y + halves.sines(rows + row), V(cosine * angle_tangent));
  }
};

template <class T>
struct SinusoidBackward {
  using value_type = T;
  static constexpr std::size_t sums = 1;
  SinusoidHalves halves;
  const T *frequencies, *y, *g;
  T* gx;

  template <class At>
  [[nodiscard]] MEANFLOW_HOST_DEVICE auto term(std::size_t row, At /*at*/, At column) const {
    const std::size_t c = halves.cosines(row), s = halves.sines(row);
    const auto slope = column.load(frequencies) * (column.load(y + c) * column.load(g + s) -
                                                   column.load(y + s) * column.load(g + c));
    return Sums<decltype(column.load(y)), 1>{slope};
  }
  MEANFLOW_HOST_DEVICE void finish(std::size_t row, const Sums<T, 1>& sum) const {
    gx[row] += sum.of[0];
  }
};

}  // namespace detail

/// y[r] = [cos(x f_0), ..., cos(x f_h), sin(x f_0), ..., sin(x f_h)], or sines first, with x =
/// x[r]. The tangents of the first `tangent_rows` rows follow in x and in y.
template <class Device, class T>
void sinusoid(Device device, std::size_t rows, std::size_t tangent_rows, std::size_t half,
              const T* frequencies, bool sines_first, const T* x, T* y) {
  for_each_in_rows(device, rows, half,
                   detail::Sinusoid<T>{{half, sines_first}, rows, tangent_rows, frequencies, x, y});
}

/// gx[r] += sum over i of f_i (cos(x f_i) g_sin - sin(x f_i) g_cos), from the values y of
/// `sinusoid`.
template <class Device, class T>
void sinusoid_backward(Device device, std::size_t rows, std::size_t half, const T* frequencies,
                       bool sines_first, const T* y, const T* g, T* gx) {
  reduce_rows(device, rows, half,
              detail::SinusoidBackward<T>{{half, sines_first}, frequencies, y, g, gx});
}

}  // namespace meanflow::kernels
