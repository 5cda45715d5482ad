// SPDX-License-Identifier: MIT
/// \file
/// The standard functions of plain numbers, SIMD batches and arrays, under one name each.
#pragma once

#include <cmath>
#include <concepts>
#include <cstdlib>

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

}  // namespace meanflow
