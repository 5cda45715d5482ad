// SPDX-License-Identifier: MIT
// Winograd's convolutions beside plain loops in double.
#include <cmath>
#include <cstddef>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/kernels/cpu/conv.hpp>
#include <meanflow/kernels/report.hpp>

#include "compare.hpp"

using namespace meanflow;
using namespace meanflow::kernels;
using test::Numbers;
using test::numbers;

namespace {

ConvShape shape(std::size_t rows, std::size_t height, std::size_t width, std::size_t in,
                std::size_t out, std::size_t padding = 1) {
  return {rows, height, width, in, out, 3, 1, padding};
}

/// Whole tiles and parts of them, channels that fill vectors and that do not, every padding, few
/// tiles and many.
const std::vector<ConvShape> shapes{
    shape(3, 8, 8, 32, 32),    shape(1, 4, 4, 33, 70),    shape(2, 7, 9, 47, 33),
    shape(40, 8, 12, 64, 96),  shape(2, 6, 9, 32, 40, 0), shape(2, 5, 11, 40, 32, 2),
    shape(1, 32, 32, 128, 32), shape(5, 16, 16, 256, 64), shape(200, 4, 4, 32, 32),
};

std::size_t x_size(const ConvShape& s) { return s.rows * s.height * s.width * s.in; }
std::size_t y_size(const ConvShape& s) { return s.rows * s.out_height() * s.out_width() * s.out; }
std::size_t w_size(const ConvShape& s) { return s.out * s.in * 9; }

Numbers<double> widened(const Numbers<float>& x) { return {x.begin(), x.end()}; }

/// The root mean square of the difference over that of what was expected.
double relative_error(const Numbers<float>& found, const Numbers<double>& expected) {
  double difference = 0, square = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double d = static_cast<double>(found[i]) - expected[i];
    difference += d * d;
    square += expected[i] * expected[i];
  }
  return std::sqrt(difference / square);
}

struct Operands {
  explicit Operands(const ConvShape& shape)
      : s(shape),
        x(numbers<float>(x_size(s), 1)),
        w(numbers<float>(w_size(s), 2)),
        g(numbers<float>(y_size(s), 3)) {}

  [[nodiscard]] Numbers<float> forward() const {
    Numbers<float> y(g.size(), NAN);
    conv2d(Cpu{}, s, x.data(), w.data(), y.data());
    return y;
  }
  [[nodiscard]] Numbers<float> to_input() const {
    Numbers<float> gx(x.size(), NAN);
    conv2d_backward_data(Cpu{}, s, g.data(), w.data(), gx.data());
    return gx;
  }
  [[nodiscard]] Numbers<float> to_weights(float before = 0) const {
    Numbers<float> gw(w.size(), before);
    conv2d_backward_weights(Cpu{}, s, x.data(), g.data(), gw.data());
    return gw;
  }

  ConvShape s;
  Numbers<float> x, w, g;
};

}  // namespace

TEST_CASE("Winograd's convolutions, to the input and to the weights, are those of plain loops") {
  const test::Threads threads;
  for (const ConvShape& s : shapes) {
    INFO(s.rows, " x ", s.height, " x ", s.width, " x ", s.in, " to ", s.out, ", padding ",
         s.padding.height);
    REQUIRE(kernels::detail::by_winograd(s));
    const Operands of(s);
    const auto x = widened(of.x), w = widened(of.w), g = widened(of.g);
    Numbers<double> y(g.size()), gx(x.size()), gw(w.size(), 2);
    conv2d(Reference{}, s, x.data(), w.data(), y.data());
    conv2d_backward_data(Reference{}, s, g.data(), w.data(), gx.data());
    conv2d_backward_weights(Reference{}, s, x.data(), g.data(), gw.data());
    CHECK(relative_error(of.forward(), y) < 3e-6);
    CHECK(relative_error(of.to_input(), gx) < 3e-6);
    CHECK(relative_error(of.to_weights(2), gw) < 3e-6);
  }
}

TEST_CASE("Of no rows there is nothing to convolve, and the weights' gradient stays as it was") {
  const ConvShape s = shape(0, 8, 8, 48, 80);
  REQUIRE(kernels::detail::by_winograd(s));
  const Operands of(s);
  CHECK(of.forward().empty());
  CHECK(of.to_input().empty());
  for (const float gw : of.to_weights(2)) CHECK(gw == 2);
}

TEST_CASE("Winograd's results are the same bits on any number of threads and in any batch") {
  for (const ConvShape& s : {shape(3, 8, 8, 48, 80), shape(40, 8, 8, 64, 96),
                             shape(5, 8, 8, 512, 128), shape(40, 8, 8, 512, 128)}) {
    const Operands of(s);
    Numbers<float> y, gx, gw;
    {
      const test::Threads one(1);
      y = of.forward();
      gx = of.to_input();
      gw = of.to_weights();
    }
    for (const int count : {2, 3, 8}) {
      const test::Threads threads(count);
      CHECK(of.forward() == y);
      CHECK(of.to_input() == gx);
      CHECK(of.to_weights() == gw);
    }
    parallel_tasks(Cpu{}, 2, [&](std::size_t task, std::size_t) {
      if (task == 1) return;
      CHECK(of.forward() == y);
      CHECK(of.to_weights() == gw);
    });
    const std::size_t of_x = of.x.size() / s.rows, of_y = y.size() / s.rows;
    for (const std::size_t row : {std::size_t{0}, s.rows / 2, s.rows - 1}) {
      Numbers<float> one(of_y), back(of_x);
      conv2d(Cpu{}, s.with_rows(1), of.x.data() + row * of_x, of.w.data(), one.data());
      CHECK(std::equal(one.begin(), one.end(), y.data() + row * of_y));
      conv2d_backward_data(Cpu{}, s.with_rows(1), of.g.data() + row * of_y, of.w.data(),
                           back.data());
      CHECK(std::equal(back.begin(), back.end(), gx.data() + row * of_x));
    }
  }
}

TEST_CASE("A bias is added to the first rows alone, as it would be afterwards") {
  const ConvShape s = shape(3, 7, 9, 40, 70);
  const Operands of(s);
  const auto bias = numbers<float>(s.out, 4);
  Numbers<float> expected = of.forward(), y(expected.size(), NAN);
  const std::size_t row = expected.size() / s.rows;
  for (std::size_t i = 0; i < 2 * row; ++i) expected[i] += bias[i % s.out];
  biased_conv2d(Cpu{}, s, 2, of.x.data(), of.w.data(), bias.data(), y.data());
  CHECK(y == expected);
}

TEST_CASE("A ConvolutionScope and bfloat16 leave Winograd's algorithm out, also on other threads") {
  const ConvShape s = shape(2, 8, 8, 64, 64);
  const Operands of(s);
  const auto by_default = of.forward();
  Numbers<float> direct, inside;
  {
    const ConvolutionScope scope(ConvolutionAlgorithm::direct);
    CHECK(!kernels::detail::by_winograd(s));
    CHECK(kernel_report().convolutions == "direct");
    direct = of.forward();
    const test::Threads threads(2);
    parallel_tasks(Cpu{}, 2, [&](std::size_t task, std::size_t) {
      CHECK(!kernels::detail::by_winograd(s));
      if (task == 1) inside = of.forward();
    });
  }
  {
    const kernels::detail::SamePrecision bfloat16(Precision::bfloat16);
    CHECK(!kernels::detail::by_winograd(s));
    CHECK(kernel_report().convolutions == "direct");
  }
  CHECK(kernels::detail::by_winograd(s));
  CHECK(kernel_report().convolutions == "Winograd");
  CHECK(direct != by_default);
  CHECK(inside == direct);
  const auto x = widened(of.x), w = widened(of.w);
  Numbers<double> exact(of.g.size());
  conv2d(Reference{}, s, x.data(), w.data(), exact.data());
  CHECK(relative_error(direct, exact) < relative_error(by_default, exact));
}

TEST_CASE("Other kernels, strides and few channels are not by Winograd's algorithm") {
  const auto suits = [](const ConvShape& s) { return kernels::detail::by_winograd(s); };
  CHECK(suits(shape(1, 8, 8, 32, 32)));
  CHECK(!suits(shape(1, 8, 8, 3, 64)));
  CHECK(!suits(shape(1, 8, 8, 64, 3)));
  CHECK(!suits(shape(1, 2, 2, 64, 64)));
  CHECK(!suits({1, 8, 8, 64, 64, 3, 2, 1}));
  CHECK(!suits({1, 8, 8, 64, 64, 5, 1, 2}));
}
