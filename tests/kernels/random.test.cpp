// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "compare.hpp"

using namespace meanflow;
using namespace meanflow::kernels;
using test::expect_same;
using test::Numbers;

TEST_CASE_TEMPLATE("fill_normal_rows gives every row its own numbers", T, float, double) {
  for (const std::size_t rows : {0, 1, 7, 2000})
    expect_same<T>(
        [&](auto device, auto& y) {
          fill_normal_rows(device, 5, Purpose::noise, 3, 11, rows, 5, y.data());
        },
        Numbers<T>(rows * 5), 0);
}
