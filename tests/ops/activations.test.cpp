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

TEST_CASE("activations") {
  expect_unary("sigmoid", [](const auto& x) { return sigmoid(x); });
  expect_unary("silu", [](const auto& x) { return silu(x); });
  expect_unary("gelu", [](const auto& x) { return gelu(x); });
  expect_unary("gelu_tanh", [](const auto& x) { return gelu_tanh(x); });
  expect_unary("softplus", [](const auto& x) { return softplus(x); });
  expect_unary("relu", [](const auto& x) { return relu(x); });
}
