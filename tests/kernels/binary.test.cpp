// SPDX-License-Identifier: MIT
#include <array>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/error.hpp>
#include <meanflow/scalar/functors.hpp>

#include "compare.hpp"

using namespace meanflow;
using test::expect_same;
using test::numbers;
using test::Numbers;

namespace {

const std::vector<std::pair<Shape, Shape>> patterns{{{}, {}},
                                                    {{1}, {17}},
                                                    {{17}, {1}},
                                                    {{1000}, {1000}},
                                                    {{5, 17}, {5, 1}},
                                                    {{5, 1}, {5, 17}},
                                                    {{5, 17}, {17}},
                                                    {{17}, {5, 17}},
                                                    {{5, 3}, {1, 3}},
                                                    {{2, 3, 4}, {2, 1, 4}},
                                                    {{2, 3, 4}, {3, 1}},
                                                    {{2, 1, 4}, {1, 3, 1}},
                                                    {{0, 3}, {0, 3}},
                                                    {{0, 3}, {3}},
                                                    {{3, 0}, {3, 1}},
                                                    {{300, 300}, {300, 1}},
                                                    {{300, 300}, {300}}};

template <class T, class F>
void expect_binary(F f) {
  for (const auto& pattern : patterns) {
    const Shape &a = pattern.first, &b = pattern.second;
    INFO(F::name, " of shapes ", to_string(a), " and ", to_string(b));
    const Broadcast shape = broadcast("test", a, b);
    const auto x = numbers<T>(a.size(), 1, T(0.3), 2), y = numbers<T>(b.size(), 2, T(-2), T(-0.3));
    const auto dx = numbers<T>(a.size(), 3), dy = numbers<T>(b.size(), 4);
    const auto g = numbers<T>(shape.size(), 5);
    expect_same<T>(
        [&](auto device, auto& z) { binary(device, f, shape, x.data(), y.data(), z.data()); },
        Numbers<T>(shape.size()));
    expect_same<T>(
        [&](auto device, auto& z) {
          binary_tangent(device, f, shape, x.data(), dx.data(), y.data(), dy.data(), z.data());
        },
        Numbers<T>(shape.size()), 32);
    // Gradients of x and of y, added to what is there; either may be missing.
    const auto state = numbers<T>(a.size() + b.size(), 6);
    for (const auto& with : {std::pair(true, true), {true, false}, {false, true}})
      expect_same<T>(
          [&](auto device, auto& z) {
            T* gx = with.first ? z.data() : nullptr;
            T* gy = with.second ? z.data() + a.size() : nullptr;
            binary_backward(device, f, shape, x.data(), y.data(), g.data(), gx, gy);
          },
          state, 4000);
  }
}

}  // namespace

TEST_CASE("binary operations of floats") {
  expect_binary<float>(Divide{});
  expect_binary<float>(Maximum{});
}

TEST_CASE("binary operations of doubles") {
  expect_binary<double>(Multiply{});
  expect_binary<double>(Divide{});
}

TEST_CASE("broadcast gives the result's shape and merges axes that are walked alike") {
  const auto merged = broadcast("test", {4, 3, 2}, {4, 3, 2});
  CHECK(merged.shape == Shape{4, 3, 2});
  CHECK(merged.rank == 1);
  CHECK(merged.inner() == 24);
  const auto rows = broadcast("test", {4, 3, 2}, {3, 2});
  CHECK(rows.rank == 2);
  CHECK(rows.inner() == 6);
  CHECK(rows.outer() == 4);
  CHECK(rows.offsets(2).x == 12);
  CHECK(rows.offsets(2).y == 0);
  const auto last = broadcast("test", {4, 3, 2}, {4, 3, 1});
  CHECK(last.inner() == 2);
  CHECK(last.outer() == 12);
  CHECK(last.offsets(5).y == 5);
  const auto numbers = broadcast("test", {1, 1}, {1});
  CHECK(numbers.shape == Shape{1, 1});
  CHECK(numbers.rank == 0);
  CHECK(numbers.inner() == 1);
  CHECK(numbers.outer() == 1);
  const auto nothing = broadcast("test", {4, 0}, {1, 0});
  CHECK(nothing.shape == Shape{4, 0});
  CHECK(nothing.outer() == 0);
  CHECK(broadcast("test", {2, 1, 3}, {5, 1}).shape == Shape{2, 5, 3});
}

TEST_CASE("shapes that do not fit are refused with the operation's name and both shapes") {
  CHECK_THROWS_WITH_AS((void)broadcast("add", {4, 3}, {4, 2}),
                       "add: shape (4, 3) does not fit shape (4, 2) (extents 3 and 2 differ)",
                       ShapeError);
  CHECK_THROWS_AS((void)broadcast("add", {4, 3}, {4}), ShapeError);
}
