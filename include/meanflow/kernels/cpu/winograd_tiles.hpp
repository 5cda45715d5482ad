// SPDX-License-Identifier: MIT
/// \file
/// The tiles of images in Winograd's algorithm: where they lie, and what they become at the 36
/// points and back.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include <meanflow/kernels/conv_shape.hpp>
#include <meanflow/kernels/cpu/simd.hpp>
#include <meanflow/kernels/cpu/winograd_transforms.hpp>

namespace meanflow::kernels::detail::winograd {

/// Lines of a cache, of 16 floats each.
struct Lines {
  const float* first = nullptr;
  std::size_t count = 0;

  /// Part number `index` of `parts`.
  [[nodiscard]] Lines part(std::size_t index, std::size_t parts) const {
    const std::size_t begin = count * index / parts;
    return {first + 16 * begin, count * (index + 1) / parts - begin};
  }
};

/// An odd number of cache lines, so that rows do not compete for the same places in a cache.
[[nodiscard]] inline std::size_t padded(std::size_t n) { return (n + 31) / 32 * 32 + 16; }

/// The tiles of 4 x 4 pixels of the result, in the order of the rows and then of the pixels; those
/// at the right and at the bottom may reach beyond it.
struct Tiles {
  std::size_t height, width;  ///< of what is read
  HeightWidth padding;
  std::size_t out_height, out_width;  ///< of what is written
  std::size_t down, across, count;

  explicit Tiles(const ConvShape& s)
      : height(s.height),
        width(s.width),
        padding(s.padding),
        out_height(s.out_height()),
        out_width(s.out_width()),
        down((out_height + out_side - 1) / out_side),
        across((out_width + out_side - 1) / out_side),
        count(s.rows * down * across) {}

  struct Place {
    std::size_t row, y, x;
  };
  /// The lines of the images x that tiles are made of, and a few more.
  [[nodiscard]] Lines pixels(std::size_t first, std::size_t number, std::size_t channels,
                             const float* x) const {
    return lines(first, number, height * width * channels, width * channels, in_side, x);
  }
  /// The lines of the images y that tiles become, and a few more.
  [[nodiscard]] Lines results(std::size_t first, std::size_t number, std::size_t channels,
                              const float* y) const {
    return lines(first, number, out_height * out_width * channels, out_width * channels, out_side,
                 y);
  }
  [[nodiscard]] Place place(std::size_t tile) const {
    return {tile / (down * across), tile / across % down * out_side, tile % across * out_side};
  }

 private:
  [[nodiscard]] Lines lines(std::size_t first, std::size_t number, std::size_t image,
                            std::size_t row, std::size_t side, const float* data) const {
    const std::size_t last = std::min(first + number, count);
    if (first >= last) return {};
    const Place from = place(first), to = place(last - 1);
    const std::size_t begin = from.row * image + std::min(from.y * row, image);
    const std::size_t end = to.row * image + std::min((to.y + side) * row, image);
    return {data + begin, end > begin ? (end - begin) / 16 : 0};
  }
};

/// B^T d B of one tile, in all channels: to[point * stride + channel].
inline void transform_input(const Tiles& tiles, std::size_t tile, std::size_t channels,
                            const float* x, float* to, std::size_t stride) {
  using Batch = xsimd::batch<float>;
  const Tiles::Place at = tiles.place(tile);
  const float* const image = x + at.row * tiles.height * tiles.width * channels;
  std::array<const float*, points> pixels;
  for (std::size_t i = 0; i < in_side; ++i)
    for (std::size_t j = 0; j < in_side; ++j) {
      const std::size_t y = at.y + i - tiles.padding.height, x_ = at.x + j - tiles.padding.width;
      pixels[i * in_side + j] = y < tiles.height && x_ < tiles.width
                                    ? image + (y * tiles.width + x_) * channels
                                    : nullptr;
    }
  for_each_batch<float>(0, channels, [&](auto lanes, std::size_t c) {
    both_ways<Input, Batch>(
        [&](std::size_t i, std::size_t j) {
          const float* const pixel = pixels[i * in_side + j];
          return pixel ? lanes.load(pixel + c) : Batch(0.0F);
        },
        [&](std::size_t i, std::size_t j, const Batch& value) {
          lanes.store(to + (i * in_side + j) * stride + c, value);
        });
  });
}

/// A y A^T of one tile, in all channels: to[point * stride + channel].
inline void transform_output_adjoint(const Tiles& tiles, std::size_t tile, std::size_t channels,
                                     const float* y, float* to, std::size_t stride) {
  using Batch = xsimd::batch<float>;
  const Tiles::Place at = tiles.place(tile);
  const float* const image = y + at.row * tiles.out_height * tiles.out_width * channels;
  for_each_batch<float>(0, channels, [&](auto lanes, std::size_t c) {
    both_ways<OutputAdjoint, Batch>(
        [&](std::size_t i, std::size_t j) {
          if (at.y + i >= tiles.out_height || at.x + j >= tiles.out_width) return Batch(0.0F);
          return lanes.load(image + ((at.y + i) * tiles.out_width + at.x + j) * channels + c);
        },
        [&](std::size_t i, std::size_t j, const Batch& value) {
          lanes.store(to + (i * in_side + j) * stride + c, value);
        });
  });
}

/// What is added to each pixel of the first rows.
struct Bias {
  const float* data = nullptr;
  std::size_t rows = 0;
};

/// A^T m A and the bias of one tile, in `columns` channels from number `first` on of `channels`.
inline void transform_output(const Tiles& tiles, std::size_t tile, const float* m,
                             std::size_t stride, std::size_t channels, std::size_t first,
                             std::size_t columns, const Bias& bias, float* y) {
  using Batch = xsimd::batch<float>;
  const Tiles::Place at = tiles.place(tile);
  float* const image = y + at.row * tiles.out_height * tiles.out_width * channels + first;
  const bool biased = at.row < bias.rows;
  for_each_batch<float>(0, columns, [&](auto lanes, std::size_t c) {
    const Batch added = biased ? lanes.load(bias.data + first + c) : Batch(0.0F);
    both_ways<Output, Batch>(
        [&](std::size_t i, std::size_t j) {
          return FullLanes<float>{}.load(m + (i * in_side + j) * stride + c);
        },
        [&](std::size_t i, std::size_t j, const Batch& value) {
          if (at.y + i < tiles.out_height && at.x + j < tiles.out_width)
            lanes.store(image + ((at.y + i) * tiles.out_width + at.x + j) * channels + c,
                        value + added);
        });
  });
}

}  // namespace meanflow::kernels::detail::winograd
