// SPDX-License-Identifier: MIT
#include <array>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/ops/elementwise.hpp>

using namespace meanflow;
using test::expect_op;
using test::Values;

namespace {

template <class F>
void expect_unary(const char* name, F f) {
  INFO(name);
  auto x = test::numbers({5, 7}, 1, 0.05, 2);
  for (std::size_t i = 0; i < x.size(); i += 2) x[i] = -x[i];
  expect_op([f](const auto&, const auto& v) { return f(v); }, std::array<Values, 1>{x});
}

}  // namespace

TEST_CASE("trigonometric and other functions") {
  expect_unary("sin", [](const auto& x) { return sin(x); });
  expect_unary("cos", [](const auto& x) { return cos(x); });
  expect_unary("tanh", [](const auto& x) { return tanh(x); });
  expect_unary("erf", [](const auto& x) { return erf(x); });
  expect_unary("abs", [](const auto& x) { return abs(x); });
}
