// SPDX-License-Identifier: MIT
// Convolutions and resampling of the processor, oneDNN's where the build has it, beside plain
// loops.
#include <cstddef>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/kernels/cpu/conv.hpp>

#include "compare.hpp"

using namespace meanflow;
using namespace meanflow::kernels;
using test::expect_same;
using test::numbers;
using test::Numbers;

namespace {

const std::vector<ConvShape> shapes{
    {.rows = 1, .height = 5, .width = 7, .in = 3, .out = 4, .kernel = 3, .stride = 1, .padding = 1},
    {.rows = 3,
     .height = 8,
     .width = 8,
     .in = 17,
     .out = 16,
     .kernel = 3,
     .stride = 1,
     .padding = 1},
    {.rows = 2,
     .height = 8,
     .width = 6,
     .in = 16,
     .out = 33,
     .kernel = 3,
     .stride = 2,
     .padding = 1},
    {.rows = 2, .height = 6, .width = 6, .in = 5, .out = 3, .kernel = 2, .stride = 2, .padding = 0},
    {.rows = 2,
     .height = 4,
     .width = 4,
     .in = 32,
     .out = 32,
     .kernel = 1,
     .stride = 1,
     .padding = 0},
    {.rows = 1, .height = 3, .width = 3, .in = 2, .out = 2, .kernel = 3, .stride = 1, .padding = 0},
    {.rows = 2,
     .height = 9,
     .width = 6,
     .in = 4,
     .out = 5,
     .kernel = {7, 1},
     .stride = 1,
     .padding = {3, 0}},
    {.rows = 2,
     .height = 5,
     .width = 8,
     .in = 3,
     .out = 4,
     .kernel = {1, 4},
     .stride = 2,
     .padding = {0, 1}}};

std::size_t x_size(const ConvShape& s) { return s.rows * s.height * s.width * s.in; }
std::size_t y_size(const ConvShape& s) { return s.rows * s.out_height() * s.out_width() * s.out; }
std::size_t w_size(const ConvShape& s) { return s.out * s.in * s.kernel.size(); }

/// Sums of so many products, of numbers in [-1, 1], in another order.
double bound(std::size_t terms) { return 4 + static_cast<double>(terms) / 4; }

}  // namespace

TEST_CASE_TEMPLATE("convolutions, to the input and to the weights", T, float, double) {
  for (const ConvShape& s : shapes) {
    INFO(s.rows, " x ", s.height, " x ", s.width, " x ", s.in, " to ", s.out, ", kernel ",
         s.kernel.height, " x ", s.kernel.width, ", stride ", s.stride);
    const auto x = numbers<T>(x_size(s), 1), w = numbers<T>(w_size(s), 2),
               g = numbers<T>(y_size(s), 3);
    expect_same<T>([&](auto device, auto& y) { conv2d(device, s, x.data(), w.data(), y.data()); },
                   Numbers<T>(y_size(s)), bound(s.in * s.kernel.size()), false);
    expect_same<T>(
        [&](auto device, auto& gx) {
          conv2d_backward_data(device, s, g.data(), w.data(), gx.data());
        },
        Numbers<T>(x_size(s)), bound(s.out * s.kernel.size()), false);
    expect_same<T>(
        [&](auto device, auto& gw) {
          conv2d_backward_weights(device, s, x.data(), g.data(), gw.data());
        },
        numbers<T>(w_size(s), 4), bound(s.rows * s.out_height() * s.out_width()), false);
  }
}

TEST_CASE_TEMPLATE("resampling both ways", T, float, double) {
  const auto filter = numbers<T>(4, 5);
  for (const Resampling direction : {Resampling::up, Resampling::down})
    for (const std::size_t channels : {1, 3, 16, 17}) {
      const std::size_t rows = 3, height = 6, width = 4;
      const std::size_t in = rows * height * width * channels;
      const auto x = numbers<T>(in, 1);
      expect_same<T>(
          [&](auto device, auto& y) {
            resample(device, direction, rows, height, width, channels, filter.size(), filter.data(),
                     x.data(), y.data());
          },
          Numbers<T>(direction == Resampling::up ? 4 * in : in / 4), 16, false);
    }
}
