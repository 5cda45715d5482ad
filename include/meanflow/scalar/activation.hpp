// SPDX-License-Identifier: MIT
/// \file
/// Activation functions of neural nets, with their derivatives.
#pragma once

#include <limits>
#include <type_traits>

#include <meanflow/scalar/dual.hpp>
#include <meanflow/scalar/elementary.hpp>
#include <meanflow/scalar/pack.hpp>
#include <meanflow/scalar/piecewise.hpp>
#include <meanflow/scalar/traits.hpp>

namespace meanflow {

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
