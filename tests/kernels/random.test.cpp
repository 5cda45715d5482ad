// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "compare.hpp"

using namespace meanflow;
using namespace meanflow::kernels;
using test::expect_same;
using test::Numbers;

TEST_CASE("dropout drops the words below the rate, and no others") {
  const kernels::detail::DropoutFactor<double> third(1.0 / 3);  // 2^32 / 3 = 1431655765.33
  CHECK(third(0) == 0);
  CHECK(third(1431655765) == 0);
  CHECK(third(1431655766) == doctest::Approx(1.5));
  CHECK(third(0xffffffffU) == doctest::Approx(1.5));
  const kernels::detail::DropoutFactor<double> half(0.5);
  CHECK(half(0x7fffffffU) == 0);
  CHECK(half(0x80000000U) == 2);
}

TEST_CASE_TEMPLATE("fill_normal_rows gives every row its own numbers", T, float, double) {
  for (const std::size_t rows : {0, 1, 7, 2000})
    expect_same<T>(
        [&](auto device, auto& y) {
          fill_normal_rows(device, 5, Purpose::noise, 3, 11, rows, 5, y.data());
        },
        Numbers<T>(rows * 5), 0);
}
