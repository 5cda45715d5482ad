// SPDX-License-Identifier: MIT
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/io/scatter.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

namespace {

/// Red, the first channel, at a row and a column.
int red(const Image& image, std::size_t row, std::size_t column) {
  return image.pixels[(row * image.width + column) * 3];
}

constexpr ScatterOptions opaque{
    .side = 101, .reach = 1, .radius = 3, .opacity = 1, .colour = {0, 100, 200}};

}  // namespace

TEST_CASE("points are drawn where they are, x to the right and y upwards") {
  const Image image = draw_scatter(std::vector<float>{0.5F, 0.8F}, opaque);
  CHECK(image.height == 101);
  CHECK(image.width == 101);
  CHECK(red(image, 10, 75) == 0);
  CHECK(image.pixels[(10 * 101 + 75) * 3 + 1] == 100);
  CHECK(image.pixels[(10 * 101 + 75) * 3 + 2] == 200);
  CHECK(red(image, 90, 75) == 255);
  CHECK(red(image, 10, 25) == 255);
  CHECK(red(image, 10, 80) == 255);  // beyond the radius
}

TEST_CASE("points that overlap are darker") {
  ScatterOptions half = opaque;
  half.opacity = 0.5;
  CHECK(red(draw_scatter(std::vector<float>{0, 0}, half), 50, 50) == 128);
  CHECK(red(draw_scatter(std::vector<float>{0, 0, 0, 0}, half), 50, 50) == 64);
}

TEST_CASE(
    "the picture shows all points unless told otherwise, and leaves out what it cannot show") {
  ScatterOptions all = opaque;
  all.reach = 0;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> points{40, 0, nan, 0, std::numeric_limits<float>::infinity(), 1};
  CHECK(red(draw_scatter(points, all), 50, 98) == 0);
  const Image white = draw_scatter(points, opaque);
  CHECK(std::ranges::all_of(white.pixels, [](int pixel) { return pixel == 255; }));
  CHECK(draw_scatter({}, all).pixels.size() == 101 * 101 * 3);
}

TEST_CASE("a picture of points is written, and read again") {
  const TemporaryFolder folder;
  save_scatter(folder / "points.png", std::vector<float>{0, 0}, opaque);
  CHECK(red(load_png(folder / "points.png"), 50, 50) == 0);
}

TEST_CASE("what cannot be drawn is refused") {
  CHECK_THROWS_AS(static_cast<void>(draw_scatter(std::vector<float>(3))), ShapeError);
  CHECK_THROWS_AS(static_cast<void>(draw_scatter({}, {.side = 0})), SettingError);
  CHECK_THROWS_AS(static_cast<void>(draw_scatter({}, {.opacity = 0})), SettingError);
  CHECK_THROWS_AS(save_scatter("no-such-folder/points.png", {}), FileError);
}
