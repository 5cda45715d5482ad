// SPDX-License-Identifier: MIT
#include <array>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/ops/concat.hpp>
#include <meanflow/ops/reshape.hpp>

using namespace meanflow;
using test::expect_op;
using test::message_of;
using test::numbers;
using test::Values;

TEST_CASE("concat of one, two and three") {
  const Values x = numbers({4, 3}, 1), y = numbers({4, 1}, 2), z = numbers({4, 2}, 3);
  expect_op([](const auto&, const auto& a) { return concat(a); }, std::array{x});
  expect_op([](const auto&, const auto& a, const auto& b) { return concat(a, b); },
            std::array{x, y});
  expect_op(
      [](const auto&, const auto& a, const auto& b, const auto& c) { return concat(a, b, c); },
      std::array{x, y, z});
  expect_op([](const auto&, const auto& a, const auto& b) { return concat(a, b, a); },
            std::array{x, y});
  CHECK(test::same_bits(concat(Values::from({2, 1}, {1, 2}), Values::from({2, 2}, {3, 4, 5, 6})),
                        Values::from({2, 3}, {1, 3, 4, 2, 5, 6})));
}

TEST_CASE("concat of higher ranks and of nothing") {
  expect_op([](const auto&, const auto& a, const auto& b) { return concat(a, b); },
            std::array{numbers({4, 2, 3}, 1), numbers({4, 2, 1}, 2)});
  CHECK(concat(numbers({4, 3}, 1), Values({4, 0})).shape() == Shape{4, 3});
}

TEST_CASE("slice_last and split") {
  const std::array<Values, 1> x{numbers({4, 6}, 1)};
  expect_op([](const auto&, const auto& a) { return slice_last(a, 1, 4); }, x);
  expect_op([](const auto&, const auto& a) { return slice_last(a, 0, 6); }, x);
  const auto parts = [](const auto&, const auto& a) {
    const auto [p, q, r] = split<3>(a);
    return concat(r, p, concat(q, p));
  };
  expect_op(parts, x);
  CHECK(slice_last(x[0], 2, 2).shape() == Shape{4, 0});
}

TEST_CASE("reshape") {
  const std::array<Values, 1> x{numbers({4, 6}, 1)};
  expect_op([](const auto&, const auto& a) { return reshape(a, {4, 2, 3}); }, x);
  const auto twice = [](const auto&, const auto& a) {
    return concat(reshape(a, {4, 2, 3}), reshape(a, {4, 2, 3}));
  };
  expect_op(twice, x);
}

TEST_CASE("shape errors name the operation and the shapes") {
  const Values x({4, 3}), y({5, 3});
  CHECK(message_of<ShapeError>([&] { (void)concat(x, y); }) ==
        "concat: shape (4, 3) does not fit shape (5, 3) (all extents but the last must be equal)");
  CHECK_THROWS_AS((void)concat(x, Values({4, 1, 3})), ShapeError);
  CHECK(message_of<ShapeError>([&] { (void)slice_last(x, 2, 4); }) ==
        "slice_last: [2, 4) are not within shape (4, 3)");
  CHECK_THROWS_AS((void)slice_last(x, 2, 1), ShapeError);
  CHECK(message_of<ShapeError>([&] { (void)split<2>(x); }) ==
        "split: the last extent of shape (4, 3) is not divisible by 2");
  CHECK(message_of<ShapeError>([&] {
          (void)reshape(x, {5, 2});
        }) == "Tensor::reshaped: shape (4, 3) does not fit shape (5, 2) (element counts differ)");
  const DualTensor<double> dual(x, Values({2, 3}));
  CHECK(message_of<ShapeError>([&] {
          (void)reshape(dual, {3, 4});
        }) == "DualTensor::reshaped: shape (4, 3) does not fit shape (3, 4) (the batch must stay)");
  CHECK(message_of<ShapeError>([&] {
          (void)reshape(dual, {4, 4});
        }) ==
        "DualTensor::reshaped: shape (4, 3) does not fit shape (4, 4) (element counts differ)");
  const DualTensor<double> other(x, Values({3, 3}));
  CHECK(message_of<ShapeError>([&] { (void)concat(dual, other); }) ==
        "concat: one operand has 2 tangent rows, the other 3");
}
