// SPDX-License-Identifier: MIT
/// \file
/// Convolutions of 3 x 3 with stride 1 by Winograd's algorithm on the processor. What tiles of
/// pixels and weights become at one of the 36 points are matrices over channels, and the products
/// of a point, of several tiles and all channels, are a product of these matrices.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include <unistd.h>

#include <meanflow/kernels/conv_shape.hpp>
#include <meanflow/kernels/cpu/simd.hpp>
#include <meanflow/kernels/cpu/small_product.hpp>
#include <meanflow/kernels/cpu/threads.hpp>
#include <meanflow/kernels/cpu/transposition.hpp>
#include <meanflow/kernels/cpu/winograd_tiles.hpp>
#include <meanflow/kernels/cpu/winograd_transforms.hpp>
#include <meanflow/kernels/scratch.hpp>

namespace meanflow::kernels::detail::winograd {

/// What a product has in registers: rows of tiles by two vectors of channels, so that weights,
/// which come from the second cache, are read once for as many rows as there is room for.
inline constexpr std::size_t width = FullLanes<float>::count, vectors = 2, panel = vectors * width,
                             rows_at_once = width == 16 ? 12 : block_rows;

/// The 3 x 3 taps from some input channels to a vector of output channels.
struct Taps {
  static constexpr std::size_t most = 8;  ///< input channels
  alignas(64) float values[most][9][width];
};

/// What is brought into the second cache during a product, a line of each in every step of its
/// depth: what is to be read next, and what is to be written.
struct FetchAhead {
  std::size_t depth;
  Lines weights{}, pixels{}, results{};

  void operator()(std::size_t row, std::size_t k) const {
    const std::size_t step = row / rows_at_once * depth + k;
    if (step < weights.count) __builtin_prefetch(weights.first + 16 * step, 0, 2);
    if (step < pixels.count) __builtin_prefetch(pixels.first + 16 * step, 0, 2);
    if (step < results.count) __builtin_prefetch(results.first + 16 * step, 1, 2);
  }
};

/// c (rows, panel) = a (rows, depth) b (depth, panel), added to c if `add`.
inline void product(std::size_t rows, std::size_t depth, const MatrixView<float>& a, const float* b,
                    std::size_t b_row, bool add, float* c, std::size_t c_row,
                    const FetchAhead& ahead) {
  product_columns<vectors, rows_at_once>(FullLanes<float>{}, rows, depth, a, b, b_row, 1.0F, add, c,
                                         c_row, ahead);
}

/// The numbers of a matrix (depth, panel) and of the line of cache behind it, without which those
/// of all points would compete for the same places.
[[nodiscard]] inline std::size_t matrix_size(std::size_t depth) { return depth * panel + 16; }

/// Weights of 3 x 3 taps from `in` channels to `out`, and how they lie in memory.
struct Weights {
  const float* data;
  std::size_t out, in, out_stride, in_stride;
  bool turned;  ///< by half a circle

  [[nodiscard]] const float* taps(std::size_t o, std::size_t i) const {
    return data + o * out_stride + i * in_stride;
  }
  [[nodiscard]] std::size_t panels() const { return (out + panel - 1) / panel; }
};

/// The taps to a vector of output channels from number `o` on, zeros beyond the last one.
inline void collect(const Weights& weights, std::size_t o, std::size_t i, std::size_t count,
                    Taps& taps) {
  const std::size_t lanes = std::min(width, weights.out - std::min(o, weights.out));
  if (lanes < width) taps = {};
  const std::size_t together = weights.in_stride == 9 ? count : 1;
  for (std::size_t n = 0; n < count; n += together)
    transpose(lanes, 9 * together, weights.taps(o, i + n), weights.out_stride, taps.values[n][0],
              width);
}

/// G g G^T of one panel and the input channels from `first` to `last`: packed[point * stride + (in,
/// column of the panel)], zeros beyond the last output channel.
inline void pack_panel(const Weights& weights, std::size_t number, std::size_t first,
                       std::size_t last, float* packed, std::size_t stride) {
  using Batch = xsimd::batch<float>;
  Taps taps;
  for (std::size_t i = first; i < last; i += Taps::most)
    for (std::size_t column = 0; column < panel; column += width) {
      const std::size_t count = std::min(Taps::most, last - i);
      collect(weights, number * panel + column, i, count, taps);
      for (std::size_t n = 0; n < count; ++n)
        both_ways<Filter, Batch>(
            [&](std::size_t y, std::size_t x) {
              const std::size_t tap = 3 * y + x;
              return xsimd::load_aligned(taps.values[n][weights.turned ? 8 - tap : tap]);
            },
            [&](std::size_t y, std::size_t x, const Batch& value) {
              float* const to = packed + (y * in_side + x) * stride + (i + n) * panel + column;
              value.store_unaligned(to);
              __builtin_prefetch(to + 4 * panel, 1);
            });
    }
}

/// A core's second cache in bytes.
[[nodiscard]] inline std::size_t second_cache() {
  static const std::size_t size = [] {
#ifdef _SC_LEVEL2_CACHE_SIZE
    if (const long asked = sysconf(_SC_LEVEL2_CACHE_SIZE); asked > 0)
      return static_cast<std::size_t>(asked);
#endif
    return std::size_t{1} << 20;
  }();
  return size;
}

/// Memory for 36 matrices or more, which are written and read side by side: at least a huge page,
/// so that the processor does not look up an address for each.
[[nodiscard]] inline Scratch<float> workspace(std::size_t size) {
  return Scratch<float>(std::max(size, meanflow::detail::huge_page / sizeof(float)));
}

/// Tiles that are brought to the points and multiplied together: values[point][tile][channel].
struct Block {
  std::size_t first, count, channels;
  float* values;

  [[nodiscard]] static std::size_t size(std::size_t count, std::size_t channels) {
    return points * count * padded(channels);
  }
  [[nodiscard]] MatrixView<float> at(std::size_t point) const {
    return {values + point * count * padded(channels), padded(channels)};
  }
};

/// B^T d B of a block's tiles from `begin` to `end`.
inline void transform_input(const Tiles& tiles, const Block& block, std::size_t begin,
                            std::size_t end, const float* x) {
  const std::size_t row = padded(block.channels);
  for (std::size_t t = begin; t < end; ++t)
    transform_input(tiles, block.first + t, block.channels, x, block.values + t * row,
                    block.count * row);
}

/// The tiles of a convolution in blocks of at most `most`, all but the last of a size that the
/// products like; as many for each thread where there are enough.
struct Blocks {
  std::size_t tiles, largest, count;

  Blocks(std::size_t tiles, std::size_t most, std::size_t threads) : tiles(tiles) {
    const std::size_t even = tiles < threads * 2 * rows_at_once ? 1 : threads;
    const std::size_t rounds = (tiles + most * even - 1) / (most * even);
    const std::size_t each = (tiles + rounds * even - 1) / (rounds * even);
    largest = (each + rows_at_once - 1) / rows_at_once * rows_at_once;
    count = (tiles + largest - 1) / largest;
  }
  [[nodiscard]] Block block(std::size_t index, std::size_t channels, float* values) const {
    return {index * largest, std::min(largest, tiles - index * largest), channels, values};
  }
};

/// Each block passes over all weights: those that stay in the second cache leave room for a few
/// tiles beside them, and those that come from farther away serve many at a time.
[[nodiscard]] inline std::size_t tiles_at_once(std::size_t packed) {
  return packed * sizeof(float) <= second_cache() / 2 ? 24 : 72;
}

/// Many tiles: all weights are packed, and blocks of tiles come and go, each multiplied at one
/// point after the other.
inline void convolve_by_blocks(const Tiles& tiles, const Weights& weights, const float* x,
                               const Bias& bias, float* y) {
  const std::size_t in = weights.in, panels = weights.panels(), threads = workers(Cpu{});
  const std::size_t matrix = matrix_size(in);
  const Scratch<float> packed = workspace(points * panels * matrix);
  const std::size_t groups_of_inputs = (in + Taps::most - 1) / Taps::most;
  parallel_for(Cpu{}, panels * groups_of_inputs, 4, [&](std::size_t begin, std::size_t end) {
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t number = task / groups_of_inputs;
      const std::size_t first = task % groups_of_inputs * Taps::most;
      pack_panel(weights, number, first, std::min(in, first + Taps::most),
                 packed.data() + number * matrix, panels * matrix);
    }
  });
  const Blocks blocks(tiles.count, tiles_at_once(points * panels * matrix), threads);
  // With fewer blocks than threads these share the panels, and each transforms the block's pixels.
  const std::size_t groups = std::min(panels, (threads + blocks.count - 1) / blocks.count);
  parallel_for(Cpu{}, blocks.count * groups, 1, [&](std::size_t begin, std::size_t end) {
    const std::size_t row = padded((panels + groups - 1) / groups * panel);
    const std::size_t size = Block::size(blocks.largest, in);
    const Scratch<float> values = workspace(size + points * blocks.largest * row);
    float* const products = values.data() + size;
    for (std::size_t task = begin; task < end; ++task) {
      const Block block = blocks.block(task / groups, in, values.data());
      const std::size_t first = panels * (task % groups) / groups;
      const std::size_t last = panels * (task % groups + 1) / groups;
      const std::size_t next = block.first + block.count;
      const Lines pixels = tiles.pixels(next, block.count, in, x);
      const Lines results = tiles.results(next, block.count, weights.out, y);
      transform_input(tiles, block, 0, block.count, x);
      for (std::size_t point = 0; point < points; ++point)
        for (std::size_t number = first; number < last; ++number) {
          const std::size_t index = point * panels + number;
          const float* const part = packed.data() + index * matrix;
          product(block.count, in, block.at(point), part, panel, false,
                  products + point * block.count * row + (number - first) * panel, row,
                  {.depth = in,
                   .weights = {part + matrix, matrix / 16},
                   .pixels = pixels.part(index, panels * points),
                   .results = results.part(index, panels * points)});
        }
      const std::size_t channel = first * panel;
      for (std::size_t t = 0; t < block.count; ++t)
        transform_output(tiles, block.first + t, products + t * row, block.count * row, weights.out,
                         channel, std::min(last * panel, weights.out) - channel, bias, y);
    }
  });
}

/// Few tiles: all are brought to the points, and panels of weights come and go, so that most of
/// what is packed never leaves the second cache.
inline void convolve_by_panels(const Tiles& tiles, const Weights& weights, const float* x,
                               const Bias& bias, float* y) {
  const std::size_t in = weights.in, panels = weights.panels(), threads = workers(Cpu{});
  const std::size_t matrix = matrix_size(in);
  const Blocks blocks(tiles.count, 72, threads);
  const Scratch<float> values = workspace(blocks.count * Block::size(blocks.largest, in));
  const auto block = [&](std::size_t index) {
    return blocks.block(index, in, values.data() + index * Block::size(blocks.largest, in));
  };
  parallel_for(Cpu{}, blocks.count, 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t index = first; index < last; ++index) {
      const Block here = block(index);
      transform_input(tiles, here, 0, here.count, x);
    }
  });
  parallel_for(Cpu{}, panels, 1, [&](std::size_t first, std::size_t last) {
    const std::size_t size = points * matrix;
    const Scratch<float> packed = workspace(size + points * blocks.largest * panel);
    float* const products = packed.data() + size;
    for (std::size_t number = first; number < last; ++number) {
      pack_panel(weights, number, 0, in, packed.data(), matrix);
      for (std::size_t index = 0; index < blocks.count; ++index) {
        const Block here = block(index);
        for (std::size_t point = 0; point < points; ++point)
          product(
              here.count, in, here.at(point), packed.data() + point * matrix, panel, false,
              products + point * here.count * panel, panel,
              {.depth = in, .weights = {here.at(point + 1).data, here.count * padded(in) / 16}});
        for (std::size_t t = 0; t < here.count; ++t)
          transform_output(tiles, here.first + t, products + t * panel, here.count * panel,
                           weights.out, number * panel,
                           std::min(panel, weights.out - number * panel), bias, y);
      }
    }
  });
}

/// y (rows, H', W', out) of the images x (rows, H, W, in).
inline void convolve(const ConvShape& s, const Weights& weights, const float* x, const Bias& bias,
                     float* y) {
  const Tiles tiles(s);
  if (tiles.count == 0) return;
  const std::size_t packed = points * weights.panels() * matrix_size(weights.in);
  const std::size_t values = Block::size(tiles.count, s.in);
  const bool few = packed * sizeof(float) > second_cache() / 2 && values <= packed + packed / 2;
  if (few)
    convolve_by_panels(tiles, weights, x, bias, y);
  else
    convolve_by_blocks(tiles, weights, x, bias, y);
}

/// Whether these extents are worth it: enough channels to fill vectors and a panel, and pixels to
/// fill tiles.
[[nodiscard]] inline bool suits(const ConvShape& s) {
  return s.kernel == 3 && s.stride == 1 && s.padding.height <= 2 && s.padding.width <= 2 &&
         s.in >= 32 && s.out >= 32 && s.out_height() >= out_side && s.out_width() >= out_side;
}

/// y (rows, H', W', out) of the images x (rows, H, W, in) and the weights w (out, in, 3, 3).
inline void forward(const ConvShape& s, const float* x, const float* w, const Bias& bias,
                    float* y) {
  convolve(s, {w, s.out, s.in, s.in * 9, 9, false}, x, bias, y);
}

/// The gradient gx by x of g, that by y: g convolved with the weights turned by half a circle, from
/// `out` channels to `in`.
inline void backward_data(const ConvShape& s, const float* g, const float* w, float* gx) {
  const HeightWidth border{s.kernel.height - 1 - s.padding.height,
                           s.kernel.width - 1 - s.padding.width};
  const ConvShape from_y{s.rows, s.out_height(), s.out_width(), s.out, s.in, s.kernel, 1, border};
  convolve(from_y, {w, s.in, s.out, 9, s.in * 9, true}, g, {}, gx);
}

/// gw += G^T m G of some channels of x, from `channel` on, and one panel of g:
/// m[point * stride + (channel, column of the panel)].
inline void add_filter_adjoint(const ConvShape& s, std::size_t number, std::size_t channel,
                               std::size_t count, const float* m, std::size_t stride, float* gw) {
  using Batch = xsimd::batch<float>;
  Taps taps;
  for (std::size_t column = 0; column < panel; column += width) {
    for (std::size_t n = 0; n < count; ++n)
      both_ways<FilterAdjoint, Batch>(
          [&](std::size_t y, std::size_t x) {
            return xsimd::load_unaligned(m + (y * in_side + x) * stride + (channel + n) * panel +
                                         column);
          },
          [&](std::size_t y, std::size_t x, const Batch& value) {
            value.store_aligned(taps.values[n][3 * y + x]);
          });
    const std::size_t o = number * panel + column;
    if (o < s.out)
      transpose<true>(9 * count, std::min(width, s.out - o), taps.values[0][0], width,
                      gw + (o * s.in + channel) * 9, s.in * 9);
  }
}

/// gw += the gradient by the weights (out, in, 3, 3), with g that of y. Sums over tiles are made in
/// the same order on any number of threads.
inline void accumulate_weights(const ConvShape& s, const float* x, const float* g, float* gw) {
  const Tiles tiles(s);
  if (tiles.count == 0) return;
  const std::size_t panels = (s.out + panel - 1) / panel;
  // Some tiles at a time, both ends are brought to the points and stay in the second cache while
  // their products are added to the sums of each point, (in, panel) for each panel.
  const std::size_t together = std::min<std::size_t>(tiles.count, 48);
  const std::size_t matrix = matrix_size(s.in), size = Block::size(together, s.in);
  const Scratch<float> inputs = workspace(size + Block::size(together, panels * panel));
  float* const gradients = inputs.data() + size;
  if (s.out % panel != 0)  // products read whole panels
    std::fill_n(gradients, Block::size(together, panels * panel), 0.0F);
  const Scratch<float> sums = workspace(points * panels * matrix);
  const std::size_t channels = 2 * rows_at_once, parts = (s.in + channels - 1) / channels;
  for (std::size_t first = 0; first < tiles.count; first += together) {
    const std::size_t count = std::min(together, tiles.count - first);
    const Block from{first, count, s.in, inputs.data()};
    const Block to{first, count, panels * panel, gradients};
    parallel_for(Cpu{}, count, 4, [&](std::size_t begin, std::size_t end) {
      const std::size_t row = padded(to.channels);
      transform_input(tiles, from, begin, end, x);
      for (std::size_t t = begin; t < end; ++t)
        transform_output_adjoint(tiles, first + t, s.out, g, to.values + t * row, count * row);
    });
    parallel_for(Cpu{}, points * panels * parts, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t task = begin; task < end; ++task) {
        const std::size_t c = task % parts * channels, number = task / parts % panels,
                          point = task / parts / panels;
        const MatrixView<float> a = from.at(point), b = to.at(point);
        float* const sum = sums.data() + (point * panels + number) * matrix + c * panel;
        product(std::min(channels, s.in - c), count,
                MatrixView<float>{a.data + c, a.row}.transposed(), b.data + number * panel, b.row,
                first > 0, sum, panel,
                {.depth = count, .weights = {sum + channels * panel, channels * panel / 16}});
      }
    });
  }
  const std::size_t groups = (s.in + Taps::most - 1) / Taps::most;
  parallel_for(Cpu{}, panels * groups, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t number = task / groups, channel = task % groups * Taps::most;
      add_filter_adjoint(s, number, channel, std::min(Taps::most, s.in - channel),
                         sums.data() + number * matrix, panels * matrix, gw);
    }
  });
}

}  // namespace meanflow::kernels::detail::winograd
