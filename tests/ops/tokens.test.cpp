// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/nn/position.hpp>
#include <meanflow/ops/broadcast.hpp>
#include <meanflow/ops/elementwise.hpp>
#include <meanflow/ops/gate.hpp>
#include <meanflow/ops/reshape.hpp>
#include <meanflow/ops/rope.hpp>
#include <meanflow/ops/row_norm.hpp>
#include <meanflow/ops/swap_axes.hpp>

using namespace meanflow;
using test::expect_op;
using test::message_of;
using test::numbers;
using test::same_bits;
using test::Values;

TEST_CASE("swap_axes of every pair of axes") {
  const std::array<Values, 1> x{numbers({3, 2, 4, 3, 2}, 1)};
  for (std::size_t first = 1; first < 5; ++first)
    for (std::size_t second = first + 1; second < 5; ++second)
      expect_op([=](const auto&, const auto& a) { return swap_axes(a, first, second); }, x);
  const Values y = swap_axes(Values::from({1, 2, 3}, {1, 2, 3, 4, 5, 6}), 1, 2);
  CHECK(same_bits(y, Values::from({1, 3, 2}, {1, 4, 2, 5, 3, 6})));
  CHECK(message_of<ShapeError>([&] { (void)swap_axes(y, 0, 1); }) ==
        "swap_axes: axes 0 and 1 of shape (1, 3, 2), but they must be in order and not the batch");
}

TEST_CASE("unpatchify lays patches side by side") {
  expect_op([](const auto&, const auto& a) { return unpatchify(a, 2, 3, 2); },
            std::array<Values, 1>{numbers({3, 6, 4}, 1)});
  const Values y = unpatchify(Values::from({1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8}), 1, 2, 2);
  CHECK(same_bits(y, Values::from({1, 2, 4, 1}, {1, 2, 5, 6, 3, 4, 7, 8})));
  CHECK(message_of<ShapeError>([] {
          (void)unpatchify(numbers({1, 5, 4}, 1), 2, 2, 2);
        }) == "unpatchify: shape (1, 5, 4) is not (B, 4, channels) of 2 x 2 patches");
}

TEST_CASE("patchify cuts images, and unpatchify lays the patches side by side again") {
  const Values x = numbers({3, 4, 6, 2}, 1);
  expect_op([](const auto&, const auto& a) { return patchify(a, 2); }, std::array<Values, 1>{x});
  const Values y = patchify(Values::from({1, 2, 4, 1}, {1, 2, 5, 6, 3, 4, 7, 8}), 2);
  CHECK(same_bits(y, Values::from({1, 1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8})));
  CHECK(same_bits(unpatchify(patchify(x, 2), 2), x));
  CHECK(message_of<ShapeError>([&] { (void)patchify(x, 4); }) ==
        "patchify: shape (3, 4, 6, 2) is not (B, H, W, C) of whole 4 x 4 patches");
  CHECK(message_of<ShapeError>([&] {
          (void)unpatchify(reshape(x, {3, 24, 2}), 1);
        }) == "unpatchify: shape (3, 24, 2) is not (B, rows, columns, channels)");
}

TEST_CASE("rope of one head and of several, in a row and on a grid") {
  const auto turned = [](std::size_t heads, bool grid) {
    return [=](const auto&, const auto& x) {
      using Device = typename std::remove_cvref_t<decltype(x)>::device_type;
      const std::size_t width = x.shape().last() / heads;
      return rope(x,
                  grid ? rope_angles_2d<double, Device>(2, 3, width)
                       : rope_angles<double, Device>(6, width),
                  heads);
    };
  };
  expect_op(turned(1, false), std::array<Values, 1>{numbers({3, 6, 8}, 1)});
  expect_op(turned(1, false), std::array<Values, 1>{numbers({2, 3, 6, 4}, 1)});
  expect_op(turned(2, false), std::array<Values, 1>{numbers({3, 6, 8}, 1)});
  expect_op(turned(2, true), std::array<Values, 1>{numbers({3, 6, 8}, 1)});
}

TEST_CASE("rope makes products of queries and keys depend on distances alone") {
  const auto angles = rope_angles<double>(9, 8);
  const Values q = numbers({1, 1, 8}, 1), k = numbers({1, 1, 8}, 2);
  Values all({2, 9, 8});
  for (std::size_t token = 0; token < 9; ++token)
    for (std::size_t c = 0; c < 8; ++c) {
      all[token * 8 + c] = q[c];
      all[(9 + token) * 8 + c] = k[c];
    }
  const Values turned = rope(all, angles);
  const auto product = [&](std::size_t i, std::size_t j) {
    double sum = 0;
    for (std::size_t c = 0; c < 8; ++c) sum += turned[i * 8 + c] * turned[(9 + j) * 8 + c];
    return sum;
  };
  CHECK(product(2, 0) == doctest::Approx(product(8, 6)));
  CHECK(product(1, 4) == doctest::Approx(product(5, 8)));
}

TEST_CASE("angles on a grid turn half of the pairs by the row and half by the column") {
  const auto angles = rope_angles_2d<double>(2, 3, 8);
  REQUIRE(angles.cosines.shape() == Shape{6, 4});
  for (std::size_t token = 0; token < 6; ++token)
    for (std::size_t pair = 0; pair < 4; ++pair) {
      const double position = static_cast<double>(pair < 2 ? token / 3 : token % 3);
      const double angle = position * std::pow(10000.0, -static_cast<double>(pair % 2) / 2);
      CHECK(angles.cosines[token * 4 + pair] == doctest::Approx(std::cos(angle)));
      CHECK(angles.sines[token * 4 + pair] == doctest::Approx(std::sin(angle)));
    }
}

TEST_CASE("modulated_layer_norm is a layer norm, scaled and shifted for each row") {
  for (const std::size_t columns : {1, 8, 19}) {
    const std::array<Values, 3> x{numbers({4, 3, columns}, 1), numbers({4, columns}, 2),
                                  numbers({4, columns}, 3)};
    const auto fused = [](const auto&, const auto& a, const auto& shift, const auto& scale) {
      return modulated_layer_norm(a, shift, scale, 1e-2);
    };
    expect_op(fused, x);
    const Shape row{4, 1, columns};
    const Values apart =
        layer_norm(x[0], {}, {}, 1e-2) * (reshape(x[2], row) + 1) + reshape(x[1], row);
    CHECK(test::relative_error(modulated_layer_norm(x[0], x[1], x[2], 1e-2), apart) <= 1e-15);
  }
  expect_op(
      [](const auto&, const auto& a, const auto& shift, const auto& scale) {
        return modulated_layer_norm(a, shift, scale, 1e-2);
      },
      std::array<Values, 3>{numbers({4, 2, 2, 3}, 1), numbers({4, 3}, 2), numbers({4, 3}, 3)});
  const Values x = numbers({2, 3, 4}, 1), m = numbers({2, 3}, 2);
  CHECK(message_of<ShapeError>([&] { (void)modulated_layer_norm(x, m, m); }) ==
        "modulated_layer_norm: shape (2, 3) does not fit shape (2, 3, 4) (shift and scale must be "
        "(B, C))");
}

TEST_CASE("add_gated with a gate for each row, and with one for all") {
  const Values x = numbers({4, 3, 5}, 1), a = numbers({4, 3, 5}, 2);
  const auto of_rows = [](const auto&, const auto& y, const auto& gate, const auto& b) {
    return add_gated(y, gate, b);
  };
  expect_op(of_rows, std::array<Values, 3>{x, numbers({4, 5}, 3), a});
  expect_op([](const auto& p, const auto& y, const auto& b) { return add_gated(y, p[0], b); },
            std::array<Values, 2>{x, a}, {{"gate", numbers({5}, 3)}});
  CHECK(message_of<ShapeError>([&] {
          (void)add_gated(x, numbers({4, 3}, 1), a);
        }) == "add_gated: shape (4, 3) does not fit shape (4, 3, 5) (the gate must be (B, C))");
}

TEST_CASE("swiglu") {
  expect_op([](const auto&, const auto& a, const auto& b) { return swiglu(a, b); },
            std::array<Values, 2>{numbers({4, 5}, 1, -3, 3), numbers({4, 5}, 2)});
}

TEST_CASE("add_table adds the same numbers to every row") {
  const Values table = numbers({3, 2}, 5);
  const auto added = [&](const auto&, const auto& x) {
    using Device = typename std::remove_cvref_t<decltype(x)>::device_type;
    return add_table(x, test::copy_on<Device>(table));
  };
  expect_op(added, std::array<Values, 1>{numbers({4, 3, 2}, 1)});
  CHECK(
      message_of<ShapeError>([&] {
        (void)add_table(numbers({4, 3, 3}, 1), table);
      }) ==
      "add_table: shape (3, 2) does not fit shape (4, 3, 3) (the table must be as large as a row)");
}

TEST_CASE("sine tables hold the sines of column and row") {
  const auto table = sine_table_2d<double>(2, 3, 8);
  REQUIRE(table.shape() == Shape{6, 8});
  const auto at = [&](std::size_t token, std::size_t c) { return table[token * 8 + c]; };
  CHECK(at(5, 0) == doctest::Approx(std::sin(2.0)));
  CHECK(at(5, 1) == doctest::Approx(std::sin(0.02)));
  CHECK(at(5, 2) == doctest::Approx(std::cos(2.0)));
  CHECK(at(5, 4) == doctest::Approx(std::sin(1.0)));
  CHECK(at(5, 7) == doctest::Approx(std::cos(0.01)));
  CHECK_THROWS_AS((void)(sine_table_2d<double>(2, 2, 6)), SettingError);
}
