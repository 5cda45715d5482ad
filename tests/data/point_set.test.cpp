// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/data/point_set.hpp>

#include "io/temporary_folder.hpp"

using namespace meanflow;
using namespace meanflow_test;

namespace {

/// Rows (i, 10 i + 3), which the first number tells apart.
std::vector<double> line(std::size_t count) {
  std::vector<double> values;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(double(i));
    values.push_back(10.0 * double(i) + 3);
  }
  return values;
}

std::set<long> rows_of(const PointSet& set, std::span<const float> points) {
  std::vector<float> original(points.begin(), points.end());
  set.to_original(original);
  std::set<long> rows;
  for (std::size_t i = 0; i < original.size(); i += set.dim())
    rows.insert(std::lround(original[i]));
  return rows;
}

std::string refusal(const std::vector<std::size_t>& shape, const std::vector<double>& values) {
  const TemporaryFolder folder;
  save_npy(folder / "points.npy", shape, values);
  const std::string message = message_of<FileError>([&] { PointSet set(folder / "points.npy"); });
  CHECK(contains(message, (folder / "points.npy").string()));
  return message;
}

}  // namespace

TEST_CASE("Points from a file, and samples back in its units") {
  const TemporaryFolder folder;
  const auto path = folder / "points.npy";
  save_npy(path, {100, 2}, line(100));
  // [docs:point_set]
  const PointSet set(path, {.holdout = 0.2, .seed = 1});
  std::vector<float> batch(64 * set.dim());  // (N, D)
  set.sample(batch, /*seed=*/1, /*step=*/0);
  set.to_original(batch);
  // [docs:end]
  CHECK(set.dim() == 2);
  CHECK(set.size() == 100);
  CHECK(set.held_out().size() == 20 * 2);
  CHECK(set.training().size() == 80 * 2);
  for (std::size_t i = 0; i < batch.size(); i += 2) {
    CHECK(batch[i + 1] == doctest::Approx(10 * batch[i] + 3).epsilon(1e-5));
  }
}

TEST_CASE("Each column is centred and scaled to unit variance, or all by one factor") {
  const auto moments = [](const PointSet& set, std::size_t column) {
    double sum = 0, square = 0;
    for (std::size_t i = column; i < 2000; i += 2) {
      sum += set.training()[i] / 1000;
      square += double(set.training()[i]) * set.training()[i] / 1000;
    }
    CHECK(std::abs(sum) < 1e-6);
    return square;
  };
  const PointSet set(line(1000), 2, {.holdout = 0});
  CHECK(set.held_out().empty());
  CHECK(moments(set, 0) == doctest::Approx(1));
  CHECK(moments(set, 1) == doctest::Approx(1));
  CHECK(set.scaling().mean[0] == doctest::Approx(499.5));
  CHECK(set.scaling().scale[1] == doctest::Approx(10 * set.scaling().scale[0]));

  const PointSet one(line(1000), 2, {.holdout = 0, .scaling = ScalingRule::one_factor});
  CHECK((moments(one, 0) + moments(one, 1)) / 2 == doctest::Approx(1));
  CHECK(moments(one, 1) / moments(one, 0) == doctest::Approx(100));  // the shape is kept
  CHECK(one.scaling().scale[0] == one.scaling().scale[1]);

  const PointSet none(line(10), 2, {.holdout = 0, .scaling = ScalingRule::none});
  CHECK(none.scaling().identity());
  const auto values = line(10);
  CHECK(std::ranges::all_of(none.training(), [&](float x) {
    return std::ranges::find(values, double(x)) != values.end();
  }));
}

TEST_CASE("Columns of very different scales are seen alike, and equal ones are left as they are") {
  std::vector<double> values;
  for (std::size_t i = 0; i < 100; ++i)
    values.insert(values.end(), {1e4 * std::sin(double(i)), 1e-3 * std::cos(double(i)), 7});
  const PointSet set(values, 3, {.holdout = 0});
  for (std::size_t d = 0; d < 2; ++d) {
    double square = 0;
    for (std::size_t i = d; i < 300; i += 3)
      square += double(set.training()[i]) * set.training()[i] / 100;
    CHECK(square == doctest::Approx(1));
  }
  CHECK(set.training()[2] == 0);
  std::vector<float> back(set.training().begin(), set.training().end());
  set.to_original(back);
  CHECK(back[2] == 7);
}

TEST_CASE("Scalings of the wrong size are refused") {
  std::vector<double> three{1, 2, 3};
  const Scaling two{.mean = {0, 0}, .scale = {1, 1}};
  CHECK_THROWS_WITH_AS(two.apply(std::span(three)),
                       "Scaling: 3 values are not a whole number of rows of 2", ShapeError);
  const Scaling unequal{.mean = {0, 0, 0}, .scale = {1, 1}};
  CHECK_THROWS_WITH_AS(unequal.undo(std::span(three)), "Scaling: 3 means for 2 factors",
                       ShapeError);
  CHECK_THROWS_WITH_AS(static_cast<void>(measure_scaling(three, 2)),
                       "measure_scaling: 3 values are not one or more rows of 2", ShapeError);
}

TEST_CASE("Points from a CSV file with a header") {
  const TemporaryFolder folder;
  const auto path = folder / "points.csv";
  std::ofstream(path) << "height,\"weight, kg\"\n1.5,60\n1.75,70\n2,80\n";
  const PointSet set(path, {.holdout = 0});
  CHECK(set.size() == 3);
  CHECK(set.names() == std::vector<std::string>{"height", "weight, kg"});
  CHECK(set.scaling().mean[0] == doctest::Approx(1.75));
}

TEST_CASE("The split holds every row once and depends on the seed alone") {
  const PointSet set(line(50), 2), same(line(50), 2), other(line(50), 2, {.seed = 7});
  const std::set<long> held = rows_of(set, set.held_out()), kept = rows_of(set, set.training());
  CHECK(held.size() == 5);
  CHECK(kept.size() == 45);
  CHECK(std::ranges::none_of(held, [&](long row) { return kept.contains(row); }));
  CHECK(held == rows_of(same, same.held_out()));
  CHECK(held != rows_of(other, other.held_out()));
}

TEST_CASE("Only training rows are drawn, all of them, and evenly") {
  const PointSet set(line(20), 2, {.holdout = 0.5});
  std::vector<float> drawn(2 * 20'000);
  set.sample(drawn, 1, 0);
  CHECK(rows_of(set, drawn) == rows_of(set, set.training()));
  for (std::size_t row = 0; row < 10; ++row) {
    int count = 0;
    for (std::size_t i = 0; i < drawn.size(); i += 2) count += drawn[i] == set.training()[2 * row];
    CHECK(std::abs(count - 2000) < 4 * 43);
  }
}

TEST_CASE("Rows drawn in parts are the rows drawn at once") {
  const PointSet set(line(500), 2);
  std::vector<float> whole(200), parts(200), later(200);
  set.sample(whole, 1, 3);
  set.sample(std::span(parts).last(100), 1, 3, 50);
  set.sample(std::span(parts).first(100), 1, 3);
  set.sample(later, 1, 4);
  CHECK(whole == parts);
  CHECK(whole != later);
}

TEST_CASE("Any number of columns") {
  std::vector<double> values(30);
  for (std::size_t i = 0; i < 30; ++i) values[i] = std::sin(double(i));
  CHECK(PointSet(values, 1).dim() == 1);
  CHECK(PointSet(values, 3).size() == 10);
  CHECK_THROWS_AS(PointSet(values, 4), ShapeError);
  CHECK_THROWS_AS(PointSet(values, 0), ShapeError);
  const PointSet set(values, 3);
  std::vector<float> odd(4);
  CHECK_THROWS_AS(set.sample(odd, 1, 0), ShapeError);
  CHECK_THROWS_AS(set.to_original(odd), ShapeError);
}

TEST_CASE("Unusable files are refused in a sentence") {
  const double not_a_number = std::numeric_limits<double>::quiet_NaN();
  CHECK(contains(refusal({4}, {1, 2, 3, 4}), "of shape (4), where a table of N rows"));
  CHECK(contains(refusal({1, 2, 2}, {1, 2, 3, 4}), "of shape (1 x 2 x 2)"));
  CHECK(contains(refusal({3, 0}, {}), "of shape (3 x 0)"));
  CHECK(contains(refusal({1, 2}, {1, 2}), "has 1 rows, where at least 2 are expected"));
  CHECK(contains(refusal({0, 2}, {}), "has 0 rows"));
  CHECK(contains(refusal({2, 2}, {1, 2, 3, not_a_number}), "not finite in row 1, column 1"));
  CHECK(contains(refusal({2, 2}, {1, 2, 1, 2}), "only equal rows"));
  CHECK(contains(refusal({2, 1}, {1e300, -1e300}), "too large"));
  CHECK_THROWS_AS(PointSet("/nowhere/points.npy"), FileError);
}

TEST_CASE("The share held out is checked") {
  for (const double holdout : {-0.1, 1.0, 2.0, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_THROWS_AS(PointSet(line(10), 2, {.holdout = holdout}), SettingError);
  }
  CHECK(PointSet(line(2), 2, {.holdout = 0.99}).training().size() == 2);  // one row always stays
}
