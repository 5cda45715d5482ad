// SPDX-License-Identifier: MIT
/// \file
/// Pictures of one size in memory, with or without classes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <meanflow/error.hpp>

namespace meanflow {

/// The value in [-1, 1] for a byte: pixel / 127.5 - 1. `pixel_from_unit` (io/image.hpp) is its
/// inverse.
[[nodiscard]] constexpr float unit_from_pixel(std::uint8_t pixel) {
  return static_cast<float>(pixel) / 127.5F - 1.0F;
}

/// N pictures of 8 bits per channel, all of one size.
struct ImageSet {
  std::size_t count = 0, height = 0, width = 0, channels = 0;
  std::vector<std::uint8_t> pixels;  // (N, H, W, C)
  std::vector<std::int32_t> labels;  // (N) or empty
  std::size_t classes = 0;           ///< labels are 0 .. classes - 1; 0 without labels

  /// Numbers per picture: H * W * C.
  [[nodiscard]] std::size_t image_size() const { return height * width * channels; }

  /// The bytes of picture `index`. // (H, W, C)
  [[nodiscard]] std::span<const std::uint8_t> image(std::size_t index) const {
    return std::span(pixels).subspan(index * image_size(), image_size());
  }

  /// Writes picture `index`, scaled to [-1, 1], to values (H, W, C).
  /// Throws ShapeError if there is no such picture or `values` is not of its size.
  void to_unit(std::size_t index, std::span<float> values) const {
    if (index >= count || values.size() != image_size()) {
      throw ShapeError("ImageSet::to_unit: picture " + std::to_string(index) + " into " +
                       std::to_string(values.size()) + " values, where the set has " +
                       std::to_string(count) + " pictures of " + std::to_string(image_size()) +
                       " values.");
    }
    const std::span<const std::uint8_t> bytes = image(index);
    for (std::size_t i = 0; i < bytes.size(); ++i) values[i] = unit_from_pixel(bytes[i]);
  }

  /// Throws ShapeError if the members do not fit together: an extent of 0, more or fewer bytes or
  ///   labels than pictures, or a label that is not one of the classes.
  void check() const {
    if (count == 0 || image_size() == 0 || pixels.size() != count * image_size()) {
      throw ShapeError("ImageSet: " + std::to_string(pixels.size()) + " bytes are not " +
                       std::to_string(count) + " pictures of " + std::to_string(height) + " x " +
                       std::to_string(width) + " x " + std::to_string(channels) +
                       " with extents of at least 1.");
    }
    if (!labels.empty() && labels.size() != count) {
      throw ShapeError("ImageSet: " + std::to_string(labels.size()) + " labels for " +
                       std::to_string(count) + " pictures.");
    }
    for (std::size_t i = 0; i < labels.size(); ++i) {
      if (labels[i] >= 0 && static_cast<std::size_t>(labels[i]) < classes) continue;
      throw ShapeError("ImageSet: picture " + std::to_string(i) + " has the label " +
                       std::to_string(labels[i]) + ", where 0 to " + std::to_string(classes) +
                       " - 1 is expected.");
    }
  }
};

}  // namespace meanflow
