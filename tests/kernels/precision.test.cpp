// SPDX-License-Identifier: MIT
#include <string>

#include <doctest/doctest.h>
#include <skip.hpp>

#include <meanflow/error.hpp>
#include <meanflow/kernels/cpu/conv.hpp>

#include "compare.hpp"

using namespace meanflow;
using namespace meanflow::kernels;
using test::Numbers;
using test::numbers;

namespace {

bool has_bfloat16() {
  try {
    check_precision(Cpu{}, Precision::bfloat16);
    return true;
  } catch (const SettingError& error) {
    CHECK(std::string(error.what()).find("precision is bfloat16") == 0);
    meanflow_test::skip(error.what());
    return false;
  }
}

// Length of the difference over length of what was expected.
double relative_difference(const Numbers<float>& found, const Numbers<float>& expected) {
  double difference = 0, length = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double d = static_cast<double>(found[i]) - static_cast<double>(expected[i]);
    difference += d * d;
    length += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
  }
  return std::sqrt(difference / length);
}

// What f writes in bfloat16 is near to what it writes in float32, and is not the same.
template <class F>
void expect_rounded(const F& f, const Numbers<float>& state) {
  Numbers<float> exact = state, rounded = state, inside = state;
  f(exact);
  {
    const AutocastScope bfloat16(Precision::bfloat16);
    f(rounded);
    parallel_tasks(Cpu{}, 2, [&](std::size_t task, std::size_t) {
      if (task == 1) f(inside);
    });
  }
  CHECK(precision() == Precision::float32);
  for (const auto& found : {rounded, inside}) {
    const double difference = relative_difference(found, exact);
    CHECK(difference < 1e-2);
    CHECK(difference > 1e-4);
  }
}

}  // namespace

TEST_CASE("the plain loops refuse to round") {
  CHECK_NOTHROW(check_precision(Reference{}, Precision::float32));
  CHECK_NOTHROW(check_precision(Cpu{}, Precision::float32));
  CHECK_THROWS_AS(check_precision(Reference{}, Precision::bfloat16), SettingError);
  CHECK_THROWS_AS(AutocastScope(Precision::bfloat16, Reference{}), SettingError);
  CHECK(precision() == Precision::float32);
}

TEST_CASE("convolutions in bfloat16") {
  if (!has_bfloat16()) return;
  const test::Threads threads;
  for (const std::size_t stride : {1, 2}) {
    const ConvShape s{3, 12, 12, 16, 24, 3, stride, 1};
    const std::size_t in = s.rows * s.height * s.width * s.in, weights = s.out * s.in * 9,
                      out = s.rows * s.out_height() * s.out_width() * s.out;
    const auto x = numbers<float>(in, 1), w = numbers<float>(weights, 2),
               g = numbers<float>(out, 3);
    expect_rounded([&](auto& y) { conv2d(Cpu{}, s, x.data(), w.data(), y.data()); },
                   Numbers<float>(out));
    expect_rounded([&](auto& gx) { conv2d_backward_data(Cpu{}, s, g.data(), w.data(), gx.data()); },
                   Numbers<float>(in));
    expect_rounded(
        [&](auto& gw) { conv2d_backward_weights(Cpu{}, s, x.data(), g.data(), gw.data()); },
        numbers<float>(weights, 4));
  }
}

TEST_CASE("large products in bfloat16") {
  if (!has_bfloat16()) return;
  const test::Threads threads;
  constexpr std::size_t m = 512, n = 384, k = 512;
  const auto a = numbers<float>(m * k, 1), b = numbers<float>(k * n, 2);
  for (const Transpose a_turned : {Transpose::no, Transpose::yes})
    for (const Transpose b_turned : {Transpose::no, Transpose::yes})
      for (const float beta : {0.0f, 1.0f})
        expect_rounded(
            [&](auto& c) {
              gemm(Cpu{}, a_turned, b_turned, m, n, k, a.data(), b.data(), beta, c.data());
            },
            numbers<float>(m * n, 3));
}

TEST_CASE("small products are not worth rounding to bfloat16") {
  if (!has_bfloat16()) return;
  const auto a = numbers<float>(64 * 64, 1);
  Numbers<float> exact(64 * 64), found = exact;
  const auto multiply = [&](auto& c) {
    gemm(Cpu{}, Transpose::no, Transpose::no, 64, 64, 64, a.data(), a.data(), 0.0f, c.data());
  };
  multiply(exact);
  const AutocastScope bfloat16(Precision::bfloat16);
  multiply(found);
  CHECK(found == exact);
}
