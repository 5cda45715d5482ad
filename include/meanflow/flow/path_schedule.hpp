// SPDX-License-Identifier: MIT
/// \file
/// Paths from data to noise: z_t = alpha(t) x + sigma(t) e, with data at t = 0 and noise at t = 1.
#pragma once

#include <concepts>
#include <numbers>

#include <meanflow/config.hpp>
#include <meanflow/scalar/dual.hpp>
#include <meanflow/scalar/math.hpp>

namespace meanflow {

/// A path states how much data and how much noise there is at time t.
///
/// Syntax: `path.alpha(t)` and `path.sigma(t)`, templates over the kind of number. They are called
/// with plain numbers and with `Dual`, which supplies v = alpha'(t) x + sigma'(t) e; derivatives
/// are not written down. Semantics: alpha(0) = 1, sigma(0) = 0, alpha(1) = 0, sigma(1) = 1;
/// differentiable on [0, 1].
template <class P>
concept PathSchedule =
    std::copy_constructible<P> && requires(const P& path, float number, Dual<float> t) {
      { path.alpha(number) } -> std::convertible_to<float>;
      { path.sigma(number) } -> std::convertible_to<float>;
      { path.alpha(t) } -> std::convertible_to<Dual<float>>;
      { path.sigma(t) } -> std::convertible_to<Dual<float>>;
    };

/// z_t = (1 - t) x + t e, v = e - x: the path of Mean Flows, and the template for your own.
struct LinearPath {
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE T alpha(const T& t) const {
    return 1 - t;
  }
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE T sigma(const T& t) const {
    return t;
  }
};

/// z_t = cos(pi t / 2) x + sin(pi t / 2) e: the variance stays 1 if the data have variance 1.
struct CosinePath {
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE T alpha(const T& t) const {
    return cos(t * (std::numbers::pi_v<root_scalar<T>> / 2));
  }
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE T sigma(const T& t) const {
    return sin(t * (std::numbers::pi_v<root_scalar<T>> / 2));
  }
};

/// z_t = (1 - t^2) x + t^2 e: slow near the data.
struct QuadraticPath {
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE T alpha(const T& t) const {
    return 1 - t * t;
  }
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE T sigma(const T& t) const {
    return t * t;
  }
};

/// A path written by the other convention, noise at t = 0 and data at t = 1, as this library has
/// it.
template <class Path>
struct TimeReversed {
  Path path{};

  static constexpr void fields(auto f, auto&... p) { f("path", p.path...); }

  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE T alpha(const T& t) const {
    return path.alpha(T(1 - t));
  }
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE T sigma(const T& t) const {
    return path.sigma(T(1 - t));
  }
};

/// A path whose alpha multiplies the noise and whose sigma multiplies the data, as this library has
/// it.
template <class Path>
struct EndsSwapped {
  Path path{};

  static constexpr void fields(auto f, auto&... p) { f("path", p.path...); }

  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE T alpha(const T& t) const {
    return path.sigma(t);
  }
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE T sigma(const T& t) const {
    return path.alpha(t);
  }
};

}  // namespace meanflow
