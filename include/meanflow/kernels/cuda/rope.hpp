// SPDX-License-Identifier: MIT
/// \file
/// Rotary embeddings. `kernels/rope.hpp` says what they compute.
#pragma once

#include <cstddef>
#include <cstdint>

#include <meanflow/kernels/cuda/divisor.hpp>
#include <meanflow/kernels/cuda/lanes.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/cuda/shapes.hpp>
#include <meanflow/kernels/cuda/tag.hpp>
#include <meanflow/kernels/rope.hpp>

namespace meanflow::kernels {

namespace cuda {

/// Two neighbouring pairs of a head.
template <class T>
struct RotateTwoPairs {
  static constexpr std::size_t pairs = 2;
  Divisor by_twos, by_heads, by_tokens;
  std::size_t half;
  T sign;
  const T *cosines, *sines, *x;
  T* y;

  MEANFLOW_HOST_DEVICE void operator()(std::uint32_t i) const {
    const std::uint32_t head = i / by_twos, token = head / by_heads % by_tokens;
    const std::size_t angles = token * half + pairs * (i % by_twos);
    const auto cosine = load_lanes<pairs>(cosines + angles);
    const auto sine = load_lanes<pairs>(sines + angles);
    const std::size_t at = 2 * pairs * std::size_t{i};
    const auto in = load_lanes<2 * pairs>(x + at);
    Lanes<T, 2 * pairs> out;
    for (std::size_t k = 0; k < pairs; ++k) {
      const T a = in.of[2 * k], b = in.of[2 * k + 1], s = sign * sine.of[k];
      out.of[2 * k] = a * cosine.of[k] - b * s;
      out.of[2 * k + 1] = a * s + b * cosine.of[k];
    }
    store_lanes(y + at, out);
  }
};

}  // namespace cuda

template <class T>
void rope(Cuda, std::size_t rows, std::size_t tokens, std::size_t heads, std::size_t half, T sign,
          const T* cosines, const T* sines, const T* x, T* y) {
  using Two = cuda::RotateTwoPairs<T>;
  const std::size_t row = tokens * heads * 2 * half;
  if (row == 0) return;
  if (half % Two::pairs != 0)
    return cuda::for_each_index(
        rows * row / 2, detail::Rotate<T>{tokens, heads, half, 1, sign, cosines, sines, x, y},
        2 * rows * row * sizeof(T));
  const std::size_t each = row / (2 * Two::pairs);
  cuda::for_each_launch(rows, each, [&](std::size_t first, std::size_t count) {
    cuda::for_each_item(
        count * each, count * row, 2 * count * row * sizeof(T),
        Two{cuda::Divisor(half / Two::pairs), cuda::Divisor(heads), cuda::Divisor(tokens), half,
            sign, cosines, sines, x + first * row, y + first * row});
  });
}

}  // namespace meanflow::kernels
