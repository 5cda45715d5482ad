// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <vector>

#include <meanflow/scalar/functors.hpp>

#include "expect_derivatives.hpp"

namespace {

using namespace meanflow;
using meanflow::test::expect_derivatives;
using D = Dual<double>;
using DD = Dual<Dual<double>>;

constexpr double inf = std::numeric_limits<double>::infinity();
const double nan = std::numeric_limits<double>::quiet_NaN();

const std::vector<double> line{-3.5, -1.25, -0.5, -0.125, 0.0625, 0.75, 1.5, 2.75};
const std::vector<double> positive{0.0625, 0.25, 0.75, 1.0, 1.5, 3.25, 20.5};
const std::vector<double> interval{-0.875, -0.5, -0.0625, 0.125, 0.5, 0.8125};

TEST_CASE("exponentials and logarithms") {
  expect_derivatives([](const auto& x) { return meanflow::exp(x); }, line);
  expect_derivatives([](const auto& x) { return meanflow::expm1(x); }, line);
  expect_derivatives([](const auto& x) { return meanflow::log(x); }, positive);
  expect_derivatives([](const auto& x) { return meanflow::log1p(x); }, positive);
  expect_derivatives([](const auto& x) { return meanflow::log2(x); }, positive);
}

TEST_CASE("roots and powers") {
  expect_derivatives([](const auto& x) { return meanflow::sqrt(x); }, positive);
  expect_derivatives<false>([](const auto& x) { return meanflow::cbrt(x); }, positive);
  expect_derivatives([](const auto& x) { return meanflow::square(x); }, line);
  for (const int n : {-3, -1, 0, 1, 2, 5, 8}) {
    expect_derivatives([n](const auto& x) { return meanflow::powi(x, n); }, line,
                       {.first = 1e-7, .second = 1e-4});
  }
  for (const double c : {-1.5, 0.0, 0.5, 1.0, 2.0, 3.25}) {
    expect_derivatives(
        [c](const auto& x) { return meanflow::pow(x, root_scalar<std::decay_t<decltype(x)>>(c)); },
        positive, {.first = 1e-7, .second = 1e-4});
  }
  for (const int c : {-2, 0, 1, 3}) {
    expect_derivatives([c](const auto& x) { return meanflow::pow(x, c); }, line,
                       {.first = 1e-7, .second = 1e-4});
  }
  expect_derivatives([](const auto& x) { return meanflow::pow(2, x); }, line);
}

TEST_CASE("trigonometric and hyperbolic functions") {
  expect_derivatives([](const auto& x) { return meanflow::sin(x); }, line);
  expect_derivatives([](const auto& x) { return meanflow::cos(x); }, line);
  expect_derivatives([](const auto& x) { return meanflow::tan(x); }, interval);
  expect_derivatives([](const auto& x) { return meanflow::sinh(x); }, line);
  expect_derivatives([](const auto& x) { return meanflow::cosh(x); }, line);
  expect_derivatives([](const auto& x) { return meanflow::tanh(x); }, line);
  expect_derivatives([](const auto& x) { return meanflow::asin(x); }, interval);
  expect_derivatives([](const auto& x) { return meanflow::acos(x); }, interval);
  expect_derivatives([](const auto& x) { return meanflow::atan(x); }, line);
}

TEST_CASE("error functions") {
  expect_derivatives([](const auto& x) { return meanflow::erf(x); }, line);
  expect_derivatives([](const auto& x) { return meanflow::erfc(x); }, line);
}

TEST_CASE("functions with kinks, away from them") {
  expect_derivatives([](const auto& x) { return meanflow::abs(x); }, line);
  expect_derivatives([](const auto& x) { return meanflow::relu(x); }, line);
}

TEST_CASE("activations") {
  expect_derivatives([](const auto& x) { return meanflow::sigmoid(x); }, line);
  expect_derivatives([](const auto& x) { return meanflow::silu(x); }, line);
  expect_derivatives([](const auto& x) { return meanflow::gelu(x); }, line);
  expect_derivatives([](const auto& x) { return meanflow::gelu_tanh(x); }, line);
  expect_derivatives([](const auto& x) { return meanflow::softplus(x); }, line);
}

TEST_CASE("the activations are the functions of their names") {
  for (const double x : line) {
    INFO("x = ", x);
    const double g = std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x);
    CHECK(sigmoid(x) == doctest::Approx(1 / (1 + std::exp(-x))).epsilon(1e-14));
    CHECK(silu(x) == doctest::Approx(x / (1 + std::exp(-x))).epsilon(1e-14));
    CHECK(gelu(x) == doctest::Approx(x / 2 * (1 + std::erf(x / std::sqrt(2.0)))).epsilon(1e-12));
    CHECK(gelu_tanh(x) == doctest::Approx(x / 2 * (1 + std::tanh(g))).epsilon(1e-12));
    CHECK(softplus(x) == doctest::Approx(std::log(1 + std::exp(x))).epsilon(1e-14));
    CHECK(relu(x) == std::max(x, 0.0));
  }
}

// d f(x, y) along each argument, in every scalar type.
template <class F>
void expect_partials(const F& f, double x, double y) {
  const double fx = test::central_difference([&](double v) { return f(v, y); }, x);
  const double fy = test::central_difference([&](double v) { return f(x, v); }, y);
  const D d = f(D(x, 0.5), D(y, -2.0));
  CHECK(same(d.primal, f(x, y)));
  CHECK(d.tangent == doctest::Approx(0.5 * fx - 2.0 * fy).epsilon(1e-8));
  CHECK(f(D(x, 1.0), D(y)).tangent == doctest::Approx(fx).epsilon(1e-8));
  CHECK(f(D(x), D(y, 1.0)).tangent == doctest::Approx(fy).epsilon(1e-8));

  // d2f / dx dy
  const double fxy =
      test::central_difference([&](double v) { return f(D(x, 1.0), D(v)).tangent; }, y);
  const DD dd = f(DD(D(x, 1.0)), DD(D(y), D(1.0)));
  CHECK(same(dd.primal.primal, f(x, y)));
  CHECK(dd.tangent.tangent == doctest::Approx(fxy).epsilon(1e-6));
}

TEST_CASE("functions of two and three variables") {
  for (const double x : {0.3, 1.7}) {
    for (const double y : {-1.2, 0.4, 2.5}) {
      expect_partials([](const auto& a, const auto& b) { return meanflow::pow(a, b); }, x, y);
      expect_partials([](const auto& a, const auto& b) { return meanflow::atan2(b, a); }, x, y);
      expect_partials([](const auto& a, const auto& b) { return meanflow::hypot(a, b); }, x, y);
      expect_partials([](const auto& a, const auto& b) { return meanflow::max(a, b); }, x, y);
      expect_partials([](const auto& a, const auto& b) { return meanflow::min(a, b); }, x, y);
      expect_partials([](const auto& a, const auto& b) { return meanflow::fma(a, b, a); }, x, y);
      expect_partials([](const auto& a, const auto& b) { return meanflow::lerp(a, b, 0.25); }, x,
                      y);
      expect_partials([](const auto& a, const auto& b) { return meanflow::lerp(1, a, b); }, x, y);
    }
  }
}

TEST_CASE("functions of two variables over batches") {
  using B = xsimd::batch<double>;
  const auto expect = [](const auto& f) {
    const B x(1.7), y(0.4), dx(0.5), dy(-2.0);
    const Dual<B> d = f(Dual<B>(x, dx), Dual<B>(y, dy));
    const D number = f(D(1.7, 0.5), D(0.4, -2.0));
    CHECK(same(d.primal, f(x, y)));
    CHECK(d.primal.get(0) == doctest::Approx(number.primal).epsilon(1e-14));
    CHECK(d.tangent.get(0) == doctest::Approx(number.tangent).epsilon(1e-14));
  };
  expect([](const auto& a, const auto& b) { return meanflow::atan2(b, a); });
  expect([](const auto& a, const auto& b) { return meanflow::hypot(a, b); });
  expect([](const auto& a, const auto& b) { return meanflow::max(a, b); });
  expect([](const auto& a, const auto& b) { return meanflow::min(a, b); });
  expect([](const auto& a, const auto& b) { return meanflow::fma(a, b, a); });
  expect([](const auto& a, const auto& b) { return meanflow::lerp(a, b, 0.25); });
  expect([](const auto& a, const auto& b) { return meanflow::lerp(2, a, b); });
}

TEST_CASE("max and min take constants on both sides") {
  using B = xsimd::batch<float>;
  CHECK(same(max(D(2.0, 3.0), 1), D(2.0, 3.0)));
  CHECK(same(max(3.0, D(2.0, 3.0)), D(3.0, 0.0)));
  CHECK(same(min(1.0f, D(2.0, 3.0)), D(1.0, 0.0)));
  CHECK(same(min(DD(D(2.0, 3.0)), 4), DD(D(2.0, 3.0))));
  CHECK(same(min(DD(D(2.0, 3.0)), D(1.0, 5.0)), DD(D(1.0, 5.0))));
  CHECK(same(max(Dual<B>(B(-1.0f), B(2.0f)), 0), Dual<B>(B(0.0f), B(0.0f))));
  CHECK(same(meanflow::max(B(-1.0f), 0), B(0.0f)));
}

TEST_CASE("lerp is exact at both ends") {
  CHECK(lerp(0.1f, 0.7f, 0.0f) == 0.1f);
  CHECK(lerp(0.1f, 0.7f, 1.0f) == 0.7f);
}

// Activations where exp overflows: finite values and derivatives, in every type.
template <class T, class F>
void expect_finite(const F& f, root_scalar<T> x, double y, double dy) {
  using R = root_scalar<T>;
  const Dual<T> d = f(Dual<T>(T(x), T(R(1))));
  CAPTURE(x);
  CAPTURE(d);
  CHECK(all_finite(d));
  CHECK(same(d.primal, f(T(x))));
  CHECK(test::scaled_error(test::parts(d.primal)[0], static_cast<R>(y)) <= 1e-6);
  CHECK(test::scaled_error(test::parts(d.tangent)[0], dy) <= 1e-6);
  if constexpr (!RealPack<T>) {
    CHECK(all_finite(f(Dual<Dual<T>>(Dual<T>(T(x), T(1)), Dual<T>(T(1))))));
  }
}

template <class F>
void expect_step(const F& f, bool grows) {
  for (const double size : {1e2, 1e3, 1e4, 1e10, 1e19, 1e20, 1e30, 1e38}) {
    const auto expect_in = [&]<class T>(T) {
      expect_finite<T>(f, static_cast<root_scalar<T>>(size), grows ? size : 1.0, grows ? 1.0 : 0.0);
      expect_finite<T>(f, static_cast<root_scalar<T>>(-size), 0.0, 0.0);
    };
    expect_in(0.0f);
    expect_in(0.0);
    expect_in(xsimd::batch<float>(0.0f));
    expect_in(xsimd::batch<double>(0.0));
  }
}

TEST_CASE("activations stay finite with their derivatives") {
  expect_step(Sigmoid{}, false);
  expect_step(Silu{}, true);
  expect_step(Gelu{}, true);
  expect_step(GeluTanh{}, true);
  expect_step(Softplus{}, true);
  expect_step(Relu{}, true);
}

TEST_CASE("tanh and erf saturate") {
  for (const float x : {1e2f, 1e4f, 1e30f}) {
    CHECK(same(tanh(Dual<float>(x, 1.0f)), Dual<float>(1.0f, 0.0f)));
    CHECK(same(tanh(Dual<float>(-x, 1.0f)), Dual<float>(-1.0f, 0.0f)));
    using B = xsimd::batch<float>;
    CHECK(all_finite(tanh(Dual<B>(B(x), B(1.0f)))));
    CHECK(all_finite(tanh(Dual<B>(B(-x), B(1.0f)))));
    CHECK(same(erf(Dual<B>(B(x), B(1.0f))), Dual<B>(B(1.0f), B(0.0f))));
  }
}

TEST_CASE("the primal is that of plain numbers at zeros, tiny, huge, infinite and NaN values") {
  const auto expect = [](const auto& f) {
    for (const double x :
         {0.0, -0.0, 1e-310, -1e-310, 1e-40, 1e40, 1e300, -1e300, inf, -inf, nan}) {
      INFO(f.name, " at ", x);
      CHECK(same(f(D(x, 1.0)).primal, f(x)));
      const float s = static_cast<float>(x);
      CHECK(same(f(Dual<float>(s, 1.0f)).primal, f(s)));
      const xsimd::batch<float> v(s);
      CHECK(same(f(Dual<xsimd::batch<float>>(v, v)).primal, f(v)));
    }
  };
  expect(Exp{});
  expect(Log{});
  expect(Sqrt{});
  expect(Square{});
  expect(Sin{});
  expect(Cos{});
  expect(Tanh{});
  expect(Erf{});
  expect(Sigmoid{});
  expect(Silu{});
  expect(Gelu{});
  expect(GeluTanh{});
  expect(Softplus{});
  expect(Relu{});
  expect(Negate{});
  expect(Identity{});
  expect(Abs{});
}

TEST_CASE("conventions at the edges") {
  const auto slope = [](const auto& f, double x) { return f(D(x, 1.0)).tangent; };
  const auto slope_of_slope = [](const auto& f, double x) {
    return f(DD(D(x, 1.0), D(1.0))).tangent.tangent;
  };
  // [docs:edges]
  CHECK(slope(Relu{}, 0.0) == 0.0);
  CHECK(slope(Abs{}, 0.0) == 0.0);
  CHECK(max(D(1.0, 2.0), D(1.0, 6.0)).tangent == 4.0);  // a tie: the average
  CHECK(same(pow(D(0.0, 1.0), 0), D(1.0, 0.0)));        // x^0 is constant
  CHECK(same(pow(D(0.0, 1.0), D(2.0)), D(0.0, 0.0)));
  CHECK(same(pow(D(-2.0, 1.0), D(3.0)), D(-8.0, 12.0)));  // a constant exponent
  CHECK(isnan(sqrt(D(0.0, 0.0)).tangent));                // 1/0 * 0, as in IEEE arithmetic
  CHECK(sqrt(D(0.0, 1.0)).tangent == inf);
  CHECK(floor(D(2.0, 1.0)).tangent == 0.0);
  // [docs:end]
  CHECK(same(relu(D(0.0, 1.0)), D(0.0, 0.0)));
  CHECK(isnan(slope(Relu{}, nan)) == false);
  CHECK(isnan(relu(nan)));
  CHECK(isnan(slope(Abs{}, nan)));
  CHECK(slope(Abs{}, -0.0) == 0.0);
  CHECK(slope_of_slope(Abs{}, 0.0) == 0.0);
  CHECK(slope_of_slope(Relu{}, 0.0) == 0.0);
  CHECK(slope_of_slope(Softplus{}, 0.0) == 0.25);
  CHECK(slope_of_slope(Silu{}, 0.0) == 0.5);
  CHECK(min(D(1.0, 2.0), D(1.0, 6.0)).tangent == 4.0);
  CHECK(same(max(D(1.0, 2.0), 1), D(1.0, 1.0)));
  CHECK(same(max(D(1.0, 2.0), D(nan, 3.0)), D(1.0, 2.0)) == false);
  CHECK(max(1.0, nan) == 1.0);
  CHECK(round(D(2.5, 1.0)).tangent == 0.0);
  CHECK(ceil(D(2.0, inf)).tangent == 0.0);
  CHECK(slope([](auto x) { return log(x); }, 0.0) == inf);
  CHECK(slope([](auto x) { return asin(x); }, 1.0) == inf);
  CHECK(slope([](auto x) { return acos(x); }, -1.0) == -inf);
  CHECK(isnan(hypot(D(0.0, 1.0), D(0.0, 1.0)).tangent));
  CHECK(slope([](auto x) { return meanflow::cbrt(x); }, 0.0) == inf);
}

TEST_CASE("pow at the edges") {
  CHECK(same(pow(D(0.0, 1.0), 0.0), D(1.0, 0.0)));
  CHECK(same(pow(D(0.0, 1.0), 1.0), D(0.0, 1.0)));
  CHECK(same(pow(D(0.0, 1.0), 2.0), D(0.0, 0.0)));
  CHECK(pow(D(0.0, 1.0), 0.5).tangent == inf);
  CHECK(same(pow(D(-2.0, 1.0), 2), D(4.0, -4.0)));
  CHECK(isnan(pow(D(-2.0, 1.0), 0.5)));
  CHECK(same(powi(D(0.0, 1.0), 0), D(1.0, 0.0)));
  CHECK(same(powi(D(0.0, 1.0), 1), D(0.0, 1.0)));
  CHECK(powi(D(0.0, 1.0), -1).primal == inf);
  CHECK(same(pow(0, D(2.0, 1.0)), D(0.0, 0.0)));
  CHECK(same(pow(D(0.0, 1.0), D(0.0)), D(1.0, 0.0)));
  CHECK(pow(D(0.0, 0.0), D(0.0, 1.0)).tangent == -inf);
  CHECK(same(pow(D(0.0, 1.0), D(1.0, 1.0)), D(0.0, 1.0)));
  CHECK(isnan(pow(D(-2.0, 1.0), D(3.0, 1.0)).tangent));
  CHECK(isnan(pow(D(-2.0, 1.0), D(0.5))));
  static_assert(std::same_as<decltype(meanflow::pow(1.5f, 2)), float>);
  static_assert(std::same_as<decltype(meanflow::pow(2, 1.5f)), float>);
  static_assert(std::same_as<decltype(meanflow::pow(2, 2)), double>);
}

TEST_CASE("an if on Duals hides the jump") {
  const auto step = [](auto x) { return x < 1 ? 0 * x : 0 * x + 1; };
  CHECK(step(D(1.0, 1.0)).tangent == 0.0);
}

TEST_CASE("the standard functions of plain numbers are there under the library's name") {
  CHECK(meanflow::exp(1.0f) == std::exp(1.0f));
  CHECK(meanflow::abs(-2.0) == 2.0);
  CHECK(meanflow::max(1.0f, 2) == 2.0f);
  CHECK(meanflow::min(1, 2) == 1);
  CHECK(meanflow::hypot(3.0, 4.0) == 5.0);
}

}  // namespace
