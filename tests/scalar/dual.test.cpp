// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <sstream>
#include <type_traits>

#include <doctest/doctest.h>

#include <meanflow/scalar/dual.hpp>
#include <meanflow/scalar/math.hpp>

namespace {

using namespace meanflow;
using D = Dual<double>;
using F = Dual<float>;
using DD = Dual<Dual<double>>;

static_assert(std::is_trivial_v<F> && std::is_standard_layout_v<F>);
static_assert(std::is_trivially_copyable_v<DD> && std::is_trivially_default_constructible_v<DD>);
static_assert(sizeof(F) == 8 && alignof(F) == 4 && sizeof(DD) == 32);
static_assert(F{}.primal == 0 && F{}.tangent == 0);

// No way back to a number, and no silent loss of precision.
static_assert(!std::is_convertible_v<F, float> && !std::is_constructible_v<float, F>);
static_assert(!std::is_convertible_v<F, bool> && !std::is_constructible_v<bool, F>);
static_assert(std::is_convertible_v<float, F> && std::is_convertible_v<int, F>);
static_assert(!std::is_convertible_v<double, F> && std::is_constructible_v<F, double>);
static_assert(std::is_convertible_v<float, D> && std::is_convertible_v<double, DD>);
static_assert(std::is_convertible_v<D, DD> && !std::is_convertible_v<DD, D>);
static_assert(!std::is_convertible_v<F, D> && std::is_constructible_v<D, F>);
static_assert(!std::is_constructible_v<F, const char*> && !std::is_convertible_v<void*, F>);

// Constant expressions.
constexpr bool same_parts(D x, double primal, double tangent) {
  return x.primal == primal && x.tangent == tangent;
}
constexpr D a(3.0, 1.0), b(2.0, 5.0);
static_assert(same_parts(a + b, 5, 6) && same_parts(a - b, 1, -4) && same_parts(a * b, 6, 17));
static_assert(same_parts(a / b, 1.5, -3.25) && same_parts(-a, -3, -1) && same_parts(+a, 3, 1));
static_assert(same_parts(a + 1, 4, 1) && same_parts(1 - a, -2, -1) && same_parts(2.0f * a, 6, 2));
static_assert(same_parts(a / 2, 1.5, 0.5) && same_parts(6 / b, 3, -7.5));
static_assert(a > b && b < a && a >= b && b <= a && a != b && !(a == b));
static_assert(a == 3 && 3 == a && a != 2.0f && 2 < a && 4 >= a && a > 2 && a <= 3.0);
static_assert(a == D(3.0, -9.0), "comparisons look at the primal");
static_assert(primal(a) == 3 && tangent(a) == 1 && primal(2.5) == 2.5 && tangent(2.5) == 0);
static_assert(square(a).tangent == 6 && powi(a, 3).tangent == 27 && max(a, b).tangent == 1);

constexpr D compound(D x) {
  x += 1;
  x *= x;
  x -= D(1.0, 1.0);
  x /= 2;
  return x;
}
static_assert(same_parts(compound(a), 7.5, 3.5));

TEST_CASE("the primal of arithmetic is that of plain numbers, bit for bit") {
  std::mt19937 generator(1);
  std::normal_distribution<double> normal;
  int differ = 0;
  for (int i = 0; i < 100000; ++i) {
    const double x = normal(generator), y = normal(generator), c = normal(generator);
    const D dx(x, normal(generator)), dy(y, normal(generator));
    const auto f = [c](auto p, auto q) { return (p * q + c) / (p - q) - (c / q) * (p / c) + -p; };
    differ += !same(f(dx, dy).primal, f(x, y));
    differ += !same(f(DD(dx, dy), DD(dy, dx)).primal, f(dx, dy));
  }
  CHECK(differ == 0);
}

TEST_CASE("a constant has no tangent, not even next to infinity") {
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(same(D(inf, 1.0) * 2, D(inf, 2.0)));
  CHECK(same(2 * D(inf, 1.0), D(inf, 2.0)));
  CHECK(same(D(inf, 1.0) + 2, D(inf, 1.0)));
  CHECK(same(D(inf, 1.0) / 2, D(inf, 0.5)));
  D x(inf, 1.0);
  x *= 2;
  CHECK(same(x, D(inf, 2.0)));
}

TEST_CASE("constants are converted to the precision of the Dual, never the other way") {
  static_assert(std::same_as<decltype(F() * 2.0), F> && std::same_as<decltype(1 / F()), F>);
  CHECK((F(1.0f, 1.0f) * 0.1).primal == 0.1f);
  CHECK((F(1.0f, 1.0f) / 2).primal == 0.5f);
  CHECK((1 / 2 * F(1.0f, 1.0f)).primal == 0.0f);
}

TEST_CASE("nested duals take constants of every level") {
  const DD x(D(3.0, 1.0), D(1.0, 0.0));
  CHECK(same(x * 2.0, 2 * x));
  CHECK(same(x * D(2.0, 0.0), D(2.0, 0.0) * x));
  CHECK(same((x * x * x).tangent.tangent, 18.0));
  CHECK(same((1 / x).tangent.tangent, 2.0 / 27.0));
  CHECK(x > 2);
  CHECK(x < D(4.0, 0.0));
}

// The derivative of f at x: one level of Dual more than x has, whatever x is.
// [docs:derivative]
template <class Function, class T>
T derivative(const Function& f, const T& x) {
  const meanflow::Dual<T> y = f(meanflow::Dual<T>(x, T(1)));
  return y.tangent;
}
// [docs:end]

TEST_CASE("derivatives inside derivatives do not mix") {
  // d/dx [x d/dy (x + y)] = 1; one level of Dual for both would give 2
  const auto outer = [](auto x) {
    const auto inner = derivative([&](auto y) { return x + y; }, decltype(x)(5.0));
    return x * inner;
  };
  CHECK(derivative(outer, 2.0) == 1.0);

  // d/dx [x d/dy (x y^2) at y = x] = d/dx [2 x^3] = 6 x^2
  const auto product = [](auto x) { return x * derivative([&](auto y) { return x * y * y; }, x); };
  CHECK(derivative(product, 2.0) == 24.0);
}

TEST_CASE("a user's own function, its derivative and its second derivative") {
  // [docs:own]
  const auto f = [](auto x) {
    using std::exp;
    return x * exp(-x * x / 2);
  };
  const double first = derivative(f, 0.5);
  const double second = derivative([&](auto x) { return derivative(f, x); }, 0.5);
  // [docs:end]
  CHECK(first == doctest::Approx((1 - 0.25) * std::exp(-0.125)));
  CHECK(second == doctest::Approx((0.125 - 1.5) * std::exp(-0.125)));
}

TEST_CASE("stop_gradient makes a constant at every level") {
  CHECK(same(stop_gradient(D(3.0, 1.0)), D(3.0, 0.0)));
  CHECK(same(stop_gradient(DD(D(3.0, 1.0), D(1.0, 2.0))), DD(3.0)));
  CHECK(stop_gradient(3.0) == 3.0);
}

TEST_CASE("same compares every part; all_finite looks at every part") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(same(D(1.0, nan), D(1.0, nan)));
  CHECK(!same(D(1.0, 2.0), D(1.0, 3.0)));
  CHECK(!same(D(1.0, 0.0), D(1.0, -0.0)));
  CHECK(all_finite(D(1.0, 2.0)));
  CHECK(!all_finite(D(1.0, nan)));
  CHECK(isfinite(D(1.0, nan)));
  CHECK(isnan(D(nan, 1.0)));
  CHECK(isinf(D(1 / D(0.0).primal, 1.0)));
  CHECK(!all_finite(DD(D(1.0, 1.0), D(1.0, nan))));
  CHECK(all_finite(1.0f));
}

TEST_CASE("conversion between precisions keeps both parts") {
  CHECK(same(D(F(0.5f, 2.0f)), D(0.5, 2.0)));
  CHECK(same(F(D(0.1, 2.0)), F(0.1f, 2.0f)));
  CHECK(same(DD(D(1.0, 2.0)), DD(D(1.0, 2.0), D(0.0, 0.0))));
  CHECK(same(DD(2), DD(D(2.0, 0.0), D(0.0, 0.0))));
}

TEST_CASE("both parts are printed") {
  std::ostringstream os;
  os << F(1.5f, -2.0f) << ' ' << DD(D(1.0, 2.0), D(3.0, 4.0));
  CHECK(os.str() == "{1.5, -2} {{1, 2}, {3, 4}}");
}

template <class T>
void expect_limits() {
  using L = std::numeric_limits<Dual<T>>;
  using P = std::numeric_limits<T>;
  static_assert(L::is_specialized == P::is_specialized && L::is_signed == P::is_signed);
  static_assert(L::is_integer == P::is_integer && L::is_exact == P::is_exact);
  static_assert(L::has_infinity == P::has_infinity && L::has_quiet_NaN == P::has_quiet_NaN);
  static_assert(L::has_signaling_NaN == P::has_signaling_NaN && L::round_style == P::round_style);
  static_assert(L::is_iec559 == P::is_iec559 && L::is_bounded == P::is_bounded);
  static_assert(L::is_modulo == P::is_modulo && L::digits == P::digits);
  static_assert(L::digits10 == P::digits10 && L::max_digits10 == P::max_digits10);
  static_assert(L::radix == P::radix && L::min_exponent == P::min_exponent);
  static_assert(L::min_exponent10 == P::min_exponent10 && L::max_exponent == P::max_exponent);
  static_assert(L::max_exponent10 == P::max_exponent10 && L::traps == P::traps);
  static_assert(L::tinyness_before == P::tinyness_before);

  const auto expect = [](auto dual, auto plain) {
    static_assert(std::same_as<decltype(dual), Dual<T>>);
    CHECK(same(dual, Dual<T>(plain, T(0))));
  };
  expect(L::min(), P::min());
  expect(L::max(), P::max());
  expect(L::lowest(), P::lowest());
  expect(L::epsilon(), P::epsilon());
  expect(L::round_error(), P::round_error());
  expect(L::infinity(), P::infinity());
  expect(L::quiet_NaN(), P::quiet_NaN());
  expect(L::signaling_NaN(), P::signaling_NaN());
  expect(L::denorm_min(), P::denorm_min());
}

TEST_CASE("every member of numeric_limits is that of T") {
  expect_limits<float>();
  expect_limits<double>();
  expect_limits<Dual<double>>();
}

TEST_CASE("an array of Dual is interleaved values and tangents") {
  const F xs[2] = {F(1.0f, 2.0f), F(3.0f, 4.0f)};
  float raw[4];
  std::memcpy(raw, xs, sizeof raw);
  CHECK(raw[0] == 1.0f);
  CHECK(raw[1] == 2.0f);
  CHECK(raw[2] == 3.0f);
  CHECK(raw[3] == 4.0f);
}

}  // namespace
