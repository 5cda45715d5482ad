// SPDX-License-Identifier: MIT
/// \file
/// The extents of a 2-D convolution.
#pragma once

#include <cstddef>

#include <meanflow/config.hpp>

namespace meanflow {

/// A number for each of the two axes of an image; one number is meant for both.
struct HeightWidth {
  std::size_t height = 0, width = 0;

  constexpr HeightWidth() = default;
  MEANFLOW_HOST_DEVICE constexpr HeightWidth(std::size_t both) : height(both), width(both) {}
  MEANFLOW_HOST_DEVICE constexpr HeightWidth(std::size_t h, std::size_t w) : height(h), width(w) {}

  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr std::size_t size() const { return height * width; }
  friend MEANFLOW_HOST_DEVICE constexpr bool operator==(const HeightWidth&,
                                                        const HeightWidth&) = default;
};

/// x (rows, height, width, in) and weights (out, in, kernel height, kernel width) give y (rows,
/// out_height(), out_width(), out); `padding` zeros above and below, and on the left and the right.
struct ConvShape {
  std::size_t rows, height, width, in, out;
  HeightWidth kernel;
  std::size_t stride;
  HeightWidth padding;

  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr std::size_t out_height() const {
    return (height + 2 * padding.height - kernel.height) / stride + 1;
  }
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr std::size_t out_width() const {
    return (width + 2 * padding.width - kernel.width) / stride + 1;
  }
  [[nodiscard]] constexpr ConvShape with_rows(std::size_t count) const {
    ConvShape other = *this;
    other.rows = count;
    return other;
  }
  friend constexpr bool operator==(const ConvShape&, const ConvShape&) = default;
};

}  // namespace meanflow
