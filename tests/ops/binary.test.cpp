// SPDX-License-Identifier: MIT
#include <array>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/ops/elementwise.hpp>

using namespace meanflow;
using test::expect_op;
using test::message_of;
using test::numbers;
using test::Values;

namespace {

// Every way in which two operands of one batch can meet.
const std::vector<std::pair<Shape, Shape>> patterns{{{4, 3}, {4, 3}},
                                                    {{4, 3}, {4, 1}},
                                                    {{4, 1}, {4, 3}},
                                                    {{4, 1}, {4, 1}},
                                                    {{4}, {4}},
                                                    {{4, 2, 3}, {4, 1, 3}},
                                                    {{4, 2, 3}, {4, 2, 1}},
                                                    {{4, 1, 3}, {4, 2, 1}},
                                                    {{4, 2, 3, 2}, {4, 1, 1, 2}},
                                                    {{4, 2, 1, 2}, {4, 1, 3, 1}},
                                                    {{4, 20}, {4, 20}},
                                                    {{4, 1}, {4, 20}}};

// Operands that differ everywhere, for max and min, and are not near 0, for division.
std::array<Values, 2> operands(const Shape& x, const Shape& y) {
  return {numbers(x, 1, 0.4, 2), numbers(y, 2, -1.7, -0.3)};
}

template <class F>
void expect_binary(F f) {
  for (const auto& pattern : patterns) {
    const Shape &x = pattern.first, &y = pattern.second;
    INFO("shapes ", to_string(x), " and ", to_string(y));
    auto in = operands(x, y);
    in[0][0] = -1.9;
    expect_op([f](const auto&, const auto& a, const auto& b) { return f(a, b); }, in);
  }
}

}  // namespace

TEST_CASE("sum and difference") {
  expect_binary([](const auto& x, const auto& y) { return x + y; });
  expect_binary([](const auto& x, const auto& y) { return x - y; });
}

TEST_CASE("product and quotient") {
  expect_binary([](const auto& x, const auto& y) { return x * y; });
  expect_binary([](const auto& x, const auto& y) { return x / y; });
}

TEST_CASE("larger and smaller one") {
  expect_binary([](const auto& x, const auto& y) { return max(x, y); });
  expect_binary([](const auto& x, const auto& y) { return min(x, y); });
}

TEST_CASE("plain values and their gradients broadcast over the batch as well") {
  const std::vector<std::pair<Shape, Shape>> shapes{
      {{4, 3}, {3}}, {{4, 3}, {1, 3}}, {{3}, {4, 3}}, {{1}, {4, 2, 3}}, {{4, 2, 3}, {}}};
  for (const auto& pair : shapes) {
    const Shape &a = pair.first, &b = pair.second;
    INFO("shapes ", to_string(a), " and ", to_string(b));
    const auto x = numbers(a, 1), y = numbers(b, 2);
    Tape<double> tape;
    const auto vx = variable(tape, x), vy = variable(tape, y);
    const auto z = vx * vy;
    const auto g = numbers(z.shape(), 3);
    tape.backward(z.node(), g);
    const auto gx = tape.take_gradient(vx.node()), gy = tape.take_gradient(vy.node());
    REQUIRE(gx.shape() == a);
    REQUIRE(gy.shape() == b);
    // x gx = y gy = sum of g z, since z is linear in both.
    CHECK(test::inner_product(x, gx) == doctest::Approx(test::inner_product(g, z.value())));
    CHECK(test::inner_product(y, gy) == doctest::Approx(test::inner_product(g, z.value())));
  }
}

TEST_CASE("the gradient of one constant operand is not computed") {
  Tape<double> tape;
  const auto x = numbers({4, 3}, 1), y = numbers({4, 1}, 2);
  const auto vy = variable(tape, y);
  const auto z = Var(tape, x) * vy;
  tape.backward(z.node(), Values::full({4, 3}, 1));
  CHECK(tape.take_gradient(vy.node()).shape() == Shape{4, 1});
  CHECK((Var(tape, x) * Var(tape, y)).constant());
  CHECK(tape.size() == 0);
}

TEST_CASE("shape errors name the operation and both shapes") {
  const auto x = numbers({4, 3}, 1), y = numbers({4, 2}, 2);
  CHECK(message_of<ShapeError>([&] { (void)(x + y); }) ==
        "add: shape (4, 3) does not fit shape (4, 2) (extents 3 and 2 differ)");
  CHECK(message_of<ShapeError>([&] { (void)max(x, y); }) ==
        "maximum: shape (4, 3) does not fit shape (4, 2) (extents 3 and 2 differ)");
  const DualTensor<double> a(x, x.rows(0, 2)), b(x, x.rows(0, 3));
  CHECK(message_of<ShapeError>([&] { (void)(a * b); }) ==
        "multiply: one operand has 2 tangent rows, the other 3");
}

TEST_CASE("with tangents the batches must be equal, axis by axis") {
  const DualTensor<double> x(numbers({3, 3}, 1), numbers({1, 3}, 2));
  const DualTensor<double> one_row(numbers({1, 3}, 3), numbers({1, 3}, 4));
  const DualTensor<double> flat(numbers({3}, 5), numbers({1}, 6));
  CHECK(message_of<ShapeError>([&] { (void)(x - one_row); }) ==
        "subtract: shape (3, 3) does not fit shape (1, 3) (with tangents the batches must be "
        "equal)");
  CHECK_THROWS_AS((void)(x - flat), ShapeError);
}
