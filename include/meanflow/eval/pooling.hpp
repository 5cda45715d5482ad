// SPDX-License-Identifier: MIT
/// \file
/// Pooling of images by windows of 3 x 3, for nets that are evaluated and not trained here.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>

#include <meanflow/kernels/cpu/threads.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// What becomes of the pixels of a window. Those outside of the image are no part of it, so that an
/// average at a border is one of fewer pixels.
enum class Pooling { maximum, average };

/// x (B, H, W, C) to (B, (H + 2 padding - 3) / stride + 1, ..., C). Throws ShapeError if an image
/// is smaller than a window.
[[nodiscard]] inline Tensor<float> pool_3x3(const Tensor<float>& x, Pooling pooling,
                                            std::size_t stride, std::size_t padding) {
  constexpr std::size_t side = 3;
  const Shape s = x.shape();  // (B, H, W, C)
  if (stride == 0 || padding >= side)
    throw ShapeError("pool_3x3: stride " + std::to_string(stride) + " and padding " +
                     std::to_string(padding) + ", but they must be at least 1 and at most 2");
  if (s.rank() != 4 || std::min(s[1], s[2]) + 2 * padding < side)
    throw ShapeError("pool_3x3: shape " + to_string(s) + " is smaller than a window");
  const std::size_t height = (s[1] + 2 * padding - side) / stride + 1;
  const std::size_t width = (s[2] + 2 * padding - side) / stride + 1;
  const bool average = pooling == Pooling::average;
  Tensor<float> y({s[0], height, width, s[3]});
  kernels::parallel_for(kernels::Cpu{}, s[0] * height, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row)
      for (std::size_t ox = 0; ox < width; ++ox) {
        const auto range = [&](std::size_t at, std::size_t extent) {
          const std::size_t first = at * stride < padding ? 0 : at * stride - padding;
          return std::pair(first, std::min(at * stride + side - padding, extent));
        };
        const auto [top, bottom] = range(row % height, s[1]);
        const auto [left, right] = range(ox, s[2]);
        float* out = y.data() + (row * width + ox) * s[3];
        std::fill_n(out, s[3], average ? 0.0F : -std::numeric_limits<float>::infinity());
        for (std::size_t iy = top; iy < bottom; ++iy)
          for (std::size_t ix = left; ix < right; ++ix) {
            const float* in = x.row(row / height) + (iy * s[2] + ix) * s[3];
            for (std::size_t c = 0; c < s[3]; ++c)
              out[c] = average ? out[c] + in[c] : std::max(out[c], in[c]);
          }
        if (!average) continue;
        const float share = 1.0F / static_cast<float>((bottom - top) * (right - left));
        for (std::size_t c = 0; c < s[3]; ++c) out[c] *= share;
      }
  });
  return y;
}

}  // namespace meanflow
