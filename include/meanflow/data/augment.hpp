// SPDX-License-Identifier: MIT
/// \file
/// Random transformations that augment a set of pictures: mirroring, and the pipeline of Karras
/// et al., "Elucidating the design space of diffusion-based generative models" (2022, appendix
/// F.2), whose labels tell the net what was done, so that it does not learn to do the same.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <span>
#include <string>

#include <meanflow/error.hpp>
#include <meanflow/random/philox.hpp>

namespace meanflow {

/// Where a pixel goes: (x, y) -> (xx x + xy y + dx, yx x + yy y + dy), in pixels from the centre of
/// the picture, x to the right and y down.
struct AffineMap {
  double xx = 1, xy = 0, dx = 0;
  double yx = 0, yy = 1, dy = 0;

  /// This map first, then `next`.
  [[nodiscard]] constexpr AffineMap then(const AffineMap& next) const {
    return {next.xx * xx + next.xy * yx,           next.xx * xy + next.xy * yy,
            next.xx * dx + next.xy * dy + next.dx, next.yx * xx + next.yy * yx,
            next.yx * xy + next.yy * yy,           next.yx * dx + next.yy * dy + next.dy};
  }

  /// The inverse map. Its numbers are not finite if the map is singular.
  [[nodiscard]] constexpr AffineMap inverse() const {
    const double area = xx * yy - xy * yx;
    AffineMap back{yy / area, -xy / area, 0, -yx / area, xx / area, 0};
    back.dx = -(back.xx * dx + back.xy * dy);
    back.dy = -(back.yx * dx + back.yy * dy);
    return back;
  }

  friend constexpr bool operator==(const AffineMap&, const AffineMap&) = default;
};

namespace detail {

inline void check_picture(const char* function, std::size_t values, std::size_t height,
                          std::size_t width, std::size_t channels) {
  if (values == height * width * channels && values > 0) return;
  throw ShapeError(std::string(function) + ": " + std::to_string(values) +
                   " values are not a picture of " + std::to_string(height) + " x " +
                   std::to_string(width) + " x " + std::to_string(channels) +
                   " with extents of at least 1.");
}

/// A place between two pixels of a line: (1 - share) line[low] + share line[high].
struct PixelPair {
  std::size_t low = 0, high = 0;
  float share = 0;
};

/// The pixels around `place`, the line of `count` pixels continued by reflection in the centres of
/// its first and last pixel.
inline PixelPair reflected(double place, std::size_t count) {
  if (count == 1) return {};
  const double last = double(count - 1);
  double inside = std::fmod(std::abs(place), 2 * last);
  inside = std::min(inside, 2 * last - inside);
  const std::size_t low = std::min(static_cast<std::size_t>(inside), count - 1);
  return {low, std::min(low + 1, count - 1), static_cast<float>(inside - double(low))};
}

inline AffineMap rotation(double angle) {
  return {std::cos(angle), -std::sin(angle), 0, std::sin(angle), std::cos(angle), 0};
}

}  // namespace detail

/// Mirrors a picture left to right, in place.
/// \param image (H, W, C)
/// Throws ShapeError if the values are not a picture of that size.
inline void flip_horizontal(std::span<float> image, std::size_t height, std::size_t width,
                            std::size_t channels) {
  detail::check_picture("flip_horizontal", image.size(), height, width, channels);
  for (std::size_t y = 0; y < height; ++y) {
    for (std::size_t x = 0; x < width / 2; ++x) {
      float* const left = image.data() + (y * width + x) * channels;
      std::swap_ranges(left, left + channels,
                       image.data() + (y * width + width - 1 - x) * channels);
    }
  }
}

/// Moves the pixels of a picture by `map`: each pixel of `to` is read from `from` at the place that
/// comes there, between the four pixels around it (bilinear), the picture continued beyond its
/// border by reflection. The identity, the mirror images and moves by whole pixels are exact.
///
/// The published pipeline (`AugmentPipe`) reads from the picture at twice the resolution, after and
/// before an orthogonal wavelet's low-pass filter: sharper between pixels, and with less aliasing
/// where the picture shrinks.
/// \param from (H, W, C)
/// \param to (H, W, C), other memory than `from`
/// Throws ShapeError if the values are not pictures of that size.
/// Throws SettingError if the map is singular or not finite.
inline void warp_image(std::span<const float> from, std::span<float> to, std::size_t height,
                       std::size_t width, std::size_t channels, const AffineMap& map) {
  detail::check_picture("warp_image", from.size(), height, width, channels);
  detail::check_picture("warp_image", to.size(), height, width, channels);
  const AffineMap back = map.inverse();
  if (!std::isfinite(back.xx + back.xy + back.dx + back.yx + back.yy + back.dy)) {
    throw SettingError("warp_image: the map has no inverse, where an invertible one is expected.");
  }
  const double middle_x = double(width - 1) / 2, middle_y = double(height - 1) / 2;
  float* out = to.data();
  for (std::size_t row = 0; row < height; ++row) {
    for (std::size_t column = 0; column < width; ++column) {
      const double x = double(column) - middle_x, y = double(row) - middle_y;
      const auto [left, right, across] =
          detail::reflected(back.xx * x + back.xy * y + back.dx + middle_x, width);
      const auto [above, below, down] =
          detail::reflected(back.yx * x + back.yy * y + back.dy + middle_y, height);
      const float* const top_left = from.data() + (above * width + left) * channels;
      const float* const top_right = from.data() + (above * width + right) * channels;
      const float* const low_left = from.data() + (below * width + left) * channels;
      const float* const low_right = from.data() + (below * width + right) * channels;
      for (std::size_t c = 0; c < channels; ++c) {
        const float top = top_left[c] + across * (top_right[c] - top_left[c]);
        const float low = low_left[c] + across * (low_right[c] - low_left[c]);
        *out++ = top + down * (low - top);
      }
    }
  }
}

/// The augmentation of Karras et al. with the settings that Mean Flows were trained with on
/// CIFAR-10. Each transformation happens with the probability min(1, probability * its own weight),
/// independently of the others; a weight of 0 turns it off and takes its labels away. With n and m
/// standard normal, in this order:
///
///     xflip, yflip     mirrored or not, evenly;                     label: whether
///     scale            by 2^(scale_std n);                          label: n
///     rotate_frac      by a = rotate_frac_max * U(-pi, pi);         labels: cos a - 1, sin a
///     aniso            by 2^(aniso_std n) along a direction a and its inverse across; a = U(-pi,
///                      pi) with aniso_rotate_prob, else 0;          labels: n cos a, n sin a
///     translate_frac   by translate_frac_std (n W, m H) pixels;     labels: n, m
///
/// A skipped one has the labels 0. (The labels of aniso are the published ones, which do not
/// tell n, a from -n, a + pi, a stretch along a direction from one across it.) All are one affine
/// map, applied by `warp_image`.
struct AugmentPipe {
  double probability = 0.12;  ///< in [0, 1]
  double xflip = 1e8;         ///< weights, at least 0; one this large makes its probability 1
  double yflip = 0;
  double scale = 1;
  double rotate_frac = 0;
  double aniso = 1;
  double translate_frac = 1;

  double scale_std = 0.2;
  double rotate_frac_max = 1;
  double aniso_std = 0.2;
  double aniso_rotate_prob = 0.5;
  double translate_frac_std = 0.125;

  /// How many labels there are: 6 with these settings (xflip, scale, 2 for aniso, 2 for
  /// translate_frac), at most 9.
  [[nodiscard]] constexpr std::size_t label_count() const {
    const auto counted = [](double weight, std::size_t labels) { return weight > 0 ? labels : 0; };
    return counted(xflip, 1) + counted(yflip, 1) + counted(scale, 1) + counted(rotate_frac, 2) +
           counted(aniso, 2) + counted(translate_frac, 2);
  }

  /// Throws SettingError if the probability is not in [0, 1], a weight is negative, or a number is
  ///   not finite.
  void check() const {
    struct Range {
      const char* name;
      double value, largest;
    };
    const double any = std::numeric_limits<double>::max();
    for (const auto& [name, value, largest] :
         {Range{"probability", probability, 1}, Range{"xflip", xflip, any},
          Range{"yflip", yflip, any}, Range{"scale", scale, any},
          Range{"rotate_frac", rotate_frac, any}, Range{"aniso", aniso, any},
          Range{"translate_frac", translate_frac, any}, Range{"scale_std", scale_std, any},
          Range{"rotate_frac_max", rotate_frac_max, any}, Range{"aniso_std", aniso_std, any},
          Range{"aniso_rotate_prob", aniso_rotate_prob, 1},
          Range{"translate_frac_std", translate_frac_std, any}}) {
      if (value >= 0 && value <= largest) continue;
      throw SettingError("AugmentPipe: " + std::string(name) + " is " + std::to_string(value) +
                         ", where " + (largest == 1 ? "0 to 1" : "a number of at least 0") +
                         " is expected.");
    }
  }

  /// Draws what is done to one picture. Turning a transformation on or off leaves the draws of the
  /// others unchanged.
  /// \param labels (label_count()), overwritten
  /// Throws ShapeError unless there is room for exactly that many labels.
  [[nodiscard]] AffineMap draw(RandomStream& random, std::size_t height, std::size_t width,
                               std::span<float> labels) const {
    if (labels.size() != label_count()) {
      throw ShapeError("AugmentPipe::draw: room for " + std::to_string(labels.size()) +
                       " labels, where there are " + std::to_string(label_count()) + ".");
    }
    AffineMap map;
    const auto happens = [&](double weight) {
      return random.bernoulli(std::min(1.0, probability * weight));
    };
    const auto tell = [&](double weight, auto... values) {
      if (!(weight > 0)) return;
      ((labels.front() = static_cast<float>(values), labels = labels.subspan(1)), ...);
    };
    const double pi = std::numbers::pi;

    const bool may_flip_x = happens(xflip), flips_x = random.below(2) == 1 && may_flip_x;
    map = map.then({flips_x ? -1.0 : 1.0, 0, 0, 0, 1, 0});
    tell(xflip, flips_x);

    const bool may_flip_y = happens(yflip), flips_y = random.below(2) == 1 && may_flip_y;
    map = map.then({1, 0, 0, 0, flips_y ? -1.0 : 1.0, 0});
    tell(yflip, flips_y);

    const bool scales = happens(scale);
    const double scaling = random.normal<double>() * scales;
    const double factor = std::exp2(scale_std * scaling);
    map = map.then({factor, 0, 0, 0, factor, 0});
    tell(scale, scaling);

    const bool rotates = happens(rotate_frac);
    const double turn = rotate_frac_max * pi * (2 * random.uniform<double>() - 1) * rotates;
    if (rotates) map = map.then(detail::rotation(turn));
    tell(rotate_frac, std::cos(turn) - 1, std::sin(turn));

    const bool stretches = happens(aniso);
    const double stretching = random.normal<double>() * stretches;
    const bool turned = random.bernoulli(aniso_rotate_prob);
    const double direction = pi * (2 * random.uniform<double>() - 1) * turned;
    const double along = std::exp2(aniso_std * stretching);
    if (stretches) {
      map = map.then(detail::rotation(-direction))
                .then({along, 0, 0, 0, 1 / along, 0})
                .then(detail::rotation(direction));
    }
    tell(aniso, stretching * std::cos(direction), stretching * std::sin(direction));

    const bool moves = happens(translate_frac);
    const double right = random.normal<double>() * moves, down = random.normal<double>() * moves;
    map.dx += translate_frac_std * right * double(width);
    map.dy += translate_frac_std * down * double(height);
    tell(translate_frac, right, down);
    return map;
  }
};

}  // namespace meanflow
