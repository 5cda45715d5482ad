// SPDX-License-Identifier: MIT
/// \file
/// `jvp`: a function's value and its derivative along a direction, in one pass, for scalars,
/// tensors, Eigen and xtensor (`jvp_eigen.hpp`, `jvp_xtensor.hpp`) and kinds of your own.
#pragma once

#include <concepts>
#include <tuple>
#include <type_traits>
#include <utility>

#include <meanflow/error.hpp>
#include <meanflow/scalar/dual.hpp>
#include <meanflow/scalar/traits.hpp>
#include <meanflow/tensor/dual_tensor.hpp>
#include <meanflow/tensor/shape.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// How values of kind X become dual and back. Specialise it to teach `jvp` another kind.
///
/// For a kind that `jvp` may be given:
///  1. `depth`: how many levels of derivatives X already carries;
///  2. `dual_type`, a kind with one level more, and `join(x, dx)`, which makes one of a value and
///     its tangent and throws ShapeError if they do not fit;
///  3. `zero(x)`: the tangent of a constant x.
/// For a kind that carries derivatives: `split(y)`, a `std::pair` of value and tangent, each with
/// one level less. A kind may be both, as `Dual` is.
template <class X>
struct dual_traits {};

/// Values that `jvp` can differentiate by.
template <class X>
concept DualKind = requires(const X& x) {
  { dual_traits<X>::depth } -> std::convertible_to<int>;
  { dual_traits<X>::join(x, x) } -> std::same_as<typename dual_traits<X>::dual_type>;
  { dual_traits<X>::zero(x) } -> std::same_as<X>;
};

/// The result of `jvp`: f(x) and J(x) dx.
template <class Y>
struct Jvp {
  Y value, tangent;
};

namespace detail {

/// Throws a ShapeError "jvp: tangent shape A does not fit primal shape B".
[[noreturn]] inline void throw_jvp_shape_error(const Shape& tangent, const Shape& primal) {
  throw ShapeError("jvp: tangent shape " + to_string(tangent) + " does not fit primal shape " +
                   to_string(primal));
}

// Plain numbers (a user's own too), Dual and SIMD batches; not the arrays that Real also covers.
template <class X>
concept Number = Real<X> && (std::same_as<typename scalar_traits<X>::value_type, X> || is_dual<X> ||
                             requires { typename X::batch_bool_type; });

}  // namespace detail

template <detail::Number X>
struct dual_traits<X> {
  static constexpr int depth = dual_depth<X>;
  using dual_type = Dual<X>;

  [[nodiscard]] static dual_type join(const X& x, const X& dx) { return {x, dx}; }
  [[nodiscard]] static X zero(const X& x) { return detail::zero_like(x); }
  [[nodiscard]] static auto split(const X& y)
    requires is_dual<X>
  {
    return std::pair(y.primal, y.tangent);
  }
};

/// The tangent may have fewer rows than the value: those of the first rows alone.
template <class T, class Device>
struct dual_traits<Tensor<T, Device>> {
  static constexpr int depth = 0;
  using dual_type = DualTensor<T, Device>;

  [[nodiscard]] static dual_type join(const Tensor<T, Device>& x, const Tensor<T, Device>& dx) {
    if (dx.rows() > x.rows() || !(dx.shape() == x.shape().with_rows(dx.rows())))
      detail::throw_jvp_shape_error(dx.shape(), x.shape());
    return {x, dx};
  }
  [[nodiscard]] static Tensor<T, Device> zero(const Tensor<T, Device>& x) {
    return Tensor<T, Device>::zeros(x.shape());
  }
};

template <class T, class Device>
struct dual_traits<DualTensor<T, Device>> {
  static constexpr int depth = 1;

  [[nodiscard]] static auto split(const DualTensor<T, Device>& y) {
    return std::pair(y.primal(), y.tangent());
  }
};

namespace detail {

/// What holds the numbers of an expression Y.
template <class Y>
struct ComputedType {
  using type = Y;
};
template <class Y>
  requires requires { typename Y::PlainObject; }  // Eigen's
struct ComputedType<Y> {
  using type = typename Y::PlainObject;
};

// Expressions of Eigen and xtensor refer to the arguments of a function: they are computed while
// those are alive.
template <class Y>
[[nodiscard]] auto computed(Y&& y) {
  return typename ComputedType<std::remove_cvref_t<Y>>::type(std::forward<Y>(y));
}

/// x as a constant with `Depth` levels of derivatives.
template <int Depth, class X>
[[nodiscard]] auto raised(const X& x) {
  if constexpr (dual_traits<X>::depth >= Depth)
    return x;
  else
    return raised<Depth>(dual_traits<X>::join(x, dual_traits<X>::zero(x)));
}

/// x and dx as a value with `Depth` + 1 levels of derivatives.
template <int Depth, class X>
[[nodiscard]] auto joined(const X& x, const X& dx) {
  const auto value = raised<Depth>(x);
  return dual_traits<std::remove_const_t<decltype(value)>>::join(value, raised<Depth>(dx));
}

template <class... X>
[[nodiscard]] constexpr int deepest() {
  int max_depth = 0;
  ((max_depth = dual_traits<X>::depth > max_depth ? dual_traits<X>::depth : max_depth), ...);
  return max_depth;
}

template <class F, int Depth, class... X>
concept CallableAt =
    std::invocable<F&, decltype(joined<Depth>(std::declval<X>(), std::declval<X>()))...>;

/// How many levels the arguments carry, and with them what f has captured: that is seen in what f
/// makes of plain arguments. The derivative is taken one level above, so that nested calls never
/// mix their tangents.
template <class F, class... X>
[[nodiscard]] constexpr int level() {
  constexpr int given = deepest<X...>();
  if constexpr (std::invocable<F&, const X&...>) {
    using Y = decltype(computed(std::declval<std::invoke_result_t<F&, const X&...>>()));
    if constexpr (requires { dual_traits<Y>::depth; }) {
      constexpr int captured = dual_traits<Y>::depth;
      // A function of one fixed type of Dual has captured nothing.
      if constexpr (captured > given)
        if constexpr (CallableAt<F, captured, X...>) return captured;
    }
  }
  return given;
}

template <class F, class... X>
[[nodiscard]] auto jvp_of(F& f, const std::tuple<X...>& x, const std::tuple<X...>& dx) {
  constexpr int depth = level<F, X...>();
  auto y = [&]<std::size_t... I>(std::index_sequence<I...>) {
    return [&f](const auto&... arguments) {
      return computed(f(arguments...));
    }(joined<depth>(std::get<I>(x), std::get<I>(dx))...);
  }(std::index_sequence_for<X...>{});
  using Y = decltype(y);
  if constexpr (dual_traits<Y>::depth > depth) {
    auto parts = dual_traits<Y>::split(y);
    return Jvp<typename decltype(parts)::first_type>{std::move(parts.first),
                                                     std::move(parts.second)};
  } else {
    Y zero = dual_traits<Y>::zero(y);
    return Jvp<Y>{std::move(y), std::move(zero)};
  }
}

}  // namespace detail

/// f(x) and its derivative along dx: the Jacobian-vector product, at about twice the cost of f.
///
/// f is a function over any kind of number (a generic lambda, a net): it is called once, with x and
/// dx joined to a `Dual`, a `DualTensor`, a matrix of Duals. Calls nest: the derivative of a
/// derivative is `jvp` of a function that calls `jvp`.
///
/// Throws ShapeError if a tangent does not fit its value.
template <class F, DualKind X>
[[nodiscard]] auto jvp(F&& f, const X& x, const std::type_identity_t<X>& dx) {
  return detail::jvp_of(f, std::tuple<X>(x), std::tuple<X>(dx));
}

/// The same of a function of several arguments, f(x...), along all of them together.
template <class F, DualKind... X>
[[nodiscard]] auto jvp(F&& f, const std::tuple<X...>& x,
                       const std::type_identity_t<std::tuple<X...>>& dx) {
  return detail::jvp_of(f, x, dx);
}

}  // namespace meanflow
