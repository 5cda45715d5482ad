// SPDX-License-Identifier: MIT
#include <cmath>
#include <tuple>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/autodiff/check.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/ops/reduce.hpp>

using namespace meanflow;
using test::numbers;
using test::Values;

namespace {

// A function object whose derivative is wrong where x > limit.
struct Wrong {
  double limit;
  template <class T>
  T operator()(const T& x) const {
    if constexpr (requires { x.tangent; }) {
      using U = typename T::value_type;
      const U slope = select(x.primal > limit, U(2) * x.primal + U(0.5), U(2) * x.primal);
      return T(x.primal * x.primal, slope * x.tangent);
    } else {
      return x * x;
    }
  }
};

}  // namespace

TEST_CASE("check_jvp is small for a right rule and names the worst element of a wrong one") {
  const Values x = Values::from({2, 2}, {0.5, 1, 0.7, -0.2}), dx = Values::full({2, 2}, 1);
  CHECK(check_jvp([](const auto& v) { return exp(v) * v; }, x, dx).error < 1e-10);
  const auto wrong = check_jvp([](const auto& v) { return unary(Wrong{0.9}, v); }, x, dx);
  CHECK(wrong.error == doctest::Approx(0.25).epsilon(1e-6));
  CHECK(wrong.index == 1);
  CHECK(wrong.jvp == doctest::Approx(2.5));
  CHECK(wrong.difference == doctest::Approx(2.0));
}

TEST_CASE("check_jvp of several arguments and of fewer tangents than rows") {
  const auto x = numbers({4, 3}, 1), y = numbers({4, 1}, 2);
  const auto f = [](const auto& a, const auto& b) { return sum(a * a * b); };
  CHECK(check_jvp(f, std::tuple(x, y), {numbers({4, 3}, 3), numbers({4, 1}, 4)}).error < 1e-10);
  CHECK(check_jvp(f, std::tuple(x, y), {numbers({2, 3}, 3), numbers({2, 1}, 4)}).error < 1e-10);
}

TEST_CASE("check_adjoint compares forward and backward mode") {
  const auto x = numbers({4, 3}, 1), y = numbers({4, 1}, 2), g = numbers({4, 3}, 5);
  const auto f = [](const auto& a, const auto& b) { return silu(a * b) / (b * b + 1); };
  const auto right =
      check_adjoint(f, std::tuple(x, y), {numbers({4, 3}, 3), numbers({4, 1}, 4)}, g);
  CHECK(right.error < 1e-14);
  CHECK(right.forward == doctest::Approx(right.backward));
  CHECK(right.forward != 0);
  const auto stops = [](const auto& a) { return a * stop_gradient(a) + a; };
  CHECK(check_adjoint(stops, x, numbers({4, 3}, 3), g).error < 1e-14);
  CHECK_THROWS_AS((void)check_adjoint(stops, x, x, y), ShapeError);
}

TEST_CASE("check_gradient passes a right net and finds a wrong rule") {
  const Mlp<double> net({.hidden = 8, .layers = 2});
  const auto z = numbers({5, 2}, 1), r = numbers({5, 1}, 2), t = numbers({5, 1}, 3);
  const auto before = net.parameters().values().clone();
  const auto loss = [&](auto& tape) {
    return sum(square(net(Var(tape, z), Var(tape, r), Var(tape, t))));
  };
  const auto right = check_gradient(loss, net.parameters());
  CHECK(right.error < 1e-9);
  CHECK_FALSE(right.parameter.empty());
  CHECK(test::same_bits(net.parameters().values(), before));

  const auto wrong = [&](auto& tape) {
    return unary(Wrong{-100}, net(Var(tape, z), Var(tape, r), Var(tape, t)));
  };
  const auto found = check_gradient(wrong, net.parameters(), 5);
  CHECK(found.error > 1e-2);
  CHECK(std::abs(found.gradient - found.difference) > 1e-3);
}
