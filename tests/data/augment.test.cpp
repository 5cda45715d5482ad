// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/data/augment.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

namespace {

std::vector<float> noise(std::size_t count) {
  std::vector<float> values(count);
  fill_uniform<float>(values, -1, 1, RandomStream(3, Purpose::user));
  return values;
}

std::vector<float> warped(const std::vector<float>& image, std::size_t height, std::size_t width,
                          std::size_t channels, const AffineMap& map) {
  std::vector<float> result(image.size(), 99);
  warp_image(image, result, height, width, channels, map);
  return result;
}

struct Draw {
  AffineMap map;
  std::vector<float> labels;
};

Draw draw(const AugmentPipe& pipe, std::uint64_t row, std::size_t height = 32,
          std::size_t width = 32) {
  Draw result{{}, std::vector<float>(pipe.label_count(), 99)};
  RandomStream random(5, Purpose::augmentation, 0, row);
  result.map = pipe.draw(random, height, width, result.labels);
  return result;
}

}  // namespace

TEST_CASE("A picture mirrored twice is itself") {
  for (const std::size_t width : {1, 4, 5}) {
    const std::vector<float> image = noise(3 * width * 2);
    std::vector<float> other = image;
    flip_horizontal(other, 3, width, 2);
    CHECK((width == 1 || other != image));
    CHECK(other[0] == image[(width - 1) * 2]);
    CHECK(other[1] == image[(width - 1) * 2 + 1]);
    CHECK(other == warped(image, 3, width, 2, {-1, 0, 0, 0, 1, 0}));
    flip_horizontal(other, 3, width, 2);
    CHECK(other == image);
  }
  std::vector<float> image(5);
  CHECK_THROWS_AS(flip_horizontal(image, 2, 2, 1), ShapeError);
}

TEST_CASE("The identity, turns by right angles and moves by whole pixels are exact") {
  const std::vector<float> image = noise(6 * 6 * 3);
  CHECK(warped(image, 6, 6, 3, {}) == image);
  const AffineMap quarter{0, -1, 0, 1, 0, 0};
  std::vector<float> turned = warped(image, 6, 6, 3, quarter);
  CHECK(turned != image);
  for (int i = 0; i < 3; ++i) turned = warped(turned, 6, 6, 3, quarter);
  CHECK(turned == image);
  // One to the right: the picture continues by reflection in the first pixel's centre.
  CHECK(warped({1, 2, 3, 4}, 1, 4, 1, {1, 0, 1, 0, 1, 0}) == std::vector<float>{2, 1, 2, 3});
  CHECK(warped({1, 2, 3, 4}, 4, 1, 1, {1, 0, 0, 0, 1, -1}) == std::vector<float>{2, 3, 4, 3});
  CHECK(warped({1, 2, 3, 4}, 1, 4, 1, {1, 0, 60, 0, 1, 7}) == std::vector<float>{1, 2, 3, 4});
  CHECK(warped({5}, 1, 1, 1, {2, 1, 3, 0, 1, 7}) == std::vector<float>{5});
}

TEST_CASE("A picture whose values are a plane stays one, where nothing is reflected") {
  const std::size_t side = 17;
  std::vector<float> image(side * side);
  const auto plane = [](double x, double y) { return 0.05 * x - 0.03 * y + 0.1; };
  for (std::size_t i = 0; i < image.size(); ++i) {
    image[i] = static_cast<float>(plane(double(i % side) - 8, double(i / side) - 8));
  }
  const AffineMap map = detail::rotation(0.6).then({1.3, 0.1, 0.7, 0, 0.9, -1.2});
  const std::vector<float> moved = warped(image, side, side, 1, map);
  const AffineMap back = map.inverse();
  std::size_t checked = 0;
  for (std::size_t i = 0; i < image.size(); ++i) {
    const double x = double(i % side) - 8, y = double(i / side) - 8;
    const double from_x = back.xx * x + back.xy * y + back.dx;
    const double from_y = back.yx * x + back.yy * y + back.dy;
    if (std::max(std::abs(from_x), std::abs(from_y)) > 8) continue;
    CHECK(std::abs(moved[i] - plane(from_x, from_y)) < 1e-6);
    ++checked;
  }
  CHECK(checked > 150);
}

TEST_CASE("Maps are undone by their inverses; those that cannot be are refused") {
  const AffineMap map{1.5, 0.2, 3, -0.4, 0.8, -2}, same = map.then(map.inverse());
  CHECK(same.xx == doctest::Approx(1));
  CHECK(same.yy == doctest::Approx(1));
  for (const double zero : {same.xy, same.yx, same.dx, same.dy}) CHECK(std::abs(zero) < 1e-12);
  std::vector<float> image(4), other(4), small(3);
  CHECK_THROWS_AS(warp_image(image, other, 2, 2, 1, {1, 1, 0, 1, 1, 0}), SettingError);
  CHECK_THROWS_AS(warp_image(image, other, 2, 2, 1, {1, 0, std::nan(""), 0, 1, 0}), SettingError);
  CHECK_THROWS_AS(warp_image(image, small, 2, 2, 1, {}), ShapeError);
  CHECK_THROWS_AS(warp_image(image, other, 0, 2, 1, {}), ShapeError);
}

TEST_CASE("With everything off the map is the identity") {
  const AugmentPipe none{.xflip = 0, .scale = 0, .aniso = 0, .translate_frac = 0};
  CHECK(none.label_count() == 0);
  const AugmentPipe never{.probability = 0};
  CHECK(never.label_count() == 6);
  for (std::uint64_t row = 0; row < 100; ++row) {
    CHECK(draw(none, row).map == AffineMap{});
    CHECK(draw(never, row).map == AffineMap{});
    CHECK(std::ranges::all_of(draw(never, row).labels, [](float label) { return label == 0; }));
  }
}

TEST_CASE("Labels and moves have the moments of the published pipeline") {
  const AugmentPipe pipe;
  REQUIRE(pipe.label_count() == 6);
  const std::size_t count = 50'000;
  std::array<double, 6> mean{}, square{}, not_zero{};
  double move_x = 0, move_y = 0, square_x = 0, square_y = 0, untouched = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto [map, labels] = draw(pipe, i, 16, 32);
    for (std::size_t k = 0; k < 6; ++k) {
      mean[k] += labels[k] / double(count);
      square[k] += double(labels[k]) * labels[k] / double(count);
      not_zero[k] += (labels[k] != 0) / double(count);
    }
    move_x += map.dx / double(count);
    move_y += map.dy / double(count);
    square_x += map.dx * map.dx / double(count);
    square_y += map.dy * map.dy / double(count);
    untouched += (std::abs(map.xx) == 1 && map.dx == 0) / double(count);
  }
  CHECK(mean[0] == doctest::Approx(0.5).epsilon(0.02));
  for (std::size_t k = 1; k < 6; ++k) CHECK(std::abs(mean[k]) < 0.008);
  CHECK(square[0] == mean[0]);
  CHECK(square[1] == doctest::Approx(0.12).epsilon(0.06));
  CHECK(square[2] == doctest::Approx(0.12 * 0.75).epsilon(0.06));
  CHECK(square[3] == doctest::Approx(0.12 * 0.25).epsilon(0.08));
  CHECK(square[4] == doctest::Approx(0.12).epsilon(0.06));
  CHECK(square[5] == doctest::Approx(0.12).epsilon(0.06));
  for (const std::size_t k : {1, 2, 4, 5})
    CHECK(not_zero[k] == doctest::Approx(0.12).epsilon(0.05));
  CHECK(not_zero[3] == doctest::Approx(0.06).epsilon(0.08));
  CHECK(untouched == doctest::Approx(0.88 * 0.88 * 0.88).epsilon(0.02));
  CHECK(std::abs(move_x) < 0.03);
  CHECK(std::abs(move_y) < 0.015);
  CHECK(square_x == doctest::Approx(16 * 0.12).epsilon(0.06));
  CHECK(square_y == doctest::Approx(4 * 0.12).epsilon(0.06));
}

// (n, a) and (-n, a + pi) have the same labels of aniso, but are inverse to each other.
TEST_CASE("Labels say what the map does") {
  const AugmentPipe pipe{.probability = 0.5, .yflip = 1, .rotate_frac = 1};
  REQUIRE(pipe.label_count() == 9);
  for (std::uint64_t row = 0; row < 1000; ++row) {
    const auto [map, l] = draw(pipe, row, 20, 40);  // x, y, scale, cos, sin, aniso 2, move 2
    const double direction = std::atan2(l[6], l[5]), stretching = 0.2 * std::hypot(l[5], l[6]);
    const double scale = std::exp2(0.2 * l[2]);
    const AffineMap before = AffineMap{l[0] > 0 ? -1.0 : 1.0, 0, 0, 0, l[1] > 0 ? -1.0 : 1.0, 0}
                                 .then({scale, 0, 0, 0, scale, 0})
                                 .then({1.0 + l[3], -l[4], 0, l[4], 1.0 + l[3], 0});
    double nearest = 1;
    for (const double along : {std::exp2(stretching), std::exp2(-stretching)}) {
      const AffineMap told = before.then(detail::rotation(-direction))
                                 .then({along, 0, 0, 0, 1 / along, 0})
                                 .then(detail::rotation(direction));
      nearest = std::min(nearest, std::hypot(map.xx - told.xx, map.xy - told.xy) +
                                      std::hypot(map.yx - told.yx, map.yy - told.yy));
    }
    CHECK(nearest < 1e-5);
    CHECK(map.dx == doctest::Approx(0.125 * 40 * l[7]).epsilon(1e-4));
    CHECK(map.dy == doctest::Approx(0.125 * 20 * l[8]).epsilon(1e-4));
  }
}

TEST_CASE("Draws are determined, and independent of what else is on") {
  const AugmentPipe all, some{.xflip = 0, .aniso = 0};
  bool differs = false;
  for (std::uint64_t row = 0; row < 300; ++row) {
    const Draw a = draw(all, row), same = draw(all, row), b = draw(some, row);
    CHECK(a.map == same.map);
    CHECK(a.labels == same.labels);
    CHECK(b.labels == std::vector<float>{a.labels[1], a.labels[4], a.labels[5]});
    CHECK(b.map.dx == a.map.dx);
    differs = differs || a.labels != draw(all, row + 1).labels;
  }
  CHECK(differs);
}

TEST_CASE("Settings out of range are named") {
  const auto refusal = [](const AugmentPipe& pipe) {
    return message_of<SettingError>([&] { pipe.check(); });
  };
  CHECK(refusal({}).empty());
  CHECK(contains(refusal({.probability = 1.5}), "probability is 1.5"));
  CHECK(contains(refusal({.probability = std::nan("")}), "probability is nan"));
  CHECK(contains(refusal({.scale = -1}), "scale is -1"));
  CHECK(contains(refusal({.aniso_rotate_prob = 2}), "aniso_rotate_prob is 2"));
  CHECK(contains(refusal({.translate_frac_std = std::numeric_limits<double>::infinity()}),
                 "translate_frac_std is inf"));
  RandomStream random(1, Purpose::user);
  std::vector<float> labels(5);
  CHECK_THROWS_AS(static_cast<void>(AugmentPipe{}.draw(random, 4, 4, labels)), ShapeError);
}
