// SPDX-License-Identifier: MIT
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/flow/path_schedule.hpp>

#include "compare.hpp"

using namespace meanflow;
using namespace meanflow::kernels;
using test::expect_same;
using test::numbers;
using test::Numbers;

TEST_CASE_TEMPLATE("fill_normal_rows gives every row its own numbers", T, float, double) {
  for (const std::size_t rows : {0, 1, 7, 2000})
    expect_same<T>(
        [&](auto device, auto& y) {
          fill_normal_rows(device, 5, Purpose::noise, 3, 11, rows, 5, y.data());
        },
        Numbers<T>(rows * 5), 0);
}

TEST_CASE_TEMPLATE("interpolate", T, float, double) {
  for (const std::size_t rows : {0, 1, 7, 301})
    for (const std::size_t columns : {1, 2, 17, 300}) {
      const std::size_t n = rows * columns;
      const auto t = numbers<T>(rows, 1, 0, 1), x = numbers<T>(n, 2), e = numbers<T>(n, 3);
      expect_same<T>(
          [&](auto device, auto& z) {
            interpolate(device, CosinePath{}, rows, columns, t.data(), x.data(), e.data(), z.data(),
                        z.data() + n);
          },
          Numbers<T>(2 * n), 8);
    }
}

TEST_CASE_TEMPLATE("flow_residual with fewer jumps than rows", T, float, double) {
  for (const std::size_t rows : {0, 1, 7, 301})
    for (const std::size_t columns : {1, 2, 17, 300})
      for (const std::size_t jumps : {std::size_t{0}, rows / 3, rows}) {
        INFO("rows = ", rows, ", columns = ", columns, ", jumps = ", jumps);
        const std::size_t n = rows * columns;
        const auto u = numbers<T>(n, 1), v = numbers<T>(n, 2), du = numbers<T>(jumps * columns, 3);
        const auto r = numbers<T>(rows, 4, 0, T(0.5)), t = numbers<T>(rows, 5, T(0.5), 1);
        expect_same<T>(
            [&](auto device, auto& z) {
              T* rest = z.data() + n;
              flow_residual(device, rows, jumps, columns, u.data(),
                            jumps ? du.data() : static_cast<const T*>(nullptr), v.data(), r.data(),
                            t.data(), z.data(), rest, rest + rows, rest + 2 * rows);
            },
            Numbers<T>(n + 3 * rows), 64);
      }
}

TEST_CASE_TEMPLATE("step_along and average", T, float, double) {
  for (const std::size_t n : test::sizes) {
    const auto u = numbers<T>(n, 1), z = numbers<T>(n, 2);
    expect_same<T>([&](auto device, auto& y) { step_along(device, n, T(0.3), u.data(), y.data()); },
                   z);
    expect_same<T>([&](auto device, auto& y) { average(device, n, 0.99, u.data(), y.data()); }, z);
  }
}

TEST_CASE_TEMPLATE("adam", T, float, double) {
  const AdamCoefficients c{.learning_rate = 0.01,
                           .beta1 = 0.9,
                           .beta2 = 0.95,
                           .epsilon = 1e-8,
                           .correction1 = 0.19,
                           .correction2 = 0.0975,
                           .weight_decay = 0.1,
                           .l2 = 0.05,
                           .gradient_scale = 0.5};
  for (const std::size_t n : test::sizes) {
    const auto g = numbers<T>(n, 1);
    auto state = numbers<T>(3 * n, 2);  // m, v, p
    for (std::size_t i = n; i < 2 * n; ++i) state[i] = std::abs(state[i]) + T(0.01);
    expect_same<T>(
        [&](auto device, auto& s) {
          adam(device, n, c, g.data(), s.data(), s.data() + n, s.data() + 2 * n);
        },
        state, 8);
    if (n == 0) continue;
    auto found = state;
    adam(Cpu{}, n, c, g.data(), found.data(), found.data() + n, found.data() + 2 * n);
    double worst = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const double p = static_cast<double>(state[2 * n + i]);
      const double gradient = 0.5 * static_cast<double>(g[i]) + 0.05 * p;
      const double m = 0.9 * static_cast<double>(state[i]) + 0.1 * gradient;
      const double v = 0.95 * static_cast<double>(state[n + i]) + 0.05 * gradient * gradient;
      const double decayed = p - 0.01 * 0.1 * p;
      const double expected = decayed - 0.01 * (m / 0.19) / (std::sqrt(v / 0.0975) + 1e-8);
      worst = std::max(worst, std::abs(static_cast<double>(found[2 * n + i]) - expected));
    }
    CHECK(worst <= 4 * static_cast<double>(std::numeric_limits<T>::epsilon()));
  }
}
