// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/data/toy2d.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

namespace {

std::vector<float> points_of(Toy2d set, std::size_t count, std::uint64_t step = 0) {
  std::vector<float> points(2 * count);
  sample_toy2d(set, points, 1, step);
  return points;
}

struct Moments {
  std::array<double, 2> mean{}, variance{};
};

Moments moments_of(const std::vector<float>& points) {
  Moments m;
  const double n = double(points.size()) / 2;
  for (std::size_t i = 0; i < points.size(); ++i) {
    m.mean[i % 2] += points[i] / n;
    m.variance[i % 2] += double(points[i]) * points[i] / n;
  }
  for (int d = 0; d < 2; ++d) m.variance[d] -= m.mean[d] * m.mean[d];
  return m;
}

}  // namespace

TEST_CASE("Drawing a batch of a toy set") {
  // [docs:toy2d]
  std::vector<float> points(1024 * 2);  // (N, 2)
  sample_toy2d(Toy2d::two_moons, points, /*seed=*/1, /*step=*/0);
  // [docs:end]
  CHECK(points == points_of(Toy2d::two_moons, 1024));
}

TEST_CASE("Names") {
  for (const Toy2d set : all_toy2d) CHECK(toy2d_from_name(name_of(set)) == set);
  CHECK(name_of(Toy2d::checkerboard) == "checkerboard");
  const std::string message = message_of<SettingError>([] { (void)toy2d_from_name("two_suns"); });
  CHECK(contains(message, "'two_suns'"));
  for (const Toy2d set : all_toy2d) CHECK(contains(message, std::string(name_of(set))));
}

TEST_CASE("Zero mean and about unit variance") {
  for (const Toy2d set : all_toy2d) {
    CAPTURE(name_of(set));
    const Moments m = moments_of(points_of(set, 200'000));
    CHECK(std::abs(m.mean[0]) < 0.01);
    CHECK(std::abs(m.mean[1]) < 0.01);
    const double variance = (m.variance[0] + m.variance[1]) / 2;
    // The first three keep the scales under which their published numbers were measured.
    const double expected = set == Toy2d::eight_gaussians ? 0.99
                            : set == Toy2d::checkerboard  ? 4.0 / 3 / (1.15 * 1.15)
                            : set == Toy2d::two_moons     ? 0.7809
                                                          : 1.0;
    CHECK(variance == doctest::Approx(expected).epsilon(0.01));
  }
}

TEST_CASE("Eight Gaussians: centres at radius 1.4, equally likely, standard deviation 0.1") {
  const std::vector<float> points = points_of(Toy2d::eight_gaussians, 80'000);
  std::array<int, 8> counts{};
  double square = 0;
  for (std::size_t i = 0; i < points.size(); i += 2) {
    const double turn = std::atan2(points[i + 1], points[i]) / (std::numbers::pi / 4);
    const int k = (int(std::lround(turn)) + 8) % 8;
    ++counts[std::size_t(k)];
    const double dx = points[i] - 1.4 * std::cos(k * std::numbers::pi / 4);
    const double dy = points[i + 1] - 1.4 * std::sin(k * std::numbers::pi / 4);
    square += dx * dx + dy * dy;
  }
  for (const int count : counts) CHECK(std::abs(count - 10'000) < 400);
  CHECK(square / 160'000 == doctest::Approx(0.01).epsilon(0.02));
}

TEST_CASE("Checkerboard: points fill every other one of sixteen squares evenly") {
  const std::vector<float> points = points_of(Toy2d::checkerboard, 80'000);
  std::array<std::array<int, 4>, 4> counts{};
  for (std::size_t i = 0; i < points.size(); i += 2) {
    const int column = int(std::floor(points[i] * 1.15F)) + 2;
    const int row = int(std::floor(points[i + 1] * 1.15F)) + 2;
    ++counts.at(std::size_t(column)).at(std::size_t(row));
  }
  for (std::size_t column = 0; column < 4; ++column) {
    for (std::size_t row = 0; row < 4; ++row) {
      const int count = counts[column][row];
      // The field of x in [0, 1) and y in [0, 1), which is column 2 and row 2, is one of those.
      if ((column + row) % 2 == 0) {
        CHECK(std::abs(count - 10'000) < 400);
      } else {
        CHECK(count < 5);  // rounding at the very edge of a field
      }
    }
  }
}

TEST_CASE("Two moons: half circles around (-1/2, -1/4) and (1/2, 1/4) before scaling") {
  const std::vector<float> points = points_of(Toy2d::two_moons, 20'000);
  int upper = 0;
  for (std::size_t i = 0; i < points.size(); i += 2) {
    const double x = points[i] * 0.8, y = points[i + 1] * 0.8;
    const double from_upper = std::abs(std::hypot(x + 0.5, y + 0.25) - 1);
    const double from_lower = std::abs(std::hypot(x - 0.5, y - 0.25) - 1);
    CHECK(std::min(from_upper, from_lower) < 0.05 * 5);
    upper += from_upper < from_lower;
  }
  CHECK(std::abs(upper - 10'000) < 500);
}

TEST_CASE("Rings: four radii, equally likely") {
  const std::vector<float> points = points_of(Toy2d::rings, 40'000);
  std::array<int, 5> counts{};
  for (std::size_t i = 0; i < points.size(); i += 2) {
    const double radius = std::hypot(points[i], points[i + 1]) / 0.68748 / 0.75;
    ++counts.at(std::size_t(std::lround(radius)));
    CHECK(std::abs(radius - double(std::lround(radius))) < 0.6);
  }
  for (std::size_t k = 1; k < 5; ++k) CHECK(std::abs(counts[k] - 10'000) < 400);
}

TEST_CASE("Pinwheel and Swiss roll look the same after the turns that they allow") {
  // A fifth of a turn maps the pinwheel onto itself, so all directional moments below 5 vanish.
  const std::vector<float> points = points_of(Toy2d::pinwheel, 100'000);
  for (int order = 1; order < 5; ++order) {
    double even = 0, odd = 0;
    for (std::size_t i = 0; i < points.size(); i += 2) {
      const double angle = std::atan2(points[i + 1], points[i]);
      even += std::cos(order * angle) / 100'000;
      odd += std::sin(order * angle) / 100'000;
    }
    CHECK(std::abs(even) < 0.012);
    CHECK(std::abs(odd) < 0.012);
  }
  // The roll's radius before centring is its angle: between 1.5 pi and 4.5 pi, and evenly.
  std::array<int, 3> turns{};
  const std::vector<float> roll = points_of(Toy2d::swiss_roll, 30'000);
  for (std::size_t i = 0; i < roll.size(); i += 2) {
    const double x = roll[i] / 0.14574 + 2, y = roll[i + 1] / 0.14574 + 2 / (3 * std::numbers::pi);
    const double third = (std::hypot(x, y) / std::numbers::pi - 1.5);
    ++turns[std::size_t(std::clamp(third, 0.0, 2.0))];
  }
  for (const int count : turns) CHECK(std::abs(count - 10'000) < 600);
}

TEST_CASE("Rows drawn in parts are the rows drawn at once") {
  for (const Toy2d set : all_toy2d) {
    const std::vector<float> whole = points_of(set, 100, 3);
    std::vector<float> parts(200);
    sample_toy2d(set, std::span(parts).last(100), 1, 3, 50);
    sample_toy2d(set, std::span(parts).first(100), 1, 3);
    CHECK(whole == parts);
    CHECK(whole != points_of(set, 100, 4));
  }
  std::vector<float> odd(3);
  CHECK_THROWS_AS(sample_toy2d(Toy2d::rings, odd, 1, 0), ShapeError);
}
