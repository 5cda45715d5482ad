// SPDX-License-Identifier: MIT
/// \file
/// Points of the plane as a picture.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/io/image.hpp>

namespace meanflow {

struct ScatterOptions {
  std::size_t side = 600;  ///< of the picture, in pixels
  double reach = 0;        ///< the picture shows [-reach, reach] in both directions; 0: all points
  double radius = 1.6;     ///< of a point, in pixels
  double opacity = 0.5;    ///< in (0, 1]; where points overlap it is darker
  std::array<std::uint8_t, 3> colour{26, 89, 179};
};

namespace detail {

/// Blends one disc into a picture (side, side, 3).
inline void draw_disc(std::vector<float>& pixels, std::size_t side, double x, double y,
                      const ScatterOptions& options) {
  const double extent = options.radius + 1;
  const auto first = [](double from) {
    return static_cast<std::size_t>(std::max(0.0, std::floor(from)));
  };
  const auto last = [&](double to) {
    return static_cast<std::size_t>(std::clamp(std::ceil(to), 0.0, static_cast<double>(side)));
  };
  for (std::size_t row = first(y - extent); row < last(y + extent); ++row)
    for (std::size_t column = first(x - extent); column < last(x + extent); ++column) {
      const double distance =
          std::hypot(static_cast<double>(column) + 0.5 - x, static_cast<double>(row) + 0.5 - y);
      const double covered = std::clamp(options.radius + 0.5 - distance, 0.0, 1.0);
      const float share = static_cast<float>(options.opacity * covered);
      for (std::size_t c = 0; c < 3; ++c) {
        float& pixel = pixels[(row * side + column) * 3 + c];
        pixel += share * (static_cast<float>(options.colour[c]) - pixel);
      }
    }
}

}  // namespace detail

/// Draws points (N, 2), x to the right and y upwards, as discs on white. Points outside the picture
/// and points that are not finite are left out.
/// Throws ShapeError if the number of values is odd, SettingError if an option is out of range.
[[nodiscard]] inline Image draw_scatter(std::span<const float> points,
                                        const ScatterOptions& options = {}) {
  if (points.size() % 2 != 0)
    throw ShapeError("draw_scatter: " + std::to_string(points.size()) +
                     " values are not a whole number of points of 2");
  if (options.side == 0 || options.side > detail::longest_image_side || !(options.reach >= 0) ||
      !(options.radius > 0) || !(options.opacity > 0 && options.opacity <= 1))
    throw SettingError(
        "draw_scatter: side must be in [1, 65536], reach at least 0, radius greater than 0, and "
        "opacity in (0, 1]");
  double reach = options.reach;
  if (reach == 0) {
    for (const float value : points)
      if (std::isfinite(value)) reach = std::max(reach, 1.05 * std::abs(double(value)));
    if (reach == 0) reach = 1;
  }
  const double side = static_cast<double>(options.side);
  std::vector<float> pixels(options.side * options.side * 3, 255);
  for (std::size_t i = 0; i < points.size(); i += 2) {
    const double x = side * (0.5 + 0.5 * double(points[i]) / reach);
    const double y = side * (0.5 - 0.5 * double(points[i + 1]) / reach);
    if (std::isfinite(x) && std::isfinite(y) && std::abs(x) < 2 * side && std::abs(y) < 2 * side)
      detail::draw_disc(pixels, options.side, x, y, options);
  }
  Image image{options.side, options.side, 3, {}};
  image.pixels.reserve(pixels.size());
  for (const float pixel : pixels)
    image.pixels.push_back(static_cast<std::uint8_t>(std::lround(pixel)));
  return image;
}

/// Writes the picture of `draw_scatter` as a PNG file. Throws FileError if it cannot be written.
inline void save_scatter(const std::filesystem::path& path, std::span<const float> points,
                         const ScatterOptions& options = {}) {
  save_png(path, draw_scatter(points, options));
}

}  // namespace meanflow
