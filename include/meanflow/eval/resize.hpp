// SPDX-License-Identifier: MIT
/// \file
/// Images at another size, as published distances compute it.
#pragma once

#include <algorithm>
#include <cstddef>

#include <meanflow/kernels/cpu/threads.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Images (B, H, W, C) to (B, height, width, C), between neighbours in proportion to their
/// distance, where pixel i of the result lies at i H / height: neither corners nor centres of
/// pixels are aligned, as in TensorFlow 1, whose resizing published values of the FID rest on.
[[nodiscard]] inline Tensor<float> resize_bilinear_tf1(const Tensor<float>& images,
                                                       std::size_t height, std::size_t width) {
  const Shape s = images.shape();  // (B, H, W, C)
  if (s.rank() != 4 || s[1] == 0 || s[2] == 0)
    throw ShapeError("resize_bilinear_tf1: shape " + to_string(s) +
                     ", but must be (B, H, W, C) of at least one pixel");
  struct Between {
    std::size_t first, second;
    float share;  // of the second
  };
  const auto between = [](std::size_t i, std::size_t from, std::size_t to) -> Between {
    const float at = static_cast<float>(i) * (static_cast<float>(from) / static_cast<float>(to));
    const auto first = std::min(static_cast<std::size_t>(at), from - 1);
    return {first, std::min(first + 1, from - 1), at - static_cast<float>(first)};
  };
  Tensor<float> result({s[0], height, width, s[3]});
  const std::size_t channels = s[3], line = s[2] * channels;
  kernels::parallel_for(kernels::Cpu{}, s[0] * height, 8, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      const Between down = between(row % height, s[1], height);
      const float* image = images.row(row / height);
      const float *above = image + down.first * line, *below = image + down.second * line;
      float* out = result.data() + row * width * channels;
      for (std::size_t x = 0; x < width; ++x) {
        const Between right = between(x, s[2], width);
        for (std::size_t c = 0; c < channels; ++c) {
          const std::size_t l = right.first * channels + c, r = right.second * channels + c;
          const float top = above[l] + (above[r] - above[l]) * right.share;
          const float bottom = below[l] + (below[r] - below[l]) * right.share;
          out[x * channels + c] = top + (bottom - top) * down.share;
        }
      }
    }
  });
  return result;
}

}  // namespace meanflow
