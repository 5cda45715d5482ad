// SPDX-License-Identifier: MIT
/// \file
/// What the scalar layer asks of a type: its elements, its root scalar, and how to select and fill.
#pragma once

#include <concepts>
#include <limits>
#include <type_traits>

#include <meanflow/config.hpp>

namespace meanflow {

template <class T>
struct Dual;

/// Says that T may stand where a number stands. A specialisation has one member, `value_type`:
/// the type of T's elements, or T itself for a plain number. Built in are the floating-point
/// types, Dual, and, recognised by their member types, xsimd batches, Eigen::Array and xtensor
/// containers.
template <class T>
struct scalar_traits {};

template <class T>
  requires std::is_arithmetic_v<T>
struct scalar_traits<T> {
  using value_type = T;
};

template <class T>
struct scalar_traits<Dual<T>> {
  using value_type = T;
};

// xsimd::batch
template <class T>
  requires requires {
    typename T::value_type;
    typename T::batch_bool_type;
  }
struct scalar_traits<T> {
  using value_type = typename T::value_type;
};

// Eigen::Array, but not the types of expressions, and not Eigen::Matrix (which has asDiagonal): its
// product is not element by element.
template <class T>
  requires std::same_as<typename T::PlainObject, T> && (!requires(const T& x) { x.asDiagonal(); })
struct scalar_traits<T> {
  using value_type = typename T::Scalar;
};

// xt::xarray and xt::xtensor, but not the types of expressions
template <class T>
  requires std::same_as<typename T::temporary_type, T> && requires { typename T::expression_tag; }
struct scalar_traits<T> {
  using value_type = typename T::value_type;
};

namespace detail {

template <class T>
struct root_scalar_of;

template <class T>
  requires std::is_arithmetic_v<T>
struct root_scalar_of<T> {
  using type = T;
};

template <class T>
  requires(!std::is_arithmetic_v<T>) && (!std::same_as<typename scalar_traits<T>::value_type, T>)
struct root_scalar_of<T> : root_scalar_of<typename scalar_traits<T>::value_type> {};

// A user's own number, such as a half-precision type, is its own root.
template <class T>
  requires(!std::is_arithmetic_v<T>) && std::same_as<typename scalar_traits<T>::value_type, T>
struct root_scalar_of<T> {
  using type = T;
};

template <class T>
inline constexpr bool is_dual_type = false;
template <class T>
inline constexpr bool is_dual_type<Dual<T>> = true;

template <class T>
inline constexpr int dual_depth_of = 0;
template <class T>
inline constexpr int dual_depth_of<Dual<T>> = 1 + dual_depth_of<T>;

}  // namespace detail

/// The number at the bottom of T: float for Dual<Dual<float>>, xsimd::batch<float>,
/// Eigen::ArrayXf and xt::xarray<Dual<float>>. Constants inside formulas have this type.
template <class T>
using root_scalar = typename detail::root_scalar_of<T>::type;

template <class T>
inline constexpr bool is_dual = detail::is_dual_type<std::remove_cv_t<T>>;

/// How many levels of Dual stand around T: 0 for float, 2 for Dual<Dual<float>>.
template <class T>
inline constexpr int dual_depth = detail::dual_depth_of<std::remove_cv_t<T>>;

template <class T>
concept Arithmetic = std::is_arithmetic_v<T>;

/// A type that may stand where a real number stands, because scalar_traits knows it:
/// a floating-point number, a Dual, a SIMD batch, an array of these.
template <class T>
concept Real = requires { typename scalar_traits<T>::value_type; } &&
               requires { typename root_scalar<T>; } && !std::integral<root_scalar<T>>;

/// A Real with one truth value per comparison, so that `if (x < y)` makes sense. (Exactly bool:
/// some masks of SIMD batches convert to it.)
template <class T>
concept BranchableReal = Real<T> && requires(const T& x, const T& y) {
  { x < y } -> std::same_as<bool>;
};

/// Several plain numbers used as one, such as a SIMD batch or an Eigen::ArrayXf.
template <class T>
concept RealPack = Real<T> && !is_dual<T> && !std::same_as<T, root_scalar<T>> &&
                   std::same_as<typename scalar_traits<T>::value_type, root_scalar<T>>;

/// S is a constant next to a Dual<T>: an arithmetic type, T, or what T itself is built from.
template <class S, class T>
concept ConstantOf =
    std::is_arithmetic_v<S> || std::same_as<S, T> || std::same_as<S, root_scalar<T>> ||
    (is_dual<T> &&
     ((dual_depth<T> >= 1 && std::same_as<S, typename scalar_traits<T>::value_type>) ||
      (dual_depth<T> >= 2 &&
       std::same_as<S,
                    typename scalar_traits<typename scalar_traits<T>::value_type>::value_type>)));

namespace detail {

template <class S, class T>
inline constexpr bool loses_precision = false;
template <std::floating_point S, std::floating_point T>
inline constexpr bool loses_precision<S, T> =
    std::numeric_limits<S>::digits > std::numeric_limits<T>::digits;

// An arithmetic constant in the precision of T; anything else unchanged.
template <class T, class S>
MEANFLOW_HOST_DEVICE constexpr decltype(auto) constant(const S& c) {
  if constexpr (std::is_arithmetic_v<S>) {
    return static_cast<root_scalar<T>>(c);
  } else {
    return (c);
  }
}

// The constant c in the type, and for arrays in the shape, of x.
template <class T>
MEANFLOW_HOST_DEVICE constexpr T full_like(const T& x, root_scalar<T> c) {
  if constexpr (is_dual<T>) {
    return T(full_like(x.primal, c), full_like(x.tangent, root_scalar<T>(0)));
  } else if constexpr (requires { T::Constant(x.rows(), x.cols(), c); }) {
    return T::Constant(x.rows(), x.cols(), c);
  } else if constexpr (requires(T y) { y.fill(c); }) {
    T y(x);
    y.fill(c);
    return y;
  } else {
    return static_cast<T>(c);
  }
}

template <class T>
MEANFLOW_HOST_DEVICE constexpr T zero_like(const T& x) {
  return full_like(x, root_scalar<T>(0));
}

// Finds another library's select or where by its argument types alone.
namespace lookup {

void select() = delete;
void where() = delete;

template <class M, class T>
MEANFLOW_HOST_DEVICE T choose(const M& mask, const T& a, const T& b) {
  if constexpr (requires { typename T::expression_tag; }) {
    return where(mask, a, b);
  } else {
    return select(mask, a, b);
  }
}

}  // namespace lookup
}  // namespace detail

/// a where mask holds, else b; both are evaluated. The mask is what a comparison of two T returns.
template <class M, class T>
[[nodiscard]] MEANFLOW_HOST_DEVICE constexpr T select(const M& mask, const T& a, const T& b) {
  if constexpr (std::same_as<M, bool>) {
    return mask ? a : b;
  } else if constexpr (is_dual<T>) {
    return T(meanflow::select(mask, a.primal, b.primal),
             meanflow::select(mask, a.tangent, b.tangent));
  } else if constexpr (requires { mask.select(a, b); }) {
    return mask.select(a, b);
  } else {
    return detail::lookup::choose(mask, a, b);
  }
}

}  // namespace meanflow
