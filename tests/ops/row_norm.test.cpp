// SPDX-License-Identifier: MIT
#include <array>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/kernels/cpu/norm.hpp>
#include <meanflow/ops/row_norm.hpp>

using namespace meanflow;
using test::expect_op;
using test::numbers;
using test::Values;

TEST_CASE("layer_norm with and without parameters, for rows around the vectors' width") {
  for (const std::size_t columns : {1, 3, 8, 19}) {
    const Values x = numbers({5, 2, columns}, 1);  // (B, L, C)
    const Values w = numbers({columns}, 2), b = numbers({columns}, 3);
    expect_op([](const auto&, const auto& v) { return layer_norm(v, {}, {}, 1e-2); },
              std::array<Values, 1>{x});
    expect_op([](const auto& p, const auto& v) { return layer_norm(v, p[0], p[1], 1e-2); },
              std::array<Values, 1>{x}, {{"weight", w}, {"bias", b}});
  }
}

TEST_CASE("rms_norm with and without a weight") {
  const Values x = numbers({4, 11}, 1), w = numbers({11}, 2);
  expect_op([](const auto&, const auto& v) { return rms_norm(v); }, std::array<Values, 1>{x});
  expect_op([](const auto& p, const auto& v) { return rms_norm(v, p[0]); },
            std::array<Values, 1>{x}, {{"weight", w}});
}

TEST_CASE("rows that are normalised have the moments that they should") {
  const Values x = numbers({3, 50}, 4, 2, 5);
  const Values centred = layer_norm(x, {}, {}, 0), scaled = rms_norm(x, {}, 0);
  for (std::size_t row = 0; row < 3; ++row) {
    double sum = 0, square = 0, scaled_square = 0;
    for (std::size_t c = 0; c < 50; ++c) {
      sum += centred.row(row)[c];
      square += centred.row(row)[c] * centred.row(row)[c];
      scaled_square += scaled.row(row)[c] * scaled.row(row)[c];
    }
    CHECK(sum == doctest::Approx(0).epsilon(1e-12));
    CHECK(square / 50 == doctest::Approx(1));
    CHECK(scaled_square / 50 == doctest::Approx(1));
  }
}

TEST_CASE("parameters of another length are refused by name") {
  Parameters<double> parameters;
  const auto w = parameters.add("norm.weight", {4});
  CHECK_THROWS_WITH_AS((void)rms_norm(numbers({2, 5}, 1), w),
                       "rms_norm: shape (2, 5) does not fit shape (4) (norm.weight must have a "
                       "number for each element of the last axis)",
                       ShapeError);
}
