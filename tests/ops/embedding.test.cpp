// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>
#include <cstdint>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/ops/elementwise.hpp>
#include <meanflow/ops/embedding.hpp>

using namespace meanflow;
using test::expect_op;
using test::message_of;
using test::numbers;
using test::Values;

namespace {

template <SinusoidOrder order>
void expect_sinusoid(std::size_t half) {
  const auto f = [half](const auto& p, const auto& x) {
    using Device = typename std::remove_cvref_t<decltype(p)>::device_type;
    Tensor<double> frequencies({half});
    for (std::size_t i = 0; i < half; ++i) frequencies[i] = 0.3 + 0.17 * static_cast<double>(i);
    return sinusoid(x, to_device<Device>(frequencies), order);
  };
  expect_op(f, std::array<Values, 1>{numbers({6, 1}, 1, -2, 2)});
  expect_op(f, std::array<Values, 1>{numbers({6, 3}, 1, -2, 2)});
}

Tensor<std::int32_t> labels_of(std::initializer_list<std::int32_t> values) {
  return Tensor<std::int32_t>::from({values.size()}, values);
}

}  // namespace

TEST_CASE("sinusoid") {
  expect_sinusoid<SinusoidOrder::cosines_first>(5);
  expect_sinusoid<SinusoidOrder::sines_first>(9);
  const auto y = sinusoid(Values::from({1, 1}, {2}), Values::from({2}, {1, 3}));
  CHECK(y.shape() == Shape{1, 4});
  CHECK(y[1] == doctest::Approx(std::cos(6.0)).epsilon(1e-14));
  CHECK(y[2] == doctest::Approx(std::sin(2.0)).epsilon(1e-14));
  const auto two = sinusoid(Values::from({1, 2}, {7, 2}), Values::from({2}, {1, 3}));
  CHECK(two.shape() == Shape{1, 8});
  CHECK(two[0] == doctest::Approx(std::cos(7.0)).epsilon(1e-14));
  CHECK(two[5] == doctest::Approx(std::cos(6.0)).epsilon(1e-14));  // after the first number's four
}

TEST_CASE("class_embedding takes rows and adds to their gradients") {
  const auto f = [](const auto& p, const auto& x) {
    using Device = typename std::remove_cvref_t<decltype(p)>::device_type;
    const auto labels = Tensor<std::int32_t, Device>::from({6}, {2, 0, 2, 1, 2, 0});
    return class_embedding(p[0], labels, x) * x;
  };
  expect_op(f, std::array<Values, 1>{numbers({6, 3}, 1)}, {{"table", numbers({4, 3}, 2)}});
}

TEST_CASE("errors of embeddings") {
  Parameters<double> parameters;
  const auto table = parameters.add("table", {3, 2});
  const Values like({2, 5});
  CHECK(message_of<ShapeError>([&] {
          (void)class_embedding(table, labels_of({1, 3}), like);
        }) == "class_embedding: label 3 is not in [0, 3), the rows of table");
  CHECK_THROWS_AS((void)class_embedding(table, labels_of({-1, 0}), like), ShapeError);
  CHECK(message_of<ShapeError>([&] { (void)class_embedding(table, labels_of({1}), like); }) ==
        "class_embedding: 1 labels for a batch of 2 rows");
}
