// SPDX-License-Identifier: MIT
#include <string>
#include <tuple>

#include <doctest/doctest.h>

#include <meanflow/autodiff/jvp.hpp>
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/ops/elementwise.hpp>

using namespace meanflow;
using Values = Tensor<double>;

TEST_CASE("jvp of a function of a tensor") {
  const auto x = Values::from({3, 2}, {1, 2, 3, 4, 5, 6});
  const auto dx = Values::from({3, 2}, {1, 1, 2, 2, 3, 3});
  const auto [y, dy] = jvp([](const auto& v) { return square(v); }, x, dx);
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(y[i] == x[i] * x[i]);
    CHECK(dy[i] == 2 * x[i] * dx[i]);
  }
}

TEST_CASE("the tangent may have fewer rows than the value") {
  const auto x = Values::from({3, 2}, {1, 2, 3, 4, 5, 6});
  const auto dx = Values::from({1, 2}, {1, 2});
  const auto [y, dy] = jvp([](const auto& v) { return v * v; }, x, dx);
  CHECK(y.shape() == Shape{3, 2});
  CHECK(dy.shape() == Shape{1, 2});
  CHECK(dy[1] == 8);
}

TEST_CASE("jvp of a function of several tensors") {
  const auto x = Values::from({2, 1}, {3, 4}), y = Values::from({2, 1}, {5, 6});
  const auto one = Values::full({2, 1}, 1);
  const auto f = [](const auto& a, const auto& b) { return a * b; };
  CHECK(jvp(f, std::tuple(x, y), {one, Values::zeros({2, 1})}).tangent[1] == 6);
  CHECK(jvp(f, std::tuple(x, y), {one, one}).tangent[1] == 10);
}

TEST_CASE("jvp refuses a tangent that does not fit") {
  const auto f = [](const auto& v) { return square(v); };
  const Values x({2, 2});
  std::string message;
  try {
    (void)jvp(f, x, Values({3, 2}));
  } catch (const ShapeError& error) {
    message = error.what();
  }
  CHECK(message == "jvp: tangent shape (3, 2) does not fit primal shape (2, 2)");
  CHECK_THROWS_AS((void)jvp(f, x, Values({2, 3})), ShapeError);
  CHECK_THROWS_AS((void)jvp(f, x, Values({2})), ShapeError);
  CHECK_THROWS_AS((void)jvp(f, x, Values()), ShapeError);
}
