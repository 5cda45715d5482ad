// SPDX-License-Identifier: MIT
#include <cmath>
#include <vector>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/optim/adam.hpp>

#include "one_parameter.hpp"

using namespace meanflow;
using test::numbers;
using test::Values;

namespace {

// The algorithm as the papers print it.
void plain_step(const Adam& adam, double rate, int count, const Values& g, std::vector<double>& m,
                std::vector<double>& v, Values& p) {
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double gradient = g[i] + (adam.decoupled ? 0 : adam.weight_decay * p[i]);
    if (adam.decoupled) p[i] -= rate * adam.weight_decay * p[i];
    m[i] = adam.beta1 * m[i] + (1 - adam.beta1) * gradient;
    v[i] = adam.beta2 * v[i] + (1 - adam.beta2) * gradient * gradient;
    const double m_hat = m[i] / (1 - std::pow(adam.beta1, count));
    const double v_hat = v[i] / (1 - std::pow(adam.beta2, count));
    p[i] -= rate * m_hat / (std::sqrt(v_hat) + adam.epsilon);
  }
}

void expect_plain(const Adam& adam) {
  const std::size_t n = 37;
  const Values p = numbers({n}, 1);
  Values expected = p.clone();
  const Parameters<double> parameters = test::parameters_of(p);
  ParameterUpdate<Adam, double, Cpu> update(parameters, adam);
  std::vector<double> m(n), v(n);
  for (int count = 1; count <= 20; ++count) {
    const Values g = numbers({n}, static_cast<std::uint64_t>(count) + 5);
    const double rate = 0.01 / count;
    update.step(parameters, test::flat(g), rate);
    plain_step(adam, rate, count, g, m, v, expected);
  }
  CHECK(test::relative_error(parameters["p"].tensor(), expected) <= 1e-14);
}

}  // namespace

TEST_CASE("Adam") { expect_plain({}); }
TEST_CASE("Adam with other settings") {
  expect_plain({.beta1 = 0.5, .beta2 = 0.9, .epsilon = 1e-3});
}
TEST_CASE("AdamW") { expect_plain({.weight_decay = 0.1}); }
TEST_CASE("Adam with coupled weight decay") {
  expect_plain({.weight_decay = 0.1, .decoupled = false});
}

TEST_CASE("the first step is the learning rate, whatever the size of the gradient") {
  for (const double size : {1e-3, 1.0, 1e6}) {
    const Parameters<double> parameters = test::parameters_of(Values::zeros({2}));
    ParameterUpdate<Adam, double, Cpu> update(parameters, Adam{});
    update.step(parameters, test::flat(Values::from({2}, {size, -size})), 0.1);
    const Values p = parameters["p"].tensor();
    CHECK(p[0] == doctest::Approx(-0.1).epsilon(1e-4));
    CHECK(p[1] == doctest::Approx(0.1).epsilon(1e-4));
  }
}
