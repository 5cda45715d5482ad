// SPDX-License-Identifier: MIT
/// \file
/// What the image nets require of their settings and of the images that they are given.
#pragma once

#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <string>

#include <meanflow/error.hpp>
#include <meanflow/tensor/shape.hpp>

namespace meanflow::detail {

struct NamedSize {
  const char* name;
  std::size_t value;
};

/// Throws SettingError, naming the net and the setting, if one of the sizes is 0.
inline void check_positive(const char* net, std::initializer_list<NamedSize> sizes) {
  for (const auto& [name, value] : sizes)
    if (value == 0)
      throw SettingError(std::string(net) + ": " + name + " is 0, but must be at least 1");
}

/// Throws SettingError, naming the net and the setting, unless the factor is finite and above 0.
inline void check_factor(const char* net, const char* name, double factor) {
  if (!(factor > 0) || !std::isfinite(factor))
    throw SettingError(std::string(net) + ": " + name + " is " + std::to_string(factor) +
                       ", but must be finite and above 0");
}

/// Sinusoidal embeddings have as many sines as cosines.
inline void check_embedding(const char* net, std::size_t width) {
  if (width < 4 || width % 2 != 0)
    throw SettingError(std::string(net) + ": the width of the embedding is " +
                       std::to_string(width) + ", but must be even and at least 4");
}

/// Throws ShapeError unless `z` is (B, H, W, channels) with H and W divisible by `divisor`.
inline void check_images(const char* net, const Shape& z, std::size_t channels,
                         std::size_t divisor) {
  if (z.rank() == 4 && z[3] == channels && z[1] % divisor == 0 && z[2] % divisor == 0) return;
  throw ShapeError(std::string(net) + ": z has shape " + to_string(z) + ", but must be (B, H, W, " +
                   std::to_string(channels) + ") with H and W divisible by " +
                   std::to_string(divisor));
}

}  // namespace meanflow::detail
