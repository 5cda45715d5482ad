// SPDX-License-Identifier: MIT
#include <cmath>
#include <vector>

#include <doctest/doctest.h>
#include <expect_op.hpp>
#include <omp.h>

#include <meanflow/flow/sampler.hpp>
#include <meanflow/nn/mlp.hpp>

using namespace meanflow;
using test::relative_error;
using test::Values;

namespace {

// dz/dt = z: z_r = z_t exp(r - t), so u(z, r, t) = z (1 - exp(r - t)) / (t - r).
struct ExponentialFlow {
  using value_type = double;
  using device_type = Cpu;
  Parameters<double> store{};
  [[nodiscard]] const Parameters<double>& parameters() const { return store; }
  template <class X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t) const {
    const X h = t - r;
    return z * ((1 - exp(-h)) / h);
  }
};

// dz/dt = z, for solvers.
struct ExponentialField : ExponentialFlow {
  template <class X>
  [[nodiscard]] X operator()(const X& z, const X&, const X&) const {
    return z;
  }
};

const Values noise = test::numbers({5, 2}, 1);

double end_error(std::size_t steps, Solver solver) {
  const Values found = solve(ExponentialField{}, noise, steps, solver);
  return std::abs(found[0] - noise[0] * std::exp(-1.0));
}

}  // namespace

TEST_CASE("average velocities reach the data in any number of steps") {
  for (const std::size_t steps : {1, 2, 5}) {
    const Values x = sample(ExponentialFlow{}, noise, steps);
    for (std::size_t i = 0; i < x.size(); ++i)
      CHECK(x[i] == doctest::Approx(noise[i] * std::exp(-1.0)).epsilon(1e-12));
  }
  const std::vector<double> times{1, 0.7, 0.65, 0.1};
  CHECK(sample(ExponentialFlow{}, noise, times)[3] ==
        doctest::Approx(noise[3] * std::exp(-0.9)).epsilon(1e-12));
}

TEST_CASE("Euler's rule is of first order, Heun's of second") {
  const double euler = end_error(32, Solver::euler) / end_error(64, Solver::euler);
  CHECK(euler == doctest::Approx(2).epsilon(0.05));
  // The last step of Heun's rule is Euler's: of times that end before 0 it has none.
  const auto heun = [](std::size_t steps) {
    std::vector<double> times;
    for (std::size_t i = 0; i <= steps; ++i)
      times.push_back(1 - 0.5 * static_cast<double>(i) / static_cast<double>(steps));
    const Values found = solve(ExponentialField{}, noise, times, Solver::heun);
    return std::abs(found[0] - noise[0] * std::exp(-0.5));
  };
  CHECK(heun(32) / heun(64) == doctest::Approx(4).epsilon(0.05));
  CHECK(end_error(64, Solver::heun) < end_error(64, Solver::euler));
}

TEST_CASE("a row's sample depends on neither the batch nor the threads") {
  const Mlp<double> net({.hidden = 24, .layers = 2});
  const Values all = test::numbers({300, 2}, 2);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const Values expected = sample(net, all, 3);
  omp_set_num_threads(3);
  CHECK(relative_error(sample(net, all, 3), expected) <= 1e-13);
  CHECK(relative_error(sample(net, all.rows(100, 137), 3), expected.rows(100, 137)) <= 1e-13);
  CHECK(relative_error(solve(net, all, 3, Solver::heun).rows(7, 8),
                       solve(net, all.rows(7, 8), 3, Solver::heun)) <= 1e-13);
  omp_set_num_threads(threads);
}

TEST_CASE("the noise is not changed, and its rows do not depend on their number") {
  const Values before = noise.clone();
  (void)sample(ExponentialFlow{}, noise, 2);
  CHECK(test::same_bits(noise, before));
  const auto many = normal_noise<double>({10, 3}, 5), few = normal_noise<double>({4, 3}, 5, 6);
  CHECK(test::same_bits(many.rows(6, 10).clone(), few));
}

TEST_CASE("times that do not fall are refused") {
  const auto run = [](std::vector<double> times) { (void)sample(ExponentialFlow{}, noise, times); };
  CHECK_THROWS_WITH_AS(run({1}), "sampling needs at least 2 times", SettingError);
  CHECK_THROWS_WITH_AS(run({1, 0.5, 0.5}),
                       "sampling times must fall from 1 towards 0, but time 2 is 0.500000",
                       SettingError);
  CHECK_THROWS_AS(run({1.5, 0}), SettingError);
  CHECK_THROWS_AS(run({1, static_cast<double>(NAN)}), SettingError);
  CHECK_THROWS_AS((void)sample(ExponentialFlow{}, noise, std::size_t{0}), SettingError);
  CHECK(uniform_times(4) == std::vector<double>{1, 0.75, 0.5, 0.25, 0});
}

TEST_CASE("conditions of another number of rows than the noise are refused") {
  const Mlp<double> net({.hidden = 4, .layers = 1, .condition = 1});
  const VectorCondition<double> condition{Tensor<double>::full({noise.rows() + 1, 1}, 0)};
  CHECK_THROWS_WITH_AS((void)sample(net, noise, 1, condition),
                       ("sample: values of shape (" + std::to_string(noise.rows() + 1) +
                        ", 1) for a batch of " + std::to_string(noise.rows()) + " rows")
                           .c_str(),
                       ShapeError);
}

TEST_CASE("samples depend on the condition of their row") {
  const Mlp<double> net({.hidden = 8, .layers = 1, .condition = 1});
  VectorCondition<double> condition{Tensor<double>::full({noise.rows(), 1}, 0)};
  const auto none = sample(net, noise), zeros = sample(net, noise, 1, condition);
  CHECK(test::same_bits(none, zeros));
  condition.values[0] = 1;
  const auto one = sample(net, noise, 1, condition);
  CHECK(one[0] != none[0]);
  CHECK(test::same_bits(one.rows(1, noise.rows()).clone(), none.rows(1, noise.rows()).clone()));
  condition.values = Tensor<double>::full({noise.rows(), 2}, 0);
  CHECK_THROWS_AS((void)sample(net, noise, 1, condition), ShapeError);
  const Mlp<double> told_nothing({.hidden = 4, .layers = 1});
  CHECK_THROWS_WITH_AS((void)sample(told_nothing, noise, 1, condition),
                       "Mlp: its condition is 0, but values were given", ShapeError);
}
