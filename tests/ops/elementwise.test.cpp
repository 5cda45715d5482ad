// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/ops/elementwise.hpp>

using namespace meanflow;
using test::expect_op;
using test::numbers;
using test::Values;

namespace {

constexpr std::size_t rows = 5;

// All of these have a kink or an end of their domain at 0 at most: |x| >= 0.05.
std::array<Values, 1> away_from_zero(bool positive) {
  auto x = numbers({rows, 7}, 1, 0.05, 2);
  if (!positive)
    for (std::size_t i = 0; i < x.size(); i += 2) x[i] = -x[i];
  return {x};
}

// A function object of a user.
struct Cubed {
  template <class T>
  T operator()(const T& x) const {
    return x * x * x;
  }
};

template <class F>
void expect_unary(const char* name, F f, bool positive = false) {
  INFO(name);
  expect_op([f](const auto&, const auto& x) { return f(x); }, away_from_zero(positive));
}

}  // namespace

TEST_CASE("exponentials, logarithms and powers") {
  expect_unary("exp", [](const auto& x) { return exp(x); });
  expect_unary(
      "log", [](const auto& x) { return log(x); }, true);
  expect_unary(
      "sqrt", [](const auto& x) { return sqrt(x); }, true);
  expect_unary("square", [](const auto& x) { return square(x); });
}

TEST_CASE("unary operations give the function of every element") {
  const auto x = numbers({3, 5}, 2);
  const auto y = silu(x);
  for (std::size_t i = 0; i < x.size(); ++i)
    CHECK(y[i] == doctest::Approx(x[i] / (1 + std::exp(-x[i]))).epsilon(1e-14));
}

TEST_CASE("a function object of a user") {
  expect_unary("cubed", [](const auto& x) { return unary(Cubed{}, x); });
}

TEST_CASE("with plain numbers") {
  const std::array<Values, 1> x{numbers({rows, 3}, 3)};
  expect_op([](const auto&, const auto& v) { return affine(v, 2.5, -0.5); }, x);
  expect_op([](const auto&, const auto& v) { return 2 * (-v + 3.0) - v * 0.5f / 4; }, x);
  expect_op([](const auto&, const auto& v) { return 1 - (v - 2) + (3 + v); }, x);
}

TEST_CASE("a value used twice sums its gradients") {
  expect_op([](const auto&, const auto& x) { return x * x + exp(x) * x; },
            std::array<Values, 1>{numbers({rows, 3}, 4)});
}

TEST_CASE("stop_gradient ends the backward pass and the tangents") {
  Tape<double> tape;
  const auto x = numbers({4, 3}, 5), dx = numbers({2, 3}, 6);
  const auto v = variable(tape, DualTensor<double>(x, dx));
  const auto stopped = stop_gradient(v);
  CHECK(stopped.constant());
  CHECK(test::same_bits(stopped.value().primal(), x));
  REQUIRE(stopped.value().tangent_rows() == 2);
  for (double tangent : stopped.value().tangent().span()) CHECK(tangent == 0);
  const auto y = v * stopped;
  tape.backward(y.node(), Values::full({4, 3}, 1));
  CHECK(test::same_bits(tape.take_gradient(v.node()), x));
  for (std::size_t i = 0; i < dx.size(); ++i) CHECK(y.value().tangent()[i] == dx[i] * x[i]);
  CHECK(test::same_bits(stop_gradient(x), x));
  for (double tangent : stop_gradient(v.value()).tangent().span()) CHECK(tangent == 0);
}
