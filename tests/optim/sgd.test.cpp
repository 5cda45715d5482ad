// SPDX-License-Identifier: MIT
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/optim/sgd.hpp>

#include "one_parameter.hpp"

using namespace meanflow;
using test::numbers;
using test::Values;

namespace {

// The algorithm as PyTorch's documentation prints it.
void expect_plain(const Sgd& sgd) {
  const std::size_t n = 37;
  const Parameters<double> parameters = test::parameters_of(numbers({n}, 1));
  Values expected = numbers({n}, 1);
  std::vector<double> b(n, 0);
  ParameterUpdate<Sgd, double, Cpu> update(parameters, sgd);
  for (int step = 0; step < 10; ++step) {
    const Values g = numbers({n}, static_cast<std::uint64_t>(step) + 5);
    update.step(parameters, test::flat(g), 0.1);
    for (std::size_t i = 0; i < n; ++i) {
      const double gradient = g[i] + sgd.weight_decay * expected[i];
      b[i] = sgd.momentum * b[i] + gradient;
      expected[i] -= 0.1 * (sgd.nesterov ? gradient + sgd.momentum * b[i] : b[i]);
    }
  }
  CHECK(test::relative_error(parameters["p"].tensor(), expected) <= 1e-14);
}

}  // namespace

TEST_CASE("gradient descent") { expect_plain({.momentum = 0}); }
TEST_CASE("gradient descent with momentum and weight decay") {
  expect_plain({.momentum = 0.9, .weight_decay = 0.1});
}
TEST_CASE("gradient descent with Nesterov's momentum") {
  expect_plain({.momentum = 0.8, .weight_decay = 0.01, .nesterov = true});
}
TEST_CASE("invalid settings of gradient descent are refused") {
  CHECK_THROWS_WITH_AS((Sgd{.momentum = 1}.check()),
                       "Sgd: momentum is 1.000000, but must be in [0, 1)", SettingError);
  CHECK_THROWS_WITH_AS((Sgd{.weight_decay = -1}.check()),
                       "Sgd: weight_decay is -1.000000, but must be at least 0", SettingError);
}
