// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <meanflow/scalar/functors.hpp>

#include "compare.hpp"

using namespace meanflow;
using test::expect_same;
using test::numbers;
using test::Numbers;

TEST_CASE_TEMPLATE("unary with any number of tangents", T, float, double) {
  for (const std::size_t n : test::sizes)
    for (const std::size_t tangents : {std::size_t{0}, n / 3, n}) {
      INFO("n = ", n, ", tangents = ", tangents);
      const auto x = numbers<T>(n + tangents, 1, -4, 4);
      // Result, then derivatives.
      expect_same<T>(
          [&](auto device, auto& y) {
            unary(device, Silu{}, n, tangents, x.data(), y.data(), y.data() + n + tangents);
          },
          Numbers<T>(2 * n + tangents), 16);
      expect_same<T>(
          [&](auto device, auto& y) {
            unary(device, Silu{}, n, tangents, x.data(), y.data(), nullptr);
          },
          Numbers<T>(n + tangents), 16);
      // In place.
      expect_same<T>(
          [&](auto device, auto& y) {
            unary(device, Silu{}, n, tangents, y.data(), y.data(), nullptr);
          },
          x, 16);
    }
}

TEST_CASE_TEMPLATE("bias_unary with fewer tangent rows than rows", T, float, double) {
  for (const std::size_t columns : {1, 3, 16, 17, 300})
    for (const std::size_t rows : {0, 1, 7, 301})
      for (const std::size_t tangent_rows : {std::size_t{0}, rows / 3, rows}) {
        INFO("rows = ", rows, ", tangent rows = ", tangent_rows, ", columns = ", columns);
        const auto bias = numbers<T>(columns, 2);
        const auto x = numbers<T>((rows + tangent_rows) * columns, 1, -3, 3);
        const auto run = [&](const T* shift, bool with_derivative) {
          auto state = x;
          state.resize(x.size() + rows * columns);
          expect_same<T>(
              [&](auto device, auto& y) {
                T* derivative = with_derivative ? y.data() + x.size() : nullptr;
                bias_unary(device, Silu{}, rows, tangent_rows, columns, shift, y.data(),
                           derivative);
              },
              state, 16);
        };
        run(bias.data(), true);
        run(bias.data(), false);
        run(nullptr, true);
        run(nullptr, false);
      }
}

TEST_CASE_TEMPLATE("bias_unary_backward", T, float, double) {
  for (const std::size_t columns : {1, 3, 16, 17, 130, 500})
    for (const std::size_t rows : {0, 1, 7, 301}) {
      INFO("rows = ", rows, ", columns = ", columns);
      const auto derivative = numbers<T>(rows * columns, 2);
      auto state = numbers<T>((rows + 1) * columns, 1);  // g, then the bias's gradient
      const auto run = [&](const T* slope, bool with_bias) {
        expect_same<T>(
            [&](auto device, auto& y) {
              T* bias_gradient = with_bias ? y.data() + rows * columns : nullptr;
              bias_unary_backward(device, rows, columns, slope, y.data(), bias_gradient);
            },
            state, 64);
      };
      run(derivative.data(), true);
      run(derivative.data(), false);
      run(nullptr, true);
      run(nullptr, false);
    }
}

TEST_CASE_TEMPLATE("affine and multiply", T, float, double) {
  for (const std::size_t n : test::sizes) {
    for (const std::size_t tangents : {std::size_t{0}, n / 3, n}) {
      INFO("n = ", n, ", tangents = ", tangents);
      const auto x = numbers<T>(n + tangents, 1);
      expect_same<T>(
          [&](auto device, auto& y) {
            affine(device, n, tangents, T(1.5), T(-0.25), x.data(), y.data());
          },
          Numbers<T>(n + tangents));
      expect_same<T>(
          [&](auto device, auto& y) {
            affine(device, n, tangents, T(1.5), T(-0.25), y.data(), y.data());
          },
          x);
    }
    const auto x = numbers<T>(n, 2);
    expect_same<T>([&](auto device, auto& y) { multiply(device, n, x.data(), y.data(), y.data()); },
                   numbers<T>(n, 3), 0);
  }
}
