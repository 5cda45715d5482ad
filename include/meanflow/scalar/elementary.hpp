// SPDX-License-Identifier: MIT
/// \file
/// Elementary functions of Duals, with their derivatives: exponentials, powers, trigonometry,
/// minima.
///
/// Each rule has the shape (y, f'(x) dx), where f'(x) is computed from the primal alone: a tangent
/// of 1 gives exactly f'(x). The primal is computed by the operations that plain T would use.
#pragma once

#include <cmath>
#include <concepts>
#include <type_traits>

#include <meanflow/scalar/dual.hpp>
#include <meanflow/scalar/pack.hpp>
#include <meanflow/scalar/traits.hpp>

namespace meanflow {

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

}  // namespace meanflow
