// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/kernels/cpu/conv.hpp>
#include <meanflow/kernels/cpu/norm.hpp>
#include <meanflow/ops/broadcast.hpp>
#include <meanflow/ops/conv.hpp>
#include <meanflow/ops/elementwise.hpp>
#include <meanflow/ops/norm.hpp>
#include <meanflow/ops/residual.hpp>

using namespace meanflow;
using test::expect_op;
using test::message_of;
using test::numbers;
using test::Values;

namespace {

const Values image = numbers({4, 6, 4, 5}, 1);  // (B, H, W, C)

/// The filter of a resampling on the device of x.
template <class X>
auto filter_for(const X&, Resampling direction, const std::vector<double>& taps) {
  return resampling_filter<double, typename X::device_type>(direction, taps);
}

}  // namespace

TEST_CASE("conv2d of 3 x 3 keeps the size, with and without a bias") {
  const Values w = numbers({3, 5, 3, 3}, 2), b = numbers({3}, 3);
  expect_op([](const auto& p, const auto& x) { return conv2d(x, p[0], p[1], 1, 1); },
            std::array<Values, 1>{image}, {{"weight", w}, {"bias", b}});
  expect_op(
      [](const auto& p, const auto& x) {
        return conv2d(x, p[0], std::remove_cvref_t<decltype(p[0])>{}, 1, 1);
      },
      std::array<Values, 1>{image}, {{"weight", w}});
}

TEST_CASE("conv2d with a stride, without padding, of 1 x 1, and of 1 x 3") {
  const Values b = numbers({3}, 3);
  expect_op(
      [](const auto& p, const auto& x) { return conv2d(x, p[0], p[1], 1, HeightWidth(0, 1)); },
      std::array<Values, 1>{image}, {{"weight", numbers({3, 5, 1, 3}, 7)}, {"bias", b}});
  expect_op([](const auto& p, const auto& x) { return conv2d(x, p[0], p[1], 2, 1); },
            std::array<Values, 1>{image}, {{"weight", numbers({3, 5, 3, 3}, 4)}, {"bias", b}});
  expect_op([](const auto& p, const auto& x) { return conv2d(x, p[0], p[1], 2, 0); },
            std::array<Values, 1>{image}, {{"weight", numbers({3, 5, 2, 2}, 5)}, {"bias", b}});
  expect_op([](const auto& p, const auto& x) { return conv2d(x, p[0], p[1]); },
            std::array<Values, 1>{image}, {{"weight", numbers({3, 5, 1, 1}, 6)}, {"bias", b}});
}

TEST_CASE("conv2d names both shapes when they do not fit") {
  Parameters<double> parameters;
  const auto w = parameters.add("w", {3, 4, 3, 3});
  const std::string message =
      message_of<ShapeError>([&] { (void)conv2d(image, w, Parameter<double>{}, 1, 1); });
  CHECK(message.find("conv2d") != std::string::npos);
  CHECK(message.find("(4, 6, 4, 5)") != std::string::npos);
  CHECK(message.find("(3, 4, 3, 3)") != std::string::npos);
}

TEST_CASE("group_norm with scale and shift of each row, with an activation") {
  const std::array<Values, 3> x{numbers({4, 3, 2, 6}, 1), numbers({4, 6}, 2), numbers({4, 6}, 3)};
  expect_op([](const auto&, const auto& x, const auto& a,
               const auto& b) { return group_norm(x, a, b, 2, 1e-3); },
            x);
  expect_op([](const auto&, const auto& x, const auto& a,
               const auto& b) { return group_norm(x, a, b, 3, 1e-3, Silu{}); },
            x);
}

TEST_CASE("group_norm with parameters, of x and of x and what is added to its channels") {
  // Four channels in a group, three, and one.
  for (const std::size_t channels : {8, 6, 2}) {
    const std::vector<std::pair<std::string, Values>> parameters{{"weight", numbers({channels}, 2)},
                                                                 {"bias", numbers({channels}, 3)}};
    const Values x = numbers({4, 3, 2, channels}, 1), c = numbers({4, channels}, 4);
    expect_op(
        [](const auto& p, const auto& x) { return group_norm(x, p[0], p[1], 2, 1e-3, Silu{}); },
        std::array<Values, 1>{x}, parameters);
    expect_op([](const auto& p, const auto& x,
                 const auto& c) { return group_norm_of_sum(x, c, p[0], p[1], 2, 1e-3, Silu{}); },
              std::array<Values, 2>{x, c}, parameters);
  }
}

TEST_CASE("group_norm_of_sum is group_norm of the sum") {
  Parameters<double> parameters;
  const auto a = parameters.add("a", {6}), b = parameters.add("b", {6});
  for (std::size_t k = 0; k < 6; ++k) {
    a.data()[k] = 1 + 0.1 * static_cast<double>(k);
    b.data()[k] = -0.2 * static_cast<double>(k);
  }
  const Values x = numbers({2, 4, 3, 6}, 1), c = numbers({2, 6}, 2);
  Values spread({2, 1, 1, 6});
  std::copy_n(c.data(), c.size(), spread.data());
  CHECK(test::relative_error(group_norm_of_sum(x, c, a, b, 2), group_norm(x + spread, a, b, 2)) <
        1e-14);
  const Values wrong = numbers({2, 5}, 3);
  const std::string message =
      message_of<ShapeError>([&] { (void)group_norm_of_sum(x, wrong, a, b, 2); });
  CHECK(message.find("group_norm") != std::string::npos);
  CHECK(message.find("(2, 5)") != std::string::npos);
  const auto few = parameters.add("few", {5});
  CHECK(message_of<ShapeError>([&] { (void)group_norm(x, few, b, 2); }).find("each channel") !=
        std::string::npos);
}

TEST_CASE("scaled_sum, with and without a bias") {
  const std::array<Values, 2> branches{numbers({4, 3, 2, 5}, 1), numbers({4, 3, 2, 5}, 2)};
  for (const double scale : {1.0, 0.7}) {
    expect_op(
        [=](const auto& p, const auto& x, const auto& y) { return scaled_sum(x, y, scale, p[0]); },
        branches, {{"bias", numbers({5}, 3)}});
    expect_op([=](const auto&, const auto& x, const auto& y) { return scaled_sum(x, y, scale); },
              branches);
  }
  CHECK(message_of<ShapeError>([&] {
          (void)scaled_sum(image, branches[0], 1);
        }).find("scaled_sum") == 0);
}

TEST_CASE("add_bias adds to the values alone") {
  expect_op([](const auto& p, const auto& x) { return add_bias(x, p[0]); },
            std::array<Values, 1>{numbers({4, 3, 5}, 1)}, {{"bias", numbers({5}, 2)}});
}

TEST_CASE("group_norm gives every group mean 0 and variance 1") {
  const Values x = numbers({2, 8, 8, 4}, 9, 5, 7);
  const Values y = group_norm(x, Values::full({2, 4}, 1), Values::zeros({2, 4}), 2, 0);
  double mean = 0, square = 0;
  for (std::size_t p = 0; p < 64; ++p)
    for (std::size_t c = 2; c < 4; ++c) {
      mean += y[p * 4 + c] / 128;
      square += y[p * 4 + c] * y[p * 4 + c] / 128;
    }
  CHECK(mean == doctest::Approx(0));
  CHECK(square == doctest::Approx(1));
}

TEST_CASE("group_norm refuses channels that do not divide") {
  const Values a = Values::zeros({4, 5});
  const std::string message = message_of<ShapeError>([&] { (void)group_norm(image, a, a, 2); });
  CHECK(message.find("group_norm") != std::string::npos);
  CHECK(message.find("2 equal groups") != std::string::npos);
}

TEST_CASE("resample up and down, with filters of 2 and 4 taps") {
  for (const auto& taps : {std::vector<double>{1, 1}, std::vector<double>{1, 3, 3, 1}})
    for (Resampling direction : {Resampling::up, Resampling::down})
      expect_op(
          [=](const auto&, const auto& x) {
            return resample(x, direction, filter_for(x, direction, taps));
          },
          std::array<Values, 1>{image});
}

TEST_CASE("a constant image stays constant inside when it is resampled") {
  const Values ones = Values::full({1, 8, 8, 2}, 1);
  for (Resampling direction : {Resampling::up, Resampling::down}) {
    const Values y = resample(ones, direction,
                              resampling_filter<double>(direction, std::vector{1., 3., 3., 1.}));
    CHECK(y[(2 * y.shape()[2] + 2) * 2] == doctest::Approx(1));
  }
}

TEST_CASE("conv_transpose2d is the adjoint of conv2d") {
  struct Case {
    HeightWidth kernel;
    std::size_t stride;
    HeightWidth padding;
  };
  for (const Case& of : {Case{4, 2, 1}, Case{3, 1, 1}, Case{2, 2, 0}, Case{{1, 5}, 1, {0, 2}}}) {
    INFO("kernel ", of.kernel.height, " x ", of.kernel.width, ", stride ", of.stride);
    const HeightWidth k = of.kernel, pad = of.padding;
    const std::size_t step = of.stride;
    expect_op(
        [=](const auto& p, const auto& x) { return conv_transpose2d(x, p[0], p[1], step, pad); },
        std::array<Values, 1>{numbers({3, 3, 2, 2}, 1)},
        {{"w", numbers({2, 3, k.height, k.width}, 2)}, {"b", numbers({3}, 3)}});
    Parameters<double> parameters;
    const auto w = parameters.add("w", {2, 3, k.height, k.width});
    const Values noise = numbers(w.shape(), 4);
    std::copy_n(noise.data(), noise.size(), w.data());
    const Values x = numbers({2, 3, 2, 2}, 5), up = conv_transpose2d(x, w, {}, step, pad);
    const Values y = numbers(up.shape(), 6), down = conv2d(y, w, {}, step, pad);
    CHECK(test::inner_product(up, y) == doctest::Approx(test::inner_product(x, down)));
  }
  Parameters<double> parameters;
  const auto w = parameters.add("w", {2, 3, 2, 2});
  CHECK(test::message_of<ShapeError>([&] {
          (void)conv_transpose2d(numbers({1, 2, 2, 2}, 1), w, {}, 3);
        }) ==
        "conv_transpose2d: shape (1, 2, 2, 2) does not fit shape (2, 3, 2, 2) (the kernel must be "
        "at least the stride and more than twice the padding)");
}

TEST_CASE("upsample_nearest repeats every pixel four times") {
  expect_op([](const auto&, const auto& x) { return upsample_nearest(x); },
            std::array<Values, 1>{image});
  const Values y = upsample_nearest(Values::from({1, 1, 2, 1}, {3, 5}));
  CHECK(std::vector<double>(y.span().begin(), y.span().end()) ==
        std::vector<double>{3, 3, 5, 5, 3, 3, 5, 5});
}

TEST_CASE("broadcast_rows repeats a parameter for every row") {
  expect_op([](const auto& p, const auto& x) { return broadcast_rows(p[0], x) * x; },
            std::array<Values, 1>{numbers({4, 3}, 1)}, {{"p", numbers({3}, 2)}});
}
