// SPDX-License-Identifier: MIT
/// \file
/// Rotary embeddings of positions on every device.
#pragma once

#include <cstddef>

#include <meanflow/config.hpp>
#include <meanflow/tensor/device.hpp>

namespace meanflow::kernels {

namespace detail {

/// Pairs [i together, (i + 1) together) of (rows, tokens, heads, half) pairs. A processor takes a
/// head at a time, so that its loop becomes vectors; other devices a pair, so that neighbours read
/// neighbouring memory. A GPU has `kernels/cuda/rope.hpp` for even numbers of pairs.
template <class T>
struct Rotate {
  std::size_t tokens, heads, half, together;
  T sign;
  const T *cosines, *sines, *x;
  T* y;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t i) const {
    const std::size_t first = i * together, head = first / half, pair = first % half;
    const std::size_t angles = head / heads % tokens * half + pair;
    for (std::size_t k = 0; k < together; ++k) {
      const T cosine = cosines[angles + k], sine = sign * sines[angles + k];
      const T a = x[2 * (first + k)], b = x[2 * (first + k) + 1];
      y[2 * (first + k)] = a * cosine - b * sine;
      y[2 * (first + k) + 1] = a * sine + b * cosine;
    }
  }
};

}  // namespace detail

/// Rotates the pairs (x[2 i], x[2 i + 1]) of every head of x (rows, tokens, heads, 2 half) by the
/// angle of its token, or back for a `sign` of -1; cosines and sines (tokens, half).
template <class Device, class T>
void rope(Device device, std::size_t rows, std::size_t tokens, std::size_t heads, std::size_t half,
          T sign, const T* cosines, const T* sines, const T* x, T* y) {
  const std::size_t together = device_traits<Device>::on_host ? half : 1;
  const std::size_t n = half == 0 ? 0 : rows * tokens * heads * half / together;
  for_each_index(device, n,
                 detail::Rotate<T>{tokens, heads, half, together, sign, cosines, sines, x, y});
}

}  // namespace meanflow::kernels
