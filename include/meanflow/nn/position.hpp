// SPDX-License-Identifier: MIT
/// \file
/// Where a token lies: tables of sines, and angles of rotary embeddings.
#pragma once

#include <cmath>
#include <cstddef>
#include <string>

#include <meanflow/error.hpp>
#include <meanflow/ops/rope.hpp>
#include <meanflow/tensor/transfer.hpp>

namespace meanflow {

/// Sines of the positions of a grid, (rows columns, width): [sin x, cos x, sin y, cos y] of a
/// quarter of the width each, x the column and y the row, frequencies 10000^(-i / quarter). The
/// values are those of float32, as in the public checkpoints of DiT. Throws SettingError if the
/// width is not divisible by 4.
template <class T, class Device = Cpu>
[[nodiscard]] Tensor<T, Device> sine_table_2d(std::size_t rows, std::size_t columns,
                                              std::size_t width) {
  if (width == 0 || width % 4 != 0)
    throw SettingError("sine_table_2d: the width is " + std::to_string(width) +
                       ", but must be divisible by 4");
  const std::size_t quarter = width / 4;
  Tensor<T> table({rows * columns, width});
  const auto fill = [&](std::size_t token, std::size_t first, std::size_t position) {
    for (std::size_t i = 0; i < quarter; ++i) {
      const double angle =
          static_cast<double>(position) *
          std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(quarter));
      T* const row = table.data() + token * width + first;
      row[i] = static_cast<T>(static_cast<float>(std::sin(angle)));
      row[quarter + i] = static_cast<T>(static_cast<float>(std::cos(angle)));
    }
  };
  for (std::size_t token = 0; token < rows * columns; ++token) {
    fill(token, 0, token % columns);
    fill(token, 2 * quarter, token / columns);
  }
  return to_device<Device>(table);
}

namespace detail {

/// Cosines and sines of angle(token, pair), (tokens, pairs) each.
template <class T, class Device, class Angle>
[[nodiscard]] RopeAngles<T, Device> angles_of(std::size_t tokens, std::size_t pairs, Angle angle) {
  Tensor<T> cosines({tokens, pairs}), sines({tokens, pairs});
  for (std::size_t token = 0; token < tokens; ++token)
    for (std::size_t pair = 0; pair < pairs; ++pair) {
      const double a = angle(token, pair);
      cosines[token * pairs + pair] = static_cast<T>(std::cos(a));
      sines[token * pairs + pair] = static_cast<T>(std::sin(a));
    }
  return {to_device<Device>(cosines), to_device<Device>(sines)};
}

/// theta^(-pair / pairs)
[[nodiscard]] inline double rope_frequency(std::size_t pair, std::size_t pairs, double theta) {
  return std::pow(theta, -static_cast<double>(pair) / static_cast<double>(pairs));
}

inline void check_rope(std::size_t channels, std::size_t divisor) {
  if (channels == 0 || channels % divisor != 0)
    throw SettingError("rope: a head has " + std::to_string(channels) +
                       " channels, but they must be divisible by " + std::to_string(divisor));
}

}  // namespace detail

/// Angles of tokens in a row, for heads of `channels` channels: pair i of token n is rotated by
/// n theta^(-2 i / channels). Throws SettingError if the channels are odd.
template <class T, class Device = Cpu>
[[nodiscard]] RopeAngles<T, Device> rope_angles(std::size_t tokens, std::size_t channels,
                                                double theta = 10000) {
  detail::check_rope(channels, 2);
  const std::size_t pairs = channels / 2;
  return detail::angles_of<T, Device>(tokens, pairs, [=](std::size_t token, std::size_t pair) {
    return static_cast<double>(token) * detail::rope_frequency(pair, pairs, theta);
  });
}

/// Angles of the tokens of a grid: the first half of the pairs is rotated by the row, the second by
/// the column. Throws SettingError if the channels are not divisible by 4.
template <class T, class Device = Cpu>
[[nodiscard]] RopeAngles<T, Device> rope_angles_2d(std::size_t rows, std::size_t columns,
                                                   std::size_t channels, double theta = 10000) {
  detail::check_rope(channels, 4);
  const std::size_t half = channels / 4;
  return detail::angles_of<T, Device>(
      rows * columns, 2 * half, [=](std::size_t token, std::size_t pair) {
        const std::size_t position = pair < half ? token / columns : token % columns;
        return static_cast<double>(position) * detail::rope_frequency(pair % half, half, theta);
      });
}

}  // namespace meanflow
