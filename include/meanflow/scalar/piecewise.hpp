// SPDX-License-Identifier: MIT
/// \file
/// Functions of Duals with kinks and jumps: absolute value, rounding, minimum and maximum.
#pragma once

#include <cmath>
#include <concepts>
#include <type_traits>

#include <meanflow/scalar/dual.hpp>
#include <meanflow/scalar/elementary.hpp>
#include <meanflow/scalar/pack.hpp>
#include <meanflow/scalar/traits.hpp>

namespace meanflow {

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

}  // namespace meanflow
