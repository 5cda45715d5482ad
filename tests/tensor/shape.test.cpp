// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <meanflow/tensor/shape.hpp>

using namespace meanflow;

static_assert(Shape{2, 3, 4}.size() == 24 && Shape{2, 3, 4}.row_size() == 12);
static_assert(Shape{}.size() == 1 && Shape{}.rank() == 0 && Shape{}.rows() == 1);
static_assert(Shape{5}.row_size() == 1 && Shape{5}.last() == 5 && Shape{}.last() == 1);
static_assert(Shape{0, 3}.size() == 0 && Shape{0, 3}.row_size() == 3);
static_assert(Shape{2, 3}.with_rows(7) == Shape{7, 3} && Shape{2, 3}.with_last(7) == Shape{2, 7});
static_assert(Shape{}.with_rows(7) == Shape{7} && Shape{}.with_last(7) == Shape{7});
static_assert(!(Shape{2, 3} == Shape{2, 3, 1}) && !(Shape{2, 3} == Shape{3, 2}));

TEST_CASE("a shape is made of extents, can be walked and printed") {
  Shape shape;
  for (std::size_t i = 1; i <= 5; ++i) shape.push_back(i);
  CHECK(shape == Shape{1, 2, 3, 4, 5});
  shape[0] = 9;
  std::size_t sum = 0;
  for (const std::size_t extent : shape) sum += extent;
  CHECK(sum == 23);
  CHECK(to_string(shape) == "(9, 2, 3, 4, 5)");
  CHECK(to_string(Shape{}) == "()");
  CHECK(to_string(Shape{7}) == "(7)");
}

TEST_CASE("at most 5 extents") {
  CHECK_THROWS_WITH_AS((Shape{1, 1, 1, 1, 1, 1}), "Shape: at most 5 extents are supported",
                       ShapeError);
  Shape full{1, 1, 1, 1, 1};
  CHECK_THROWS_AS(full.push_back(1), ShapeError);
}

TEST_CASE("shape errors are one sentence") {
  CHECK_THROWS_WITH_AS(throw_shape_error("add", {2, 3}, {4}, "extents differ"),
                       "add: shape (2, 3) does not fit shape (4) (extents differ)", ShapeError);
}
