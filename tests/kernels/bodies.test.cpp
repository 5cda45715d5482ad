// SPDX-License-Identifier: MIT
// Kernels that are written once for every device, beside loops that are written for this test.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/scalar/functors.hpp>

#include "compare.hpp"

using namespace meanflow;
using namespace meanflow::kernels;
using test::error_in_ulps;
using test::numbers;
using test::Numbers;

namespace {

using T = double;
constexpr std::size_t rows = 7, tangent_rows = 3, columns = 19;
constexpr std::size_t n = rows * columns, tangents = tangent_rows * columns;

T sigmoid(T x) { return 1 / (1 + std::exp(-x)); }
T silu(T x) { return x * sigmoid(x); }
T silu_slope(T x) { return sigmoid(x) * (1 + x * (1 - sigmoid(x))); }

void expect_equal(const Numbers<T>& found, const Numbers<T>& expected, double ulps = 8) {
  CHECK(error_in_ulps(found, expected) <= ulps);
}

}  // namespace

TEST_CASE_TEMPLATE("element by element: sums, products, lines", Device, Reference, Cpu) {
  const auto x = numbers<T>(n + tangents, 1), y = numbers<T>(n + tangents, 2);
  auto sum = y, product = y, line = y;
  accumulate(Device{}, n, x.data(), sum.data());
  multiply(Device{}, n, x.data(), y.data(), product.data());
  affine(Device{}, n, tangents, T(2), T(3), x.data(), line.data());
  for (std::size_t i = 0; i < n + tangents; ++i) {
    CHECK(sum[i] == (i < n ? x[i] + y[i] : y[i]));
    CHECK(product[i] == (i < n ? x[i] * y[i] : y[i]));
    CHECK(line[i] == doctest::Approx(i < n ? 2 * x[i] + 3 : 2 * x[i]));
  }
}

TEST_CASE_TEMPLATE("functions of one number, their slopes and tangents", Device, Reference, Cpu) {
  const auto x = numbers<T>(n + tangents, 1), bias = numbers<T>(columns, 3);
  Numbers<T> y(n + tangents), slope(n), expected(n + tangents), expected_slope(n);
  unary(Device{}, Silu{}, n, tangents, x.data(), y.data(), slope.data());
  for (std::size_t i = 0; i < n; ++i) {
    expected[i] = silu(x[i]);
    expected_slope[i] = silu_slope(x[i]);
    if (i < tangents) expected[n + i] = expected_slope[i] * x[n + i];
  }
  expect_equal(y, expected);
  expect_equal(slope, expected_slope);

  y = x;
  bias_unary(Device{}, Silu{}, rows, tangent_rows, columns, bias.data(), y.data(), slope.data());
  for (std::size_t i = 0; i < n; ++i) {
    const T shifted = x[i] + bias[i % columns];
    expected[i] = silu(shifted);
    expected_slope[i] = silu_slope(shifted);
    if (i < tangents) expected[n + i] = expected_slope[i] * x[n + i];
  }
  expect_equal(y, expected);
  expect_equal(slope, expected_slope);
}

TEST_CASE_TEMPLATE("the gradient of a bias sums over the rows", Device, Reference, Cpu) {
  const auto g = numbers<T>(n, 1), slope = numbers<T>(n, 2), before = numbers<T>(columns, 3);
  for (const bool with_slope : {false, true})
    for (const bool with_bias : {false, true}) {
      auto found = g, bias = before, expected = g, expected_bias = before;
      bias_unary_backward(Device{}, rows, columns, with_slope ? slope.data() : nullptr,
                          found.data(), with_bias ? bias.data() : nullptr);
      for (std::size_t i = 0; i < n; ++i) {
        if (with_slope) expected[i] *= slope[i];
        if (with_bias) expected_bias[i % columns] += expected[i];
      }
      expect_equal(found, expected);
      expect_equal(bias, expected_bias);
    }
}

TEST_CASE_TEMPLATE("rows: sums, copies, tables of labels", Device, Reference, Cpu) {
  const auto x = numbers<T>(n, 1), table = numbers<T>(5 * columns, 2), g = numbers<T>(rows, 3);
  const std::vector<std::int32_t> labels{0, 4, 2, 2, -1, 5, 1};
  Numbers<T> sum(rows), spread(x), gathered(n), scattered(table), hot(rows * 5);
  sum_rows(Device{}, rows, columns, T(0.5), x.data(), sum.data());
  add_to_rows(Device{}, rows, columns, T(0.5), g.data(), spread.data());
  gather_rows(Device{}, rows, columns, 5, table.data(), labels.data(), gathered.data());
  scatter_add_rows(Device{}, rows, columns, 5, x.data(), labels.data(), scattered.data());
  one_hot(Device{}, rows, 5, T(2), labels.data(), hot.data());
  auto expected_table = table;
  for (std::size_t r = 0; r < rows; ++r) {
    const bool valid = labels[r] >= 0 && labels[r] < 5;
    const std::size_t label = valid ? static_cast<std::size_t>(labels[r]) : 0;
    T total = 0;
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t i = r * columns + c;
      total += x[i];
      CHECK(spread[i] == doctest::Approx(x[i] + 0.5 * g[r]));
      if (valid) {
        CHECK(gathered[i] == table[label * columns + c]);
        expected_table[label * columns + c] += x[i];
      } else {
        CHECK(std::isnan(gathered[i]));
      }
    }
    CHECK(sum[r] == doctest::Approx(0.5 * total));
    for (std::size_t c = 0; c < 5; ++c) {
      const T at = hot[r * 5 + c];
      if (labels[r] == 5)
        CHECK(at == 0);
      else if (valid)
        CHECK(at == (c == label ? 2 : 0));
      else
        CHECK(std::isnan(at));
    }
  }
  expect_equal(scattered, expected_table);

  Numbers<T> wide(rows * (columns + 4), T(1));
  copy_columns(Device{}, rows, columns - 2, x.data(), columns, wide.data(), columns + 4, false);
  copy_columns(Device{}, rows, columns - 2, x.data(), columns, wide.data(), columns + 4, true);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns + 4; ++c)
      CHECK(wide[r * (columns + 4) + c] == (c < columns - 2 ? 2 * x[r * columns + c] : 1));
}

TEST_CASE_TEMPLATE("sinusoids, their tangents and gradients", Device, Reference, Cpu) {
  constexpr std::size_t half = 9;
  const auto x = numbers<T>(rows + tangent_rows, 1), f = numbers<T>(half, 2, 0, 40);
  const auto g = numbers<T>(rows * 2 * half, 3);
  for (const bool sines_first : {false, true}) {
    Numbers<T> y((rows + tangent_rows) * 2 * half), gx(rows, 1), expected(y), expected_gx(gx);
    sinusoid(Device{}, rows, tangent_rows, half, f.data(), sines_first, x.data(), y.data());
    sinusoid_backward(Device{}, rows, half, f.data(), sines_first, y.data(), g.data(), gx.data());
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t i = 0; i < half; ++i) {
        const std::size_t c = r * 2 * half + i + (sines_first ? half : 0);
        const std::size_t s = r * 2 * half + i + (sines_first ? 0 : half);
        expected[c] = std::cos(x[r] * f[i]);
        expected[s] = std::sin(x[r] * f[i]);
        expected_gx[r] += f[i] * (expected[c] * g[s] - expected[s] * g[c]);
        if (r >= tangent_rows) continue;
        expected[rows * 2 * half + c] = -expected[s] * f[i] * x[rows + r];
        expected[rows * 2 * half + s] = expected[c] * f[i] * x[rows + r];
      }
    expect_equal(y, expected, 64);      // angles of up to 40
    expect_equal(gx, expected_gx, 64);  // terms of up to 40, which cancel
  }
}

TEST_CASE_TEMPLATE("random rows are what their streams give in order", Number, float, double) {
  for (const std::size_t width : {std::size_t{1}, std::size_t{2}, std::size_t{5}, columns}) {
    Numbers<Number> noise(rows * width);
    fill_normal_rows(Cpu{}, 5, Purpose::noise, std::uint64_t{8}, 100, rows, width, noise.data());
    const auto x = numbers<Number>((rows + tangent_rows) * width, 1);
    const std::vector<std::uint64_t> rows_of_data{3, 1, 4, 15, 9, 2, 6};
    const std::uint64_t step = 8;
    auto dropped = x;
    dropout(Cpu{}, rows, tangent_rows, width, 0.25, 5, &step, rows_of_data.data(), 2, x.data(),
            dropped.data());
    for (std::size_t r = 0; r < rows; ++r) {
      RandomStream normal(5, Purpose::noise, step, 100 + r);
      RandomStream keeps(5, Purpose::dropout, step, rows_of_data[r]);
      keeps.seek(2);
      for (std::size_t c = 0; c < width; ++c) {
        CHECK(noise[r * width + c] == normal.template normal<Number>());
        const Number factor = keeps.bits() < 0x40000000u ? Number(0) : Number(1 / 0.75);
        CHECK(dropped[r * width + c] == factor * x[r * width + c]);
        const std::size_t tangent = (rows + r) * width + c;
        if (r < tangent_rows) CHECK(dropped[tangent] == factor * x[tangent]);
      }
    }
  }
}
