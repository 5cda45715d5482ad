// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/ops/dropout.hpp>

using namespace meanflow;
using test::expect_op;
using test::numbers;
using test::same_bits;
using test::Values;

namespace {

template <class Device = Cpu>
RowDraws<Device> draw_of(std::size_t rows, std::uint64_t first = 0, std::uint64_t step = 3) {
  Tensor<std::uint64_t> numbers({rows});
  for (std::size_t row = 0; row < rows; ++row) numbers[row] = first + row;
  return {7, Tensor<std::uint64_t, Device>::full({1}, step), to_device<Device>(numbers)};
}

template <class X>
auto dropped(const X& x, double rate, std::size_t layer = 2) {
  return dropout(x, rate, draw_of<typename X::device_type>(x.rows()), layer);
}

}  // namespace

TEST_CASE("dropout is linear: value, tangent and backward pass share the mask") {
  expect_op([](const auto&, const auto& x) { return dropped(x, 0.4); },
            std::array<Values, 1>{numbers({5, 3, 7}, 1)});
}

TEST_CASE("as many are dropped as the rate says, and the mean stays") {
  const Values ones = Values::full({200, 500}, 1);
  for (const double rate : {0.1, 0.5, 0.9}) {
    const Values y = dropped(ones, rate);
    double zeros = 0, sum = 0;
    for (const double value : y.span()) {
      zeros += value == 0;
      sum += value;
      CHECK((value == 0 || value == doctest::Approx(1 / (1 - rate)).epsilon(1e-15)));
    }
    const double n = static_cast<double>(y.size());
    CHECK(std::abs(zeros / n - rate) < 4 * std::sqrt(rate * (1 - rate) / n));
    CHECK(sum / n == doctest::Approx(1).epsilon(0.05));
  }
}

TEST_CASE("a mask depends on seed, step, row and layer, and on nothing else") {
  const Values x = numbers({40, 300}, 2, 1, 2);
  const Values all = dropout(x, 0.3, draw_of(40), 5);
  CHECK(same_bits(all, dropout(x, 0.3, draw_of(40), 5)));
  const Values part = dropout(x.rows(10, 25), 0.3, draw_of(15, 10), 5);
  CHECK(same_bits(part, all.rows(10, 25)));
  CHECK_FALSE(same_bits(all, dropout(x, 0.3, draw_of(40), 6)));
  CHECK_FALSE(same_bits(all, dropout(x, 0.3, draw_of(40, 0, 4), 5)));
  CHECK_FALSE(same_bits(all, dropout(x, 0.3, draw_of(40, 1), 5)));
}

TEST_CASE("nothing is dropped in sampling or at the rate 0") {
  const Values x = numbers({3, 4}, 1);
  CHECK(same_bits(dropout(x, 0.5, RowDraws<>{}, 0), x));
  CHECK(same_bits(dropped(x, 0), x));
}

TEST_CASE("invalid rates and draws are refused") {
  const Values x = numbers({3, 4}, 1);
  CHECK_THROWS_WITH_AS((void)dropped(x, 1), "dropout: rate is 1.000000, but must be in [0, 1)",
                       SettingError);
  CHECK_THROWS_WITH_AS((void)dropout(x, 0.5, draw_of(2), 0),
                       "dropout: masks for 2 rows, but the batch has 3", ShapeError);
  RowDraws<> draw = draw_of(3);
  draw.step = {};
  CHECK_THROWS_WITH_AS((void)dropout(x, 0.5, draw, 0), "dropout: the draw has no step number",
                       ShapeError);
}
