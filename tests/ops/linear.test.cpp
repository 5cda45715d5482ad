// SPDX-License-Identifier: MIT
#include <array>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/ops/linear.hpp>

using namespace meanflow;
using test::expect_op;
using test::message_of;
using test::numbers;
using test::Values;

namespace {

const std::array<Values, 1> input{numbers({6, 5}, 1)};
const Values weight = numbers({3, 5}, 2), bias = numbers({3}, 3);

}  // namespace

TEST_CASE("linear with a bias") {
  expect_op([](const auto& p, const auto& x) { return linear(x, p[0], p[1]); }, input,
            {{"weight", weight}, {"bias", bias}});
}

TEST_CASE("linear without a bias") {
  expect_op([](const auto& p, const auto& x) { return linear(x, p[0]); }, input,
            {{"weight", weight}});
}

TEST_CASE("linear with an activation, with and without a bias") {
  expect_op([](const auto& p, const auto& x) { return linear(x, p[0], p[1], Silu{}); }, input,
            {{"weight", weight}, {"bias", bias}});
  const auto without = [](const auto& p, const auto& x) {
    return linear(x, p[0], std::remove_cvref_t<decltype(p[0])>{}, Tanh{});
  };
  expect_op(without, input, {{"weight", weight}});
}

TEST_CASE("linear of more than two axes") {
  expect_op([](const auto& p, const auto& x) { return linear(x, p[0], p[1]); },
            std::array<Values, 1>{numbers({4, 3, 5}, 4)}, {{"weight", weight}, {"bias", bias}});
}

TEST_CASE("linear used twice adds to the gradient of its weight") {
  const auto f = [](const auto& p, const auto& x) {
    return linear(linear(x, p[0], p[1], Gelu{}), p[0], p[1]);
  };
  expect_op(f, std::array<Values, 1>{numbers({6, 3}, 5)},
            {{"weight", numbers({3, 3}, 6)}, {"bias", bias}});
}

TEST_CASE("linear gives x W^T + b") {
  Parameters<double> parameters;
  const auto w = parameters.add("w", {1, 2}), b = parameters.add("b", {1});
  w.data()[0] = 2, w.data()[1] = 3, b.data()[0] = 4;
  CHECK(linear(Values::from({1, 2}, {5, 6}), w, b)[0] == 32);
}

TEST_CASE("linear of an empty batch") {
  Parameters<double> parameters;
  const auto w = parameters.add("w", {3, 2}), b = parameters.add("b", {3});
  CHECK(linear(Values({0, 2}), w, b).shape() == Shape{0, 3});
}

TEST_CASE("shape errors of linear") {
  Parameters<double> parameters;
  const auto w = parameters.add("w", {3, 2}), b = parameters.add("b", {4});
  CHECK(message_of<ShapeError>([&] {
          (void)linear(Values({5, 4}), w);
        }) ==
        "linear: shape (5, 4) does not fit shape (3, 2) (the input's last extent must be the "
        "columns of w)");
  CHECK(message_of<ShapeError>([&] {
          (void)linear(Values({5, 2}), w, b);
        }) == "linear: shape (4) does not fit shape (3, 2) (one bias per row of w)");
}
