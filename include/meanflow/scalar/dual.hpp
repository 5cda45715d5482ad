// SPDX-License-Identifier: MIT
/// \file
/// Dual<T>: a value and its directional derivative, computed together (forward mode).
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <iosfwd>
#include <limits>
#include <type_traits>

#include <meanflow/scalar/traits.hpp>

namespace meanflow {

namespace detail {

template <class U, class T>
concept ConvertibleToPrimal =
    (dual_depth<U> <= dual_depth<T>)&&(std::convertible_to<U, T> || std::constructible_from<T, U>);

}  // namespace detail

/// The pair (x, dx) of a value and its derivative along one direction.
///
/// T is a number, a SIMD batch such as xsimd::batch<float>, another Dual, or an array such as
/// Eigen::ArrayXf. The pair is trivial and stored as two T. Arithmetic evaluates at once
/// and returns a Dual; its primal is computed by the very operations that plain T would use.
///
/// - `Dual<T> x;` is uninitialised, `Dual<T>{}` is zero.
/// - A constant c converts to (c, 0); there is no conversion back, use `.primal`.
/// - Comparisons look at the primal alone and return what T returns.
template <class T>
struct Dual {
  using value_type = T;

  T primal, tangent;

  Dual() = default;

  /// A constant: its tangent is zero.
  template <detail::ConvertibleToPrimal<T> U>
  MEANFLOW_HOST_DEVICE constexpr explicit(!std::convertible_to<U, T> ||
                                          detail::loses_precision<U, root_scalar<T>>)
      Dual(const U& c)
      : primal(static_cast<T>(c)), tangent(detail::zero_like(primal)) {}

  MEANFLOW_HOST_DEVICE constexpr Dual(const T& x, const T& dx) : primal(x), tangent(dx) {}

  /// The same value and derivative in another precision.
  template <class U>
    requires(!std::same_as<U, T>) &&
                (dual_depth<U> == dual_depth<T>) && std::constructible_from<T, U>
  MEANFLOW_HOST_DEVICE constexpr explicit Dual(const Dual<U>& x)
      : primal(static_cast<T>(x.primal)), tangent(static_cast<T>(x.tangent)) {}

  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr Dual operator+(const Dual& a) { return a; }

  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr Dual operator-(const Dual& a) {
    return Dual(-a.primal, -a.tangent);
  }

  // d(a + b) = da + db
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr Dual operator+(const Dual& a, const Dual& b) {
    return Dual(a.primal + b.primal, a.tangent + b.tangent);
  }

  // d(a - b) = da - db
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr Dual operator-(const Dual& a, const Dual& b) {
    return Dual(a.primal - b.primal, a.tangent - b.tangent);
  }

  // d(a b) = da b + a db
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr Dual operator*(const Dual& a, const Dual& b) {
    return Dual(a.primal * b.primal, a.tangent * b.primal + a.primal * b.tangent);
  }

  // q = a / b, dq = (da - q db) / b
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr Dual operator/(const Dual& a, const Dual& b) {
    const T q = a.primal / b.primal;
    return Dual(q, (a.tangent - q * b.tangent) / b.primal);
  }

  // Constants have operators of their own: a promoted constant would add x * 0 to the tangent,
  // which is NaN where x is infinite.
  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr Dual operator+(const Dual& a, const S& c) {
    return Dual(a.primal + detail::constant<T>(c), a.tangent);
  }

  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr Dual operator+(const S& c, const Dual& a) {
    return Dual(detail::constant<T>(c) + a.primal, a.tangent);
  }

  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr Dual operator-(const Dual& a, const S& c) {
    return Dual(a.primal - detail::constant<T>(c), a.tangent);
  }

  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr Dual operator-(const S& c, const Dual& a) {
    return Dual(detail::constant<T>(c) - a.primal, -a.tangent);
  }

  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr Dual operator*(const Dual& a, const S& c) {
    return Dual(a.primal * detail::constant<T>(c), a.tangent * detail::constant<T>(c));
  }

  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr Dual operator*(const S& c, const Dual& a) {
    return Dual(detail::constant<T>(c) * a.primal, detail::constant<T>(c) * a.tangent);
  }

  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr Dual operator/(const Dual& a, const S& c) {
    return Dual(a.primal / detail::constant<T>(c), a.tangent / detail::constant<T>(c));
  }

  // q = c / a, dq = (-q / a) da
  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr Dual operator/(const S& c, const Dual& a) {
    const T q = detail::constant<T>(c) / a.primal;
    const T dq = -q / a.primal;
    return Dual(q, dq * a.tangent);
  }

  MEANFLOW_HOST_DEVICE constexpr Dual& operator+=(const Dual& b) { return *this = *this + b; }
  MEANFLOW_HOST_DEVICE constexpr Dual& operator-=(const Dual& b) { return *this = *this - b; }
  MEANFLOW_HOST_DEVICE constexpr Dual& operator*=(const Dual& b) { return *this = *this * b; }
  MEANFLOW_HOST_DEVICE constexpr Dual& operator/=(const Dual& b) { return *this = *this / b; }

  template <ConstantOf<T> S>
  MEANFLOW_HOST_DEVICE constexpr Dual& operator+=(const S& c) {
    return *this = *this + c;
  }
  template <ConstantOf<T> S>
  MEANFLOW_HOST_DEVICE constexpr Dual& operator-=(const S& c) {
    return *this = *this - c;
  }
  template <ConstantOf<T> S>
  MEANFLOW_HOST_DEVICE constexpr Dual& operator*=(const S& c) {
    return *this = *this * c;
  }
  template <ConstantOf<T> S>
  MEANFLOW_HOST_DEVICE constexpr Dual& operator/=(const S& c) {
    return *this = *this / c;
  }

  // All six are written out: C++20 derives no operator from one that does not return bool.
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator==(const Dual& a,
                                                                      const Dual& b) {
    return a.primal == b.primal;
  }
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator!=(const Dual& a,
                                                                      const Dual& b) {
    return a.primal != b.primal;
  }
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator<(const Dual& a, const Dual& b) {
    return a.primal < b.primal;
  }
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator<=(const Dual& a,
                                                                      const Dual& b) {
    return a.primal <= b.primal;
  }
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator>(const Dual& a, const Dual& b) {
    return a.primal > b.primal;
  }
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator>=(const Dual& a,
                                                                      const Dual& b) {
    return a.primal >= b.primal;
  }

  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator==(const Dual& a, const S& c) {
    return a.primal == detail::constant<T>(c);
  }
  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator!=(const Dual& a, const S& c) {
    return a.primal != detail::constant<T>(c);
  }
  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator<(const Dual& a, const S& c) {
    return a.primal < detail::constant<T>(c);
  }
  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator<=(const Dual& a, const S& c) {
    return a.primal <= detail::constant<T>(c);
  }
  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator>(const Dual& a, const S& c) {
    return a.primal > detail::constant<T>(c);
  }
  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator>=(const Dual& a, const S& c) {
    return a.primal >= detail::constant<T>(c);
  }
  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator==(const S& c, const Dual& a) {
    return a.primal == detail::constant<T>(c);
  }
  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator!=(const S& c, const Dual& a) {
    return a.primal != detail::constant<T>(c);
  }
  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator<(const S& c, const Dual& a) {
    return a.primal > detail::constant<T>(c);
  }
  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator<=(const S& c, const Dual& a) {
    return a.primal >= detail::constant<T>(c);
  }
  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator>(const S& c, const Dual& a) {
    return a.primal < detail::constant<T>(c);
  }
  template <ConstantOf<T> S>
  [[nodiscard]] MEANFLOW_HOST_DEVICE friend constexpr auto operator>=(const S& c, const Dual& a) {
    return a.primal <= detail::constant<T>(c);
  }

  /// Writes `{primal, tangent}`.
  template <class Char, class Traits>
  friend std::basic_ostream<Char, Traits>& operator<<(std::basic_ostream<Char, Traits>& os,
                                                      const Dual& x) {
    return os << '{' << x.primal << ',' << ' ' << x.tangent << '}';
  }
};

static_assert(std::is_trivial_v<Dual<float>> && std::is_standard_layout_v<Dual<float>>);
static_assert(sizeof(Dual<float>) == 2 * sizeof(float) && alignof(Dual<float>) == alignof(float));
static_assert(std::is_trivial_v<Dual<Dual<double>>> && sizeof(Dual<Dual<double>>) == 32);

/// The value without the derivative; a plain number is its own value.
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T primal(const T& x) {
  return x;
}
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T primal(const Dual<T>& x) {
  return x.primal;
}

/// The derivative; that of a plain number is zero.
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T tangent(const T& x) {
  return detail::zero_like(x);
}
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T tangent(const Dual<T>& x) {
  return x.tangent;
}

/// The same value as a constant: the derivatives of every level are zero.
template <class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T stop_gradient(const T& x) {
  if constexpr (is_dual<T>) {
    return T(stop_gradient(x.primal), detail::zero_like(x.tangent));
  } else {
    return x;
  }
}

/// Equal bit for bit in value and derivative, for tests; NaN is the same as NaN, 0 is not -0.
template <Real T>
[[nodiscard]] bool same(const T& x, const T& y) {
  if constexpr (is_dual<T>) {
    return same(x.primal, y.primal) && same(x.tangent, y.tangent);
  } else if constexpr (requires { x.get(std::size_t{}); }) {
    for (std::size_t i = 0; i < T::size; ++i) {
      if (!same(x.get(i), y.get(i))) return false;
    }
    return true;
  } else if constexpr (requires { x.data(); }) {
    if (x.size() != y.size()) return false;
    for (std::size_t i = 0; i < static_cast<std::size_t>(x.size()); ++i) {
      if (!same(x.data()[i], y.data()[i])) return false;
    }
    return true;
  } else {
    return (x == y && std::signbit(x) == std::signbit(y)) || (x != x && y != y);
  }
}

/// No infinity and no NaN in any part; isfinite looks at the primal alone.
template <Real T>
[[nodiscard]] MEANFLOW_HOST_DEVICE bool all_finite(const T& x) {
  if constexpr (is_dual<T>) {
    return all_finite(x.primal) && all_finite(x.tangent);
  } else if constexpr (requires { x.data(); }) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(x.size()); ++i) {
      if (!all_finite(x.data()[i])) return false;
    }
    return true;
  } else if constexpr (RealPack<T>) {
    return all(isfinite(x));
  } else {
    using std::isfinite;
    return isfinite(x);
  }
}

}  // namespace meanflow

/// Everything that T's limits say, with the values as constants of type Dual<T>.
template <class T>
struct std::numeric_limits<meanflow::Dual<T>> : std::numeric_limits<T> {
  using D = meanflow::Dual<T>;
  static constexpr D min() noexcept { return D(std::numeric_limits<T>::min()); }
  static constexpr D max() noexcept { return D(std::numeric_limits<T>::max()); }
  static constexpr D lowest() noexcept { return D(std::numeric_limits<T>::lowest()); }
  static constexpr D epsilon() noexcept { return D(std::numeric_limits<T>::epsilon()); }
  static constexpr D round_error() noexcept { return D(std::numeric_limits<T>::round_error()); }
  static constexpr D infinity() noexcept { return D(std::numeric_limits<T>::infinity()); }
  static constexpr D quiet_NaN() noexcept { return D(std::numeric_limits<T>::quiet_NaN()); }
  static constexpr D signaling_NaN() noexcept { return D(std::numeric_limits<T>::signaling_NaN()); }
  static constexpr D denorm_min() noexcept { return D(std::numeric_limits<T>::denorm_min()); }
};
