// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/ops/reduce.hpp>
#include <meanflow/ops/softmax.hpp>

using namespace meanflow;
using test::expect_op;
using test::numbers;
using test::Values;

namespace {

const std::array<Values, 1> x{numbers({5, 3, 4}, 1)};

}  // namespace

TEST_CASE("sum and mean of each row") {
  expect_op([](const auto&, const auto& v) { return sum(v); }, x);
  expect_op([](const auto&, const auto& v) { return mean(v); }, x);
  CHECK(sum(x[0]).shape() == Shape{5, 1});
  CHECK(mean(Values::from({1, 4}, {1, 2, 3, 6}))[0] == 3);
}

TEST_CASE("sum and mean along the last axis") {
  expect_op([](const auto&, const auto& v) { return sum_last(v); }, x);
  expect_op([](const auto&, const auto& v) { return mean_last(v); }, x);
  CHECK(mean_last(x[0]).shape() == Shape{5, 3, 1});
}

TEST_CASE("the mean over the pixels of an image") {
  const std::array<Values, 1> images{numbers({3, 2, 5, 4}, 3)};
  expect_op([](const auto&, const auto& v) { return mean_pixels(v); }, images);
  CHECK(mean_pixels(images[0]).shape() == Shape{3, 4});
  const auto mean_of = mean_pixels(Values::from({1, 1, 3, 2}, {1, 10, 2, 20, 6, 60}));
  CHECK(mean_of[0] == doctest::Approx(3));
  CHECK(mean_of[1] == doctest::Approx(30));
}

TEST_CASE("softmax along the last axis") {
  expect_op([](const auto&, const auto& v) { return softmax(v); }, x);
  expect_op([](const auto&, const auto& v) { return softmax(v); },
            std::array<Values, 1>{numbers({4, 17}, 2, -3, 3)});
  const auto y = softmax(Values::from({1, 3}, {1000, 1000, -INFINITY}));
  CHECK(y[0] == 0.5);
  CHECK(y[1] == 0.5);
  CHECK(y[2] == 0);
}

TEST_CASE("reductions of nothing") {
  CHECK(sum(Values({0, 3})).shape() == Shape{0, 1});
  CHECK(sum(Values({2, 0}))[1] == 0);
  CHECK(softmax(Values({3, 0})).shape() == Shape{3, 0});
  CHECK(softmax(Values({0, 3})).shape() == Shape{0, 3});
}
