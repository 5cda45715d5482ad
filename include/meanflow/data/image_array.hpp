// SPDX-License-Identifier: MIT
/// \file
/// Pictures, and their labels, from NPY files.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <meanflow/data/image_set.hpp>
#include <meanflow/error.hpp>
#include <meanflow/io/file.hpp>
#include <meanflow/io/image.hpp>
#include <meanflow/io/npy.hpp>

namespace meanflow {

namespace detail {

inline std::string npy_shape_text(const std::vector<std::size_t>& shape) {
  std::string text = "(";
  for (const std::size_t extent : shape) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  }
  return text + ")";
}

inline std::string npy_type_text(const NpyHeader& header) {
  return "elements of type '" + std::string(1, header.kind) + std::to_string(header.width) + "'";
}

/// Sets the extents of the set to those of the array: (N, H, W, C), or (N, H, W) for one channel.
inline void take_shape(const std::filesystem::path& path, const std::vector<std::size_t>& shape,
                       ImageSet& set) {
  const std::size_t rank = shape.size();
  const bool empty = std::ranges::find(shape, 0U) != shape.end();
  const bool fits = !empty && (rank == 3 || (rank == 4 && (shape[3] == 1 || shape[3] == 3)));
  if (!fits) {
    throw FileError(quoted(path) + " holds an array of shape " + npy_shape_text(shape) +
                    ", where pictures (N, H, W) or (N, H, W, C) with 1 or 3 channels C and no "
                    "extent of 0 are expected.");
  }
  set.count = shape[0];
  set.height = shape[1];
  set.width = shape[2];
  set.channels = rank == 4 ? shape[3] : 1;
}

/// The bytes for values of [-1, 1].
inline std::vector<std::uint8_t> pixels_from_units(const std::filesystem::path& path,
                                                   const std::vector<float>& values) {
  const auto fits = [](float value) { return value >= -1 && value <= 1; };
  if (!std::ranges::all_of(values, fits)) {
    const auto is_nan = [](float value) { return std::isnan(value); };
    const bool no_number = std::ranges::any_of(values, is_nan);
    const auto [least, greatest] = std::ranges::minmax_element(values);
    throw FileError(
        quoted(path) + " holds " +
        (no_number ? std::string("values that are NaN")
                   : "values from " + std::to_string(*least) + " to " + std::to_string(*greatest)) +
        ", where floats are expected to lie in [-1, 1].");
  }
  std::vector<std::uint8_t> pixels(values.size());
  std::ranges::transform(values, pixels.begin(), pixel_from_unit);
  return pixels;
}

/// Reads the labels (N) of a set; its classes are those up to the highest label.
inline void take_labels(const std::filesystem::path& path, ImageSet& set) {
  const NpyHeader header = read_npy_header(FileReader(path));
  if ((header.kind != 'i' && header.kind != 'u') || header.shape != std::vector{set.count}) {
    throw FileError(quoted(path) + " holds " + npy_type_text(header) + " of shape " +
                    npy_shape_text(header.shape) + ", where an integer label for each of " +
                    std::to_string(set.count) + " pictures is expected.");
  }
  set.labels = load_npy<std::int32_t>(path).values;
  const auto negative = std::ranges::find_if(set.labels, [](std::int32_t x) { return x < 0; });
  if (negative != set.labels.end()) {
    throw FileError(quoted(path) + " holds the label " + std::to_string(*negative) + " at " +
                    std::to_string(negative - set.labels.begin()) +
                    " (counted from 0), where labels are 0 or more.");
  }
  set.classes = static_cast<std::size_t>(std::ranges::max(set.labels)) + 1;
}

}  // namespace detail

/// Reads pictures from an NPY file, channels last: (N, H, W, 1 or 3), or (N, H, W) for grey ones.
/// Bytes (uint8) are taken as they are; floats must lie in [-1, 1] and are rounded to 256 steps
/// (`pixel_from_unit`). Pictures in [0, 1] cannot be told from those: scale them by 2 x - 1 first.
/// \param labels  an NPY file of N integers of at least 0; without one, the set has no labels
/// \return the pictures; `classes` is the highest label plus 1
/// Throws FileError if a file is unusable (`load_npy`), of another shape or type, a float is
///   outside of [-1, 1], or a label is negative or does not fit 32 bits.
[[nodiscard]] inline ImageSet load_image_array(
    const std::filesystem::path& images,
    const std::optional<std::filesystem::path>& labels = std::nullopt) {
  const detail::NpyHeader header = detail::read_npy_header(FileReader(images));
  const bool bytes = header.kind == 'u' && header.width == 1;
  if (!bytes && header.kind != 'f') {
    throw FileError(detail::quoted(images) + " holds " + detail::npy_type_text(header) +
                    ", where pictures of uint8 or of floats in [-1, 1] are expected.");
  }
  ImageSet set;
  detail::take_shape(images, header.shape, set);
  set.pixels = bytes ? load_npy<std::uint8_t>(images).values
                     : detail::pixels_from_units(images, load_npy<float>(images).values);
  if (labels) detail::take_labels(*labels, set);
  return set;
}

}  // namespace meanflow
