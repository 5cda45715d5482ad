// SPDX-License-Identifier: MIT
/// \file
/// Mathematical functions of numbers, SIMD batches, arrays and Duals, with their derivatives.
///
/// Each rule has the shape (y, f'(x) dx), where f'(x) is computed from the primal alone: a tangent
/// of 1 gives exactly f'(x). The primal is computed by the operations that plain T would use.
#pragma once

#include <cmath>
#include <concepts>
#include <cstdlib>
#include <limits>
#include <type_traits>

#include <meanflow/scalar/dual.hpp>
#include <meanflow/scalar/traits.hpp>

namespace meanflow {

// The standard functions of plain numbers, so that meanflow::exp(x) serves every kind of x.
using std::abs;
using std::acos;
using std::asin;
using std::atan;
using std::atan2;
using std::cbrt;
using std::ceil;
using std::cos;
using std::cosh;
using std::erf;
using std::erfc;
using std::exp;
using std::expm1;
using std::floor;
using std::fma;
using std::hypot;
using std::isfinite;
using std::isinf;
using std::isnan;
using std::log;
using std::log1p;
using std::log2;
using std::round;
using std::sin;
using std::sinh;
using std::sqrt;
using std::tan;
using std::tanh;

// The same functions of batches and arrays, from the library that defines those.

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T exp(const T& x) {
  using std::exp;
  return exp(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T expm1(const T& x) {
  using std::expm1;
  return expm1(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T log(const T& x) {
  using std::log;
  return log(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T log1p(const T& x) {
  using std::log1p;
  return log1p(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T log2(const T& x) {
  using std::log2;
  return log2(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T sqrt(const T& x) {
  using std::sqrt;
  return sqrt(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T cbrt(const T& x) {
  using std::cbrt;
  return cbrt(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T sin(const T& x) {
  using std::sin;
  return sin(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T cos(const T& x) {
  using std::cos;
  return cos(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T tan(const T& x) {
  using std::tan;
  return tan(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T sinh(const T& x) {
  using std::sinh;
  return sinh(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T cosh(const T& x) {
  using std::cosh;
  return cosh(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T tanh(const T& x) {
  using std::tanh;
  return tanh(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T asin(const T& x) {
  using std::asin;
  return asin(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T acos(const T& x) {
  using std::acos;
  return acos(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T atan(const T& x) {
  using std::atan;
  return atan(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T erf(const T& x) {
  using std::erf;
  return erf(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T erfc(const T& x) {
  using std::erfc;
  return erfc(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T abs(const T& x) {
  using std::abs;
  return abs(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T floor(const T& x) {
  using std::floor;
  return floor(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T ceil(const T& x) {
  using std::ceil;
  return ceil(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T round(const T& x) {
  using std::round;
  return round(x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T atan2(const T& y, const T& x) {
  using std::atan2;
  return atan2(y, x);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T hypot(const T& x, const T& y) {
  using std::hypot;
  return hypot(x, y);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T fma(const T& a, const T& b, const T& c) {
  using std::fma;
  return fma(a, b, c);
}

template <RealPack T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T pow(const T& x, const T& y) {
  using std::pow;
  return pow(x, y);
}

template <RealPack T, Arithmetic S>
[[nodiscard]] MEANFLOW_HOST_DEVICE T pow(const T& x, S c) {
  using std::pow;
  if constexpr (std::integral<S>) {
    return pow(x, c);
  } else {
    const T y = detail::full_like(x, static_cast<root_scalar<T>>(c));
    return pow(x, y);
  }
}

template <RealPack T, Arithmetic S>
[[nodiscard]] MEANFLOW_HOST_DEVICE T pow(S c, const T& y) {
  using std::pow;
  const T x = detail::full_like(y, static_cast<root_scalar<T>>(c));
  return pow(x, y);
}

/// x^y of plain numbers. An integer takes the type of the other argument, so that pow(x, 2) of a
/// float is a float (std::pow makes it a double).
template <Arithmetic X, Arithmetic Y>
[[nodiscard]] MEANFLOW_HOST_DEVICE auto pow(X x, Y y) {
  if constexpr (std::floating_point<X> && std::integral<Y>) {
    return std::pow(x, static_cast<X>(y));
  } else if constexpr (std::integral<X> && std::floating_point<Y>) {
    return std::pow(static_cast<Y>(x), y);
  } else {
    return std::pow(x, y);
  }
}

namespace detail {

// The type of an expression of an A and a B: the one in which the other is a constant.
template <class A, class B>
struct joint_type {
  using type = std::conditional_t<ConstantOf<B, A>, A, B>;
};
template <Arithmetic A, Arithmetic B>
struct joint_type<A, B> : std::common_type<A, B> {};
template <class A, class B>
using joint = typename joint_type<A, B>::type;

// c as a T of the shape of x.
template <class T, class S>
MEANFLOW_HOST_DEVICE constexpr T lift(const T& x, const S& c) {
  if constexpr (std::is_arithmetic_v<S>) {
    return full_like(x, static_cast<root_scalar<T>>(c));
  } else {
    return static_cast<T>(c);
  }
}

template <class S, class T>
concept LiftsTo = !Arithmetic<T> && Real<T> && ConstantOf<S, T> && !std::same_as<S, T>;

// Constants are functions, because device code cannot refer to a variable of namespace scope.
template <class T>
MEANFLOW_HOST_DEVICE constexpr root_scalar<T> ln2() {
  return static_cast<root_scalar<T>>(0.693147180559945309417232121458L);
}
// 1 / sqrt(2)
template <class T>
MEANFLOW_HOST_DEVICE constexpr root_scalar<T> inv_sqrt2() {
  return static_cast<root_scalar<T>>(0.707106781186547524400844362105L);
}
// sqrt(2 / pi)
template <class T>
MEANFLOW_HOST_DEVICE constexpr root_scalar<T> sqrt_2_over_pi() {
  return static_cast<root_scalar<T>>(0.797884560802865355879892119869L);
}
// 1 / sqrt(2 pi)
template <class T>
MEANFLOW_HOST_DEVICE constexpr root_scalar<T> inv_sqrt_2pi() {
  return static_cast<root_scalar<T>>(0.398942280401432677939946059934L);
}
// 2 / sqrt(pi)
template <class T>
MEANFLOW_HOST_DEVICE constexpr root_scalar<T> two_over_sqrt_pi() {
  return static_cast<root_scalar<T>>(1.128379167095512573896158903122L);
}

}  // namespace detail

// Exponentials, logarithms and powers.

// exp' = exp
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> exp(const Dual<T>& x) {
  const T y = exp(x.primal);
  return Dual<T>(y, y * x.tangent);
}

// expm1' = exp; y + 1 would lose the small values
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> expm1(const Dual<T>& x) {
  const T y = expm1(x.primal);
  const T dy = exp(x.primal);
  return Dual<T>(y, dy * x.tangent);
}

// log' = 1 / x
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> log(const Dual<T>& x) {
  using R = root_scalar<T>;
  const T y = log(x.primal);
  const T dy = R(1) / x.primal;
  return Dual<T>(y, dy * x.tangent);
}

// log1p' = 1 / (1 + x)
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> log1p(const Dual<T>& x) {
  using R = root_scalar<T>;
  const T y = log1p(x.primal);
  const T dy = R(1) / (R(1) + x.primal);
  return Dual<T>(y, dy * x.tangent);
}

// log2' = 1 / (x ln 2)
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> log2(const Dual<T>& x) {
  using R = root_scalar<T>;
  const T y = log2(x.primal);
  const T dy = R(1) / (x.primal * detail::ln2<T>());
  return Dual<T>(y, dy * x.tangent);
}

// sqrt' = 1 / (2 sqrt(x)), infinite at 0: there a tangent of 0 gives NaN. Norms add their epsilon
// under the root.
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> sqrt(const Dual<T>& x) {
  using R = root_scalar<T>;
  const T y = sqrt(x.primal);
  const T dy = R(0.5) / y;
  return Dual<T>(y, dy * x.tangent);
}

// cbrt' = 1 / (3 cbrt(x)^2), infinite at 0
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> cbrt(const Dual<T>& x) {
  using R = root_scalar<T>;
  const T y = cbrt(x.primal);
  const T dy = R(1) / (R(3) * (y * y));
  return Dual<T>(y, dy * x.tangent);
}

/// x^2
template <Real T>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T square(const T& x) {
  return x * x;
}

// (x^2)' = 2 x
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr Dual<T> square(const Dual<T>& x) {
  const T y = x.primal * x.primal;
  const T dy = root_scalar<T>(2) * x.primal;
  return Dual<T>(y, dy * x.tangent);
}

/// x^n by repeated multiplication; powi(x, 0) is 1 for every x.
template <Real T>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T powi(const T& x, int n) {
  using R = root_scalar<T>;
  T y = detail::full_like(x, R(1));
  T p = x;
  for (unsigned m = n < 0 ? 0u - static_cast<unsigned>(n) : static_cast<unsigned>(n); m != 0;) {
    if (m % 2 == 1) y = y * p;
    m /= 2;
    if (m != 0) p = p * p;
  }
  if (n < 0) y = R(1) / y;
  return y;
}

// (x^n)' = n x^(n-1), and 0 for n = 0, also at x = 0
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr Dual<T> powi(const Dual<T>& x, int n) {
  const T y = powi(x.primal, n);
  T dy = detail::zero_like(x.primal);
  if (n != 0) dy = root_scalar<T>(n) * powi(x.primal, n - 1);
  return Dual<T>(y, dy * x.tangent);
}

// (x^c)' = c x^(c-1), and 0 for c = 0, also at x = 0
template <class T, Arithmetic S>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> pow(const Dual<T>& x, S c) {
  using R = root_scalar<T>;
  using C = std::conditional_t<std::integral<S>, S, R>;
  const C k = static_cast<C>(c);
  const T y = pow(x.primal, k);
  T dy = detail::zero_like(x.primal);
  if (k != 0) dy = R(k) * pow(x.primal, static_cast<C>(k - 1));
  return Dual<T>(y, dy * x.tangent);
}

// (c^y)' = log(c) c^y; 0^y counts as constant
template <class T, Arithmetic S>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> pow(S c, const Dual<T>& y) {
  using R = root_scalar<T>;
  const R b = static_cast<R>(c);
  const T p = pow(b, y.primal);
  const T dp = (b == R(0) ? R(0) : R(std::log(b))) * p;
  return Dual<T>(p, dp * y.tangent);
}

// d(x^y) = y x^(y-1) dx + log(x) x^y dy, where
//   y = 0: the first factor is 0, also at x = 0, as for a constant exponent;
//   x = 0 < y: the second factor is 0, its limit;
//   dy = 0: the second term is left out, so that a negative base may have a constant exponent.
// What remains is IEEE: x < 0 with dy != 0 is NaN, 0^0 with dy != 0 is -inf dy.
template <class T>
  requires BranchableReal<T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> pow(const Dual<T>& x, const Dual<T>& y) {
  using R = root_scalar<T>;
  const T zero = detail::zero_like(x.primal);
  const T p = pow(x.primal, y.primal);
  T dx = zero, dy = zero;
  if (!(y.primal == R(0))) dx = y.primal * pow(x.primal, y.primal - R(1));
  if (!(x.primal == R(0) && y.primal > R(0))) dy = log(x.primal) * p;
  const T dp = dx * x.tangent;
  if (same(y.tangent, zero) || same(y.tangent, T(-zero))) return Dual<T>(p, dp);
  return Dual<T>(p, dp + dy * y.tangent);
}

// Trigonometric and hyperbolic functions and their inverses.

// sin' = cos
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> sin(const Dual<T>& x) {
  const T y = sin(x.primal);
  const T dy = cos(x.primal);
  return Dual<T>(y, dy * x.tangent);
}

// cos' = -sin
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> cos(const Dual<T>& x) {
  const T y = cos(x.primal);
  const T dy = -sin(x.primal);
  return Dual<T>(y, dy * x.tangent);
}

// tan' = 1 + tan^2
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> tan(const Dual<T>& x) {
  using R = root_scalar<T>;
  const T y = tan(x.primal);
  const T dy = R(1) + y * y;
  return Dual<T>(y, dy * x.tangent);
}

// sinh' = cosh
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> sinh(const Dual<T>& x) {
  const T y = sinh(x.primal);
  const T dy = cosh(x.primal);
  return Dual<T>(y, dy * x.tangent);
}

// cosh' = sinh
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> cosh(const Dual<T>& x) {
  const T y = cosh(x.primal);
  const T dy = sinh(x.primal);
  return Dual<T>(y, dy * x.tangent);
}

// tanh' = 1 - tanh^2
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> tanh(const Dual<T>& x) {
  using R = root_scalar<T>;
  const T y = tanh(x.primal);
  const T dy = R(1) - y * y;
  return Dual<T>(y, dy * x.tangent);
}

// asin' = 1 / sqrt((1 - x) (1 + x)), infinite at +-1
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> asin(const Dual<T>& x) {
  using R = root_scalar<T>;
  const T y = asin(x.primal);
  const T q = (R(1) - x.primal) * (R(1) + x.primal);
  const T dy = R(1) / sqrt(q);
  return Dual<T>(y, dy * x.tangent);
}

// acos' = -1 / sqrt((1 - x) (1 + x)), infinite at +-1
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> acos(const Dual<T>& x) {
  using R = root_scalar<T>;
  const T y = acos(x.primal);
  const T q = (R(1) - x.primal) * (R(1) + x.primal);
  const T dy = R(-1) / sqrt(q);
  return Dual<T>(y, dy * x.tangent);
}

// atan' = 1 / (1 + x^2)
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> atan(const Dual<T>& x) {
  using R = root_scalar<T>;
  const T y = atan(x.primal);
  const T dy = R(1) / (R(1) + x.primal * x.primal);
  return Dual<T>(y, dy * x.tangent);
}

// d atan2(y, x) = (x dy - y dx) / (x^2 + y^2)
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> atan2(const Dual<T>& y, const Dual<T>& x) {
  const T a = atan2(y.primal, x.primal);
  const T rr = x.primal * x.primal + y.primal * y.primal;
  return Dual<T>(a, (x.primal * y.tangent - y.primal * x.tangent) / rr);
}

// d hypot(x, y) = (x dx + y dy) / hypot(x, y), NaN at (0, 0)
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> hypot(const Dual<T>& x, const Dual<T>& y) {
  const T h = hypot(x.primal, y.primal);
  return Dual<T>(h, x.primal / h * x.tangent + y.primal / h * y.tangent);
}

// Error functions.

// erf' = 2 / sqrt(pi) exp(-x^2)
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> erf(const Dual<T>& x) {
  const T y = erf(x.primal);
  const T dy = detail::two_over_sqrt_pi<T>() * exp(-(x.primal * x.primal));
  return Dual<T>(y, dy * x.tangent);
}

// erfc' = -2 / sqrt(pi) exp(-x^2)
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> erfc(const Dual<T>& x) {
  const T y = erfc(x.primal);
  const T dy = -detail::two_over_sqrt_pi<T>() * exp(-(x.primal * x.primal));
  return Dual<T>(y, dy * x.tangent);
}

// Functions with kinks and jumps.

// |x|' = sign(x), 0 at 0: the symmetric choice, which steers no update away from 0; NaN stays NaN
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> abs(const Dual<T>& x) {
  using R = root_scalar<T>;
  const T y = abs(x.primal);
  const T one = detail::full_like(x.primal, R(1));
  const T zero_or_nan = x.primal * R(0);
  const T minus_one = -one;
  const T not_positive = meanflow::select(x.primal < R(0), minus_one, zero_or_nan);
  const T dy = meanflow::select(x.primal > R(0), one, not_positive);
  return Dual<T>(y, dy * x.tangent);
}

// floor' = 0, at the jumps as well
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> floor(const Dual<T>& x) {
  const T y = floor(x.primal);
  return Dual<T>(y, detail::zero_like(y));
}

// ceil' = 0
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> ceil(const Dual<T>& x) {
  const T y = ceil(x.primal);
  return Dual<T>(y, detail::zero_like(y));
}

// round' = 0
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> round(const Dual<T>& x) {
  const T y = round(x.primal);
  return Dual<T>(y, detail::zero_like(y));
}

template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE auto isfinite(const Dual<T>& x) {
  return isfinite(x.primal);
}

template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE auto isinf(const Dual<T>& x) {
  return isinf(x.primal);
}

template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE auto isnan(const Dual<T>& x) {
  return isnan(x.primal);
}

/// The smaller one, by value; the first one where they compare equal or not at all.
template <class T>
  requires Real<T> || Arithmetic<T>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T min(const T& a, const T& b) {
  return meanflow::select(b < a, b, a);
}

/// The larger one, by value; the first one where they compare equal or not at all.
template <class T>
  requires Real<T> || Arithmetic<T>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T max(const T& a, const T& b) {
  return meanflow::select(a < b, b, a);
}

// dmin = the tangent of the one taken; at a tie the average, which favours no argument
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr Dual<T> min(const Dual<T>& a, const Dual<T>& b) {
  const T y = meanflow::min(a.primal, b.primal);
  const T mean = root_scalar<T>(0.5) * (a.tangent + b.tangent);
  const T not_b = meanflow::select(a.primal < b.primal, a.tangent, mean);
  return Dual<T>(y, meanflow::select(b.primal < a.primal, b.tangent, not_b));
}

// dmax = the tangent of the one taken; at a tie the average, which favours no argument
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr Dual<T> max(const Dual<T>& a, const Dual<T>& b) {
  const T y = meanflow::max(a.primal, b.primal);
  const T mean = root_scalar<T>(0.5) * (a.tangent + b.tangent);
  const T not_b = meanflow::select(b.primal < a.primal, a.tangent, mean);
  return Dual<T>(y, meanflow::select(a.primal < b.primal, b.tangent, not_b));
}

template <Arithmetic A, Arithmetic B>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  return meanflow::min<T>(static_cast<T>(a), static_cast<T>(b));
}

template <class T, detail::LiftsTo<T> S>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T min(const T& a, const S& c) {
  return meanflow::min(a, detail::lift(a, c));
}

template <class T, detail::LiftsTo<T> S>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T min(const S& c, const T& a) {
  return meanflow::min(detail::lift(a, c), a);
}

template <Arithmetic A, Arithmetic B>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  return meanflow::max<T>(static_cast<T>(a), static_cast<T>(b));
}

template <class T, detail::LiftsTo<T> S>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T max(const T& a, const S& c) {
  return meanflow::max(a, detail::lift(a, c));
}

template <class T, detail::LiftsTo<T> S>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T max(const S& c, const T& a) {
  return meanflow::max(detail::lift(a, c), a);
}

// Sums of products.

// d(a b + c) = da b + a db + dc
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> fma(const Dual<T>& a, const Dual<T>& b,
                                               const Dual<T>& c) {
  const T y = fma(a.primal, b.primal, c.primal);
  return Dual<T>(y, a.tangent * b.primal + a.primal * b.tangent + c.tangent);
}

/// (1 - t) a + t b: exactly a at t = 0 and b at t = 1. Any of the three may be constant.
template <class A, class B, class C>
  requires(Real<A> || Arithmetic<A>) && (Real<B> || Arithmetic<B>) && Real<C>
[[nodiscard]] MEANFLOW_HOST_DEVICE
    constexpr detail::joint<detail::joint<A, B>, C> lerp(const A& a, const B& b, const C& t) {
  return (root_scalar<C>(1) - t) * a + t * b;
}

// Activations, with closed derivatives. They stay finite, derivatives included, for every finite x.

/// 1 / (1 + exp(-x))
template <Real T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T sigmoid(const T& x) {
  using R = root_scalar<T>;
  const T e = exp(-x);
  return R(1) / (R(1) + e);
}

// s' = s (1 - s)
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> sigmoid(const Dual<T>& x) {
  using R = root_scalar<T>;
  const T s = sigmoid(x.primal);
  const T ds = s * (R(1) - s);
  return Dual<T>(s, ds * x.tangent);
}

/// x sigmoid(x), also called swish
template <Real T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T silu(const T& x) {
  const T s = sigmoid(x);
  return x * s;
}

// s = sigmoid(x), y = x s, y' = s + y (1 - s)
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> silu(const Dual<T>& x) {
  const T s = sigmoid(x.primal);
  const T y = x.primal * s;
  const T dy = s + y * (root_scalar<T>(1) - s);
  return Dual<T>(y, dy * x.tangent);
}

/// x Phi(x), with Phi(x) = erfc(-x / sqrt(2)) / 2 the normal distribution function
template <Real T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T gelu(const T& x) {
  using R = root_scalar<T>;
  const T a = -detail::inv_sqrt2<T>() * x;
  const T phi = R(0.5) * erfc(a);
  return x * phi;
}

// y = x Phi(x), y' = Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi)
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> gelu(const Dual<T>& x) {
  using R = root_scalar<T>;
  const T a = -detail::inv_sqrt2<T>() * x.primal;
  const T phi = R(0.5) * erfc(a);
  const T y = x.primal * phi;
  const T density = detail::inv_sqrt_2pi<T>() * exp(R(-0.5) * (x.primal * x.primal));
  const T dy = phi + x.primal * density;
  return Dual<T>(y, dy * x.tangent);
}

namespace detail {

// min(x^2, 10^4): beyond |x| = 100 the sigmoid in gelu_tanh is exactly 0 or 1, and its argument and
// the derivative of that must not overflow.
template <class T>
MEANFLOW_HOST_DEVICE T gelu_square(const T& x) {
  using R = root_scalar<T>;
  const T limit = full_like(x, R(1e4));
  const T xx = x * x;
  return meanflow::select(xx < limit, xx, limit);
}

// sigmoid(2 g), g = sqrt(2 / pi) (x + 0.044715 x^3)
template <class T>
MEANFLOW_HOST_DEVICE T gelu_sigmoid(const T& x, const T& xx) {
  using R = root_scalar<T>;
  constexpr R k = R(2) * sqrt_2_over_pi<T>();
  constexpr R k3 = k * R(0.044715L);
  const T g2 = x * (k + k3 * xx);
  return sigmoid(g2);
}

}  // namespace detail

/// x (1 + tanh(g)) / 2 = x sigmoid(2 g), g = sqrt(2 / pi) (x + 0.044715 x^3)
template <Real T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T gelu_tanh(const T& x) {
  const T xx = detail::gelu_square(x);
  const T s = detail::gelu_sigmoid(x, xx);
  return x * s;
}

// s = sigmoid(2 g), y = x s, y' = s + y (1 - s) 2 g', g' = sqrt(2 / pi) (1 + 3 0.044715 x^2)
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> gelu_tanh(const Dual<T>& x) {
  using R = root_scalar<T>;
  constexpr R k = R(2) * detail::sqrt_2_over_pi<T>();
  constexpr R k3 = k * R(3 * 0.044715L);
  const T xx = detail::gelu_square(x.primal);
  const T s = detail::gelu_sigmoid(x.primal, xx);
  const T y = x.primal * s;
  const T dg2 = k + k3 * xx;
  const T dy = s + y * ((R(1) - s) * dg2);
  return Dual<T>(y, dy * x.tangent);
}

/// log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))
template <Real T>
[[nodiscard]] MEANFLOW_HOST_DEVICE T softplus(const T& x) {
  using R = root_scalar<T>;
  const T zero = detail::zero_like(x);
  const T e = exp(-abs(x));
  const T positive = meanflow::select(x > R(0), x, zero);
  return positive + log1p(e);
}

// softplus' = sigmoid
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE Dual<T> softplus(const Dual<T>& x) {
  const T y = softplus(x.primal);
  const T dy = sigmoid(x.primal);
  return Dual<T>(y, dy * x.tangent);
}

/// max(x, 0); NaN stays NaN
template <Real T>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T relu(const T& x) {
  const T zero = detail::zero_like(x);
  return meanflow::select(x <= root_scalar<T>(0), zero, x);
}

// relu' = 1 where x > 0, else 0; 0 at 0, as in the Python frameworks
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr Dual<T> relu(const Dual<T>& x) {
  using R = root_scalar<T>;
  const T y = relu(x.primal);
  const T zero = detail::zero_like(x.primal);
  const T one = detail::full_like(x.primal, R(1));
  const T dy = meanflow::select(x.primal <= R(0), zero, one);
  return Dual<T>(y, dy * x.tangent);
}

}  // namespace meanflow
