// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "compare.hpp"

using namespace meanflow;
using namespace meanflow::kernels;
using test::expect_same;
using test::numbers;

TEST_CASE_TEMPLATE("gemm of every transposition and of thin shapes", T, float, double) {
  struct Extents {
    std::size_t m, n, k;
  };
  for (const auto& extents : {Extents{1, 1, 1},
                              {1, 17, 3},
                              {17, 1, 3},
                              {3, 4, 1},
                              {5, 2, 4},
                              {64, 2, 256},
                              {2, 64, 5},
                              {16, 16, 16},
                              {33, 17, 40},
                              {200, 64, 100},
                              {0, 3, 4},
                              {3, 0, 4},
                              {3, 4, 0},
                              {0, 0, 0}})
    for (const Transpose a_turned : {Transpose::no, Transpose::yes})
      for (const Transpose b_turned : {Transpose::no, Transpose::yes})
        for (const T beta : {T(0), T(1), T(0.5)}) {
          const std::size_t m = extents.m, n = extents.n, k = extents.k;
          INFO("m, n, k = ", m, ", ", n, ", ", k, ", beta = ", beta);
          const auto a = numbers<T>(m * k, 1), b = numbers<T>(k * n, 2);
          expect_same<T>(
              [&](auto device, auto& c) {
                gemm(device, a_turned, b_turned, m, n, k, a.data(), b.data(), beta, c.data());
              },
              numbers<T>(m * n, 3), 64, false);
        }
}

TEST_CASE_TEMPLATE("gemm with beta = 0 does not read what it writes to", T, float, double) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  for (const std::size_t extent : {2, 16, 33}) {
    const auto a = numbers<T>(extent * extent, 1);
    expect_same<T>(
        [&](auto device, auto& c) {
          gemm(device, Transpose::no, Transpose::no, extent, extent, extent, a.data(), a.data(),
               T(0), c.data());
        },
        std::vector<T>(extent * extent, nan), 64, false);
  }
  std::vector<T> c(6, nan);
  gemm(Cpu{}, Transpose::no, Transpose::no, 2, 3, 0, c.data(), c.data(), T(0), c.data());
  CHECK(c == std::vector<T>(6, T(0)));
}
