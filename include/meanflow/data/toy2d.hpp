// SPDX-License-Identifier: MIT
/// \file
/// Six distributions in the plane on which generative models are usually tried first, all of zero
/// mean and about unit variance per coordinate, averaged over the two coordinates.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <string>
#include <string_view>

#include <meanflow/error.hpp>
#include <meanflow/random/philox.hpp>

namespace meanflow {

enum class Toy2d {
  eight_gaussians,  ///< eight narrow normal distributions on a circle
  checkerboard,     ///< the eight black squares of a 4 x 4 board
  two_moons,        ///< two interleaving half circles
  pinwheel,         ///< five bent arms (Johnson et al., arXiv 1603.06277)
  swiss_roll,       ///< one and a half turns of a spiral, with noise
  rings,            ///< four circles around one centre, equally likely
};

/// All of them, in the order of the enumeration.
inline constexpr std::array all_toy2d{Toy2d::eight_gaussians, Toy2d::checkerboard, Toy2d::two_moons,
                                      Toy2d::pinwheel,        Toy2d::swiss_roll,   Toy2d::rings};

/// The enumerator's own name, such as "two_moons".
[[nodiscard]] constexpr std::string_view name_of(Toy2d set) {
  switch (set) {
    case Toy2d::eight_gaussians:
      return "eight_gaussians";
    case Toy2d::checkerboard:
      return "checkerboard";
    case Toy2d::two_moons:
      return "two_moons";
    case Toy2d::pinwheel:
      return "pinwheel";
    case Toy2d::swiss_roll:
      return "swiss_roll";
    case Toy2d::rings:
      return "rings";
  }
  return "";
}

/// Throws SettingError, which lists the names, if there is no set of that name.
[[nodiscard]] inline Toy2d toy2d_from_name(std::string_view name) {
  std::string names;
  for (const Toy2d set : all_toy2d) {
    if (name_of(set) == name) return set;
    names += (names.empty() ? "" : ", ") + std::string(name_of(set));
  }
  throw SettingError("There is no toy data set '" + std::string(name) + "'; known are " + names +
                     ".");
}

namespace detail {

struct Point2 {
  float x, y;
};

inline constexpr float toy_pi = std::numbers::pi_v<float>;

inline Point2 draw_eight_gaussians(RandomStream& random) {
  const float angle = static_cast<float>(random.below(8)) * (toy_pi / 4);
  const float x = 1.4F * std::cos(angle) + 0.1F * random.normal<float>();
  return {x, 1.4F * std::sin(angle) + 0.1F * random.normal<float>()};
}

inline Point2 draw_checkerboard(RandomStream& random) {
  const float x = random.uniform<float>() * 4 - 2;
  const bool odd_column = static_cast<int>(std::floor(x)) % 2 != 0;
  const float y = random.uniform<float>() - 2 * static_cast<float>(random.below(2)) + odd_column;
  return {x / 1.15F, y / 1.15F};
}

inline Point2 draw_two_moons(RandomStream& random) {
  const float angle = toy_pi * random.uniform<float>();
  const float side = random.below(2) == 0 ? 1.0F : -1.0F;
  const float x = side * (std::cos(angle) - 0.5F) + 0.05F * random.normal<float>();
  const float y = side * (std::sin(angle) - 0.25F) + 0.05F * random.normal<float>();
  return {x / 0.8F, y / 0.8F};
}

/// Radius 1 + 0.3 n, across the arm 0.1 n, turned by 0.25 exp(radius).
inline Point2 draw_pinwheel(RandomStream& random) {
  const float scale = 1.3484F;  // 1 / sqrt((1 + 0.09 + 0.01) / 2)
  const float along = scale * (1 + 0.3F * random.normal<float>());
  const float across = scale * 0.1F * random.normal<float>();
  const float turn =
      static_cast<float>(random.below(5)) * (2 * toy_pi / 5) + 0.25F * std::exp(along / scale);
  return {along * std::cos(turn) - across * std::sin(turn),
          along * std::sin(turn) + across * std::cos(turn)};
}

/// (a cos a, a sin a) for a uniform in [1.5 pi, 4.5 pi], whose mean is (2, 2 / (3 pi)), plus
/// standard normal noise.
inline Point2 draw_swiss_roll(RandomStream& random) {
  const float scale = 0.14574F;  // 1 / sqrt(9.75 pi^2 / 2 + 1 - (4 + 4 / (9 pi^2)) / 2)
  const float angle = 1.5F * toy_pi * (1 + 2 * random.uniform<float>());
  const float x = angle * std::cos(angle) - 2 + random.normal<float>();
  const float y = angle * std::sin(angle) - 2 / (3 * toy_pi) + random.normal<float>();
  return {scale * x, scale * y};
}

/// Radii 0.75, 1.5, 2.25 and 3, noise 0.08.
inline Point2 draw_rings(RandomStream& random) {
  const float scale = 0.68748F;  // 1 / sqrt(0.5625 * 7.5 / 2 + 0.0064)
  const float radius = 0.75F * static_cast<float>(1 + random.below(4));
  const float angle = 2 * toy_pi * random.uniform<float>();
  const float x = radius * std::cos(angle) + 0.08F * random.normal<float>();
  const float y = radius * std::sin(angle) + 0.08F * random.normal<float>();
  return {scale * x, scale * y};
}

inline Point2 draw_toy2d(Toy2d set, RandomStream random) {
  switch (set) {
    case Toy2d::eight_gaussians:
      return draw_eight_gaussians(random);
    case Toy2d::checkerboard:
      return draw_checkerboard(random);
    case Toy2d::two_moons:
      return draw_two_moons(random);
    case Toy2d::pinwheel:
      return draw_pinwheel(random);
    case Toy2d::swiss_roll:
      return draw_swiss_roll(random);
    case Toy2d::rings:
      return draw_rings(random);
  }
  return {};
}

}  // namespace detail

/// Draws points (N, 2), row i from RandomStream(seed, Purpose::data, step, first_row + i): drawing
/// a batch in parts gives the same points.
/// Throws ShapeError if the number of values is odd.
inline void sample_toy2d(Toy2d set, std::span<float> points, std::uint64_t seed, std::uint64_t step,
                         std::uint64_t first_row = 0) {
  if (points.size() % 2 != 0) {
    throw ShapeError("sample_toy2d: " + std::to_string(points.size()) +
                     " values are not a whole number of points of 2.");
  }
  for (std::size_t i = 0; i < points.size() / 2; ++i) {
    const detail::Point2 point =
        detail::draw_toy2d(set, RandomStream(seed, Purpose::data, step, first_row + i));
    points[2 * i] = point.x;
    points[2 * i + 1] = point.y;
  }
}

}  // namespace meanflow
