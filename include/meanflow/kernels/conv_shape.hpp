// SPDX-License-Identifier: MIT
/// \file
/// The extents of a 2-D convolution.
#pragma once

#include <cstddef>

#include <meanflow/config.hpp>

namespace meanflow {

/// x (rows, height, width, in) and weights (out, in, kernel, kernel) give y (rows, out_height(),
/// out_width(), out); `padding` zeros on every side.
struct ConvShape {
  std::size_t rows, height, width, in, out, kernel, stride, padding;

  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr std::size_t out_height() const {
    return (height + 2 * padding - kernel) / stride + 1;
  }
  [[nodiscard]] MEANFLOW_HOST_DEVICE constexpr std::size_t out_width() const {
    return (width + 2 * padding - kernel) / stride + 1;
  }
  [[nodiscard]] constexpr ConvShape with_rows(std::size_t count) const {
    ConvShape other = *this;
    other.rows = count;
    return other;
  }
  friend constexpr bool operator==(const ConvShape&, const ConvShape&) = default;
};

}  // namespace meanflow
