// SPDX-License-Identifier: MIT
// An element's value does not depend on where it lies, nor on whether its derivative is wanted.
#include <doctest/doctest.h>

#include <meanflow/scalar/functors.hpp>

#include "compare.hpp"

using namespace meanflow;
using test::numbers;
using test::Numbers;

namespace {

template <class T, class F>
void expect_exact(F f, T low, T high) {
  INFO(F::name, " of ", sizeof(T), " bytes");
  const std::size_t n = 1000;
  auto x = numbers<T>(2 * n, 1, low, high);
  Numbers<T> plain(n), with_tangent(2 * n), with_slope(n), slope(n), some(n + 37);
  kernels::unary(Cpu{}, f, n, 0, x.data(), plain.data(), nullptr);
  kernels::unary(Cpu{}, f, n, n, x.data(), with_tangent.data(), nullptr);
  kernels::unary(Cpu{}, f, n, 0, x.data(), with_slope.data(), slope.data());
  kernels::unary(Cpu{}, f, n, 37, x.data(), some.data(), nullptr);
  std::size_t tangent_differs = 0, slope_differs = 0, place_differs = 0, some_differ = 0;
  Numbers<T> alone(1);
  for (std::size_t i = 0; i < n; ++i) {
    tangent_differs += plain[i] != with_tangent[i];
    slope_differs += plain[i] != with_slope[i];
    some_differ += plain[i] != some[i];
    kernels::unary(Cpu{}, f, 1, 0, x.data() + i, alone.data(), nullptr);
    place_differs += plain[i] != alone[0];
  }
  CHECK(tangent_differs == 0);
  CHECK(slope_differs == 0);
  CHECK(some_differ == 0);
  CHECK(place_differs == 0);
}

template <class T>
void expect_all_exact() {
  expect_exact<T>(Exp{}, -5, 5);
  expect_exact<T>(Log{}, T(0.01), 5);
  expect_exact<T>(Sqrt{}, T(0.01), 5);
  expect_exact<T>(Square{}, -5, 5);
  expect_exact<T>(Sin{}, -5, 5);
  expect_exact<T>(Cos{}, -5, 5);
  expect_exact<T>(Tanh{}, -5, 5);
  expect_exact<T>(Erf{}, -4, 4);
  expect_exact<T>(Sigmoid{}, -9, 9);
  expect_exact<T>(Silu{}, -9, 9);
  expect_exact<T>(Gelu{}, -9, 9);
  expect_exact<T>(GeluTanh{}, -9, 9);
  expect_exact<T>(Softplus{}, -9, 9);
  expect_exact<T>(Relu{}, -5, 5);
  expect_exact<T>(Abs{}, -5, 5);
  expect_exact<T>(Negate{}, -5, 5);
  expect_exact<T>(Identity{}, -5, 5);
}

}  // namespace

TEST_CASE("values are the same with and without derivatives: float") { expect_all_exact<float>(); }
TEST_CASE("values are the same with and without derivatives: double") {
  expect_all_exact<double>();
}

TEST_CASE_TEMPLATE("other kernels: an element's result does not depend on its place", T, float,
                   double) {
  const std::size_t n = 1000;
  const auto x = numbers<T>(n, 1), y = numbers<T>(n, 2);
  const auto everywhere = [&](auto f, std::size_t outputs) {
    Numbers<T> whole(outputs * n), alone(outputs);
    f(std::size_t{0}, n, whole.data());
    std::size_t differ = 0;
    for (std::size_t i = 0; i < n; ++i) {
      f(i, std::size_t{1}, alone.data());
      for (std::size_t k = 0; k < outputs; ++k) differ += whole[k * n + i] != alone[k];
    }
    CHECK(differ == 0);
  };
  SUBCASE("affine") {
    everywhere([&](std::size_t i, std::size_t count,
                   T* out) { kernels::affine(Cpu{}, count, 0, T(1.7), T(0.3), x.data() + i, out); },
               1);
  }
  SUBCASE("binary and its tangent") {
    everywhere(
        [&](std::size_t i, std::size_t count, T* out) {
          const Broadcast shape = broadcast("test", {count}, {count});
          kernels::binary(Cpu{}, Divide{}, shape, x.data() + i, y.data() + i, out);
          kernels::binary_tangent(Cpu{}, Divide{}, shape, x.data() + i, y.data() + i, y.data() + i,
                                  x.data() + i, out + count);
        },
        2);
  }
}
