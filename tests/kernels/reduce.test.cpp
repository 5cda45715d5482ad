// SPDX-License-Identifier: MIT
#include <cmath>

#include <doctest/doctest.h>

#include "compare.hpp"

using namespace meanflow;
using namespace meanflow::kernels;
using test::expect_same;
using test::numbers;
using test::Numbers;

namespace {

constexpr std::size_t row_counts[] = {0, 1, 7, 301};
constexpr std::size_t column_counts[] = {1, 3, 15, 16, 17, 300};

}  // namespace

TEST_CASE_TEMPLATE("sum_rows and add_to_rows", T, float, double) {
  for (const std::size_t rows : row_counts)
    for (const std::size_t columns : column_counts) {
      INFO("rows = ", rows, ", columns = ", columns);
      const auto x = numbers<T>(rows * columns, 1), g = numbers<T>(rows, 2);
      expect_same<T>([&](auto device,
                         auto& y) { sum_rows(device, rows, columns, T(0.7), x.data(), y.data()); },
                     Numbers<T>(rows), 64);
      expect_same<T>(
          [&](auto device, auto& y) {
            add_to_rows(device, rows, columns, T(0.7), g.data(), y.data());
          },
          x);
    }
  expect_same<T>([](auto device, auto& y) { sum_rows(device, 3, 0, T(1), y.data(), y.data()); },
                 Numbers<T>(3, T(5)), 0);
}

TEST_CASE_TEMPLATE("squared_norm", T, float, double) {
  for (const std::size_t n : test::sizes) {
    const auto x = numbers<T>(n, 1);
    const double expected = squared_norm(Reference{}, n, x.data());
    const double found = squared_norm(Cpu{}, n, x.data());
    CHECK(std::abs(found - expected) <= 8 * std::numeric_limits<T>::epsilon() * expected);
    const test::Threads one(1);
    CHECK(squared_norm(Cpu{}, n, x.data()) == found);
  }
}

TEST_CASE_TEMPLATE("softmax and its Jacobian", T, float, double) {
  for (const std::size_t rows : row_counts)
    for (const std::size_t columns : column_counts) {
      INFO("rows = ", rows, ", columns = ", columns);
      const auto x = numbers<T>(rows * columns, 1, -20, 20), v = numbers<T>(rows * columns, 2);
      const auto p = numbers<T>(rows * columns, 3, 0, T(2) / T(columns));
      expect_same<T>(
          [&](auto device, auto& y) { softmax(device, rows, columns, x.data(), y.data()); },
          Numbers<T>(rows * columns), 64);
      expect_same<T>(
          [&](auto device, auto& y) { softmax(device, rows, columns, y.data(), y.data()); }, x, 64);
      expect_same<T>(
          [&](auto device, auto& z) {
            softmax_jacobian(device, rows, columns, p.data(), v.data(), z.data());
          },
          Numbers<T>(rows * columns), 16);
    }
}

TEST_CASE_TEMPLATE("softmax of large and of infinite numbers", T, float, double) {
  const Numbers<T> x{T(1e30), T(-1e30), T(1e30), -std::numeric_limits<T>::infinity()};
  Numbers<T> y(4);
  softmax(Cpu{}, 1, 4, x.data(), y.data());
  CHECK(y == Numbers<T>{T(0.5), 0, T(0.5), 0});
}

TEST_CASE_TEMPLATE("sinusoid and its backward pass", T, float, double) {
  for (const std::size_t rows : {0, 1, 7, 1000})
    for (const std::size_t half : {1, 3, 16, 33})
      for (const std::size_t tangent_rows : {std::size_t{0}, rows / 3, rows})
        for (const bool sines_first : {false, true}) {
          INFO("rows = ", rows, ", half = ", half, ", tangent rows = ", tangent_rows);
          const auto frequencies = numbers<T>(half, 1, T(0.1), 3);
          const auto x = numbers<T>(rows + tangent_rows, 2, -3, 3);
          Numbers<T> y((rows + tangent_rows) * 2 * half);
          expect_same<T>(
              [&](auto device, auto& z) {
                sinusoid(device, rows, tangent_rows, half, frequencies.data(), sines_first,
                         x.data(), z.data());
              },
              y, 32);
          sinusoid(Reference{}, rows, tangent_rows, half, frequencies.data(), sines_first, x.data(),
                   y.data());
          const auto g = numbers<T>(rows * 2 * half, 3);
          expect_same<T>(
              [&](auto device, auto& gx) {
                sinusoid_backward(device, rows, half, frequencies.data(), sines_first, y.data(),
                                  g.data(), gx.data());
              },
              numbers<T>(rows, 4), 256);
        }
}
