// SPDX-License-Identifier: MIT
// Groups of parameters, clipping, and what a custom optimizer needs.
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/optim/adam.hpp>
#include <meanflow/optim/muon.hpp>
#include <meanflow/optim/sgd.hpp>

#include "one_parameter.hpp"

using namespace meanflow;
using test::numbers;
using test::Values;

namespace {

static_assert(Optimizer<Adam, float> && Optimizer<Sgd, double> && Optimizer<Muon, float>);
static_assert(ElementwiseOptimizer<Adam, float> && !ElementwiseOptimizer<Muon, float>);
static_assert(!Optimizer<int, float>);

struct ForgetsNumbers {
  static constexpr std::array state{"first"};
};
static_assert(!Optimizer<ForgetsNumbers, float>);

/// p -= rate g, without state.
struct Plain {
  static constexpr std::array<const char*, 0> state{};
  template <class T>
  struct Numbers {
    T rate;
  };
  template <class T>
  Numbers<T> numbers(const StepRates& rates) const {
    return {T(rates.learning_rate)};
  }
  template <class T, class V>
  static void update(const Numbers<T>& n, const V& g, V& p) {
    p = p - n.rate * g;
  }
};
static_assert(ElementwiseOptimizer<Plain, double>);

/// Moves whatever the rate.
struct RestlessOptimizer : Plain {
  template <class T>
  Numbers<T> numbers(const StepRates&) const {
    return {T(1)};
  }
};

Parameters<double> two_layers() {
  Parameters<double> parameters;
  for (const char* name : {"a.weight", "b.weight"})
    std::ranges::copy(numbers({5, 7}, 1).span(), parameters.add(name, {5, 7}).data());
  std::ranges::copy(numbers({9}, 2).span(), parameters.add("b.bias", {9}).data());
  return parameters;
}

bool starts_with(const ParameterEntry& entry, const char* prefix) {
  return entry.name.starts_with(prefix);
}

}  // namespace

TEST_CASE("groups have rates of their own, frozen ones none, and the first that matches counts") {
  const Parameters<double> parameters = two_layers();
  const Values before = parameters.values().clone();
  ParameterUpdate<Plain, double, Cpu> update(
      parameters, Plain{},
      {{.contains = [](const auto& e) { return starts_with(e, "a."); }, .frozen = true},
       {.contains = is_vector, .rate_scale = 0.5},
       {.contains = [](const auto& e) { return starts_with(e, "b.bias"); }, .rate_scale = 100}});
  update.step(parameters, Values::full({parameters.flat_size()}, 1), 0.1);
  for (std::size_t i = 0; i < 35; ++i) {
    CHECK(parameters["a.weight"].data()[i] == before[i]);
    CHECK(parameters["b.weight"].data()[i] ==
          doctest::Approx(before[parameters["b.weight"].offset() + i] - 0.1));
  }
  for (std::size_t i = 0; i < 9; ++i)
    CHECK(parameters["b.bias"].data()[i] ==
          doctest::Approx(before[parameters["b.bias"].offset() + i] - 0.05));
  CHECK(*update.frozen_entries() == std::vector<bool>{true, false, false});
}

TEST_CASE("a frozen parameter stays even if the optimizer would move it at a rate of 0") {
  const Parameters<double> parameters = two_layers();
  const Values before = parameters.values().clone();
  ParameterUpdate<RestlessOptimizer, double, Cpu> update(
      parameters, RestlessOptimizer{},
      {{.contains = [](const auto& e) { return starts_with(e, "a."); }, .frozen = true}});
  update.step(parameters, Values::full({parameters.flat_size()}, 1), 0.1);
  CHECK(parameters["a.weight"].data()[3] == before[3]);
  CHECK(parameters["b.bias"].data()[0] == before[parameters["b.bias"].offset()] - 1);
}

TEST_CASE("weight decay is scaled by group, for elements and for matrices") {
  const auto decayed = [](auto optimizer) {
    const Parameters<double> parameters = two_layers();
    const double bias = parameters["b.bias"].data()[0], weight = parameters["a.weight"].data()[0];
    ParameterUpdate<decltype(optimizer), double, Cpu> update(
        parameters, optimizer, {{.contains = is_vector, .decay_scale = 0}});
    update.step(parameters, Values::full({parameters.flat_size()}, 1e-300), 0.1);
    return std::pair(parameters["b.bias"].data()[0] / bias,
                     parameters["a.weight"].data()[0] / weight);
  };
  const auto [bias, weight] = decayed(Adam{.epsilon = 1, .weight_decay = 0.5});
  CHECK(bias == doctest::Approx(1));
  CHECK(weight == doctest::Approx(0.95));
  const auto [sgd_bias, sgd_weight] = decayed(Sgd{.weight_decay = 0.5});
  CHECK(sgd_bias == doctest::Approx(1));
  CHECK(sgd_weight == doctest::Approx(0.95));
}

TEST_CASE("one group for all is no group") {
  const Parameters<double> a = two_layers(), b = two_layers();
  ParameterUpdate<Adam, double, Cpu> one(a, Adam{.weight_decay = 0.1}),
      grouped(b, Adam{.weight_decay = 0.1}, {{.contains = is_vector}});
  for (std::uint64_t step = 0; step < 3; ++step) {
    const Values g = numbers({a.flat_size()}, step);
    one.step(a, g, 0.1);
    grouped.step(b, g, 0.1);
  }
  CHECK(test::same_bits(a.values(), b.values()));
}

TEST_CASE("a gradient that is too long is clipped, one that is not finite changes nothing") {
  const Parameters<double> parameters = test::parameters_of(Values::zeros({2}));
  ParameterUpdate<Plain, double, Cpu> update(parameters, Plain{}, {}, {ConstantEma{0.5}});
  update.step(parameters, test::flat(Values::from({2}, {3, 4})), 1, 2.5);
  CHECK(parameters["p"].data()[0] == doctest::Approx(-1.5));
  CHECK(update.averages()[0][1] == doctest::Approx(-1));
  const Values before = parameters.values().clone(), average = update.averages()[0].clone();
  update.step(parameters, test::flat(Values::from({2}, {INFINITY, 4})), 1, 2.5);
  CHECK(test::same_bits(parameters.values(), before));
  CHECK(test::same_bits(update.averages()[0], average));
}

TEST_CASE("an element's step does not depend on where it lies") {
  const std::size_t n = 1000;
  const Values g = numbers({n}, 1), start = numbers({n}, 2);
  const double squared_norm = 2;
  const auto n3 = Adam{.weight_decay = 0.1}.numbers<double>({.learning_rate = 0.01, .count = 3});
  const auto stepped = [&](std::size_t first, std::size_t count) {
    const std::array state{numbers({n}, 3), Values::full({n}, 0.3)};
    const Values p = start.clone(), m = numbers({n}, 3).rows(first, n).clone();
    std::array shifted{m, state[1]};
    Values part = p.rows(first, first + count).clone();
    update_elements<Adam>(0, count, GradientView<double>{g.data() + first, &squared_norm, 0.7}, &n3,
                          nullptr, std::span<Values>(shifted), part.data());
    return part;
  };
  const Values all = stepped(0, n);
  std::size_t differ = 0;
  for (std::size_t i = 0; i < n; ++i) differ += stepped(i, 1)[0] != all[i];
  CHECK(differ == 0);
}

TEST_CASE("invalid groups are refused") {
  const Parameters<double> parameters = two_layers();
  using Update = ParameterUpdate<Plain, double, Cpu>;
  CHECK_THROWS_WITH_AS((Update(parameters, Plain{}, {{}})),
                       "groups[0]: contains is empty, but must be a function of a ParameterEntry",
                       SettingError);
}
