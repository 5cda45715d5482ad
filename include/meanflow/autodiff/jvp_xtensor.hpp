// SPDX-License-Identifier: MIT
/// \file
/// `jvp` of functions of xt::xarray and xt::xtensor: the function sees arrays of Dual.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <utility>

#include <meanflow/autodiff/jvp.hpp>
#include <meanflow/scalar/dual_xtensor.hpp>
#include <meanflow/tensor/xtensor_headers.hpp>

namespace meanflow {

namespace detail {

template <class Y, class X, class F>
[[nodiscard]] Y map_xtensor(const X& x, F f) {
  Y y = Y::from_shape(x.shape());
  std::transform(x.storage().begin(), x.storage().end(), y.storage().begin(), f);
  return y;
}

template <class Array, class DualArray>
struct xtensor_dual_traits {
  using Scalar = typename Array::value_type;
  static constexpr int depth = dual_depth<Scalar>;
  using dual_type = DualArray;

  [[nodiscard]] static dual_type join(const Array& x, const Array& dx) {
    if (!std::equal(x.shape().begin(), x.shape().end(), dx.shape().begin(), dx.shape().end()))
      throw_jvp_shape_error(shape(dx), shape(x));
    dual_type result = dual_type::from_shape(x.shape());
    std::transform(x.storage().begin(), x.storage().end(), dx.storage().begin(),
                   result.storage().begin(),
                   [](const Scalar& a, const Scalar& da) { return Dual<Scalar>(a, da); });
    return result;
  }
  [[nodiscard]] static Array zero(const Array& x) {
    return map_xtensor<Array>(x, [](const Scalar&) { return Scalar(0); });
  }

 private:
  static Shape shape(const Array& x) {
    Shape result;
    for (const std::size_t extent : x.shape()) result.push_back(extent);
    return result;
  }
};

/// Not xt::eval: with C++20, version 0.24 takes the shapes of xt::xarray for ones of fixed rank.
template <class E, class Shape>
struct ComputedXtensor {
  using type = xt::xarray<typename E::value_type>;
};
template <class E, class Index, std::size_t N>
struct ComputedXtensor<E, std::array<Index, N>> {
  using type = xt::xtensor<typename E::value_type, N>;
};
template <class E>
  requires std::same_as<typename E::expression_tag, xt::xtensor_expression_tag> &&
           (!std::derived_from<E, xt::xcontainer<E>>)
struct ComputedType<E> : ComputedXtensor<E, typename E::shape_type> {};

template <class Plain, class Array>
[[nodiscard]] std::pair<Plain, Plain> split_xtensor(const Array& y) {
  return {map_xtensor<Plain>(y, [](const auto& a) { return a.primal; }),
          map_xtensor<Plain>(y, [](const auto& a) { return a.tangent; })};
}

}  // namespace detail

template <class S, xt::layout_type L>
struct dual_traits<xt::xarray<S, L>>
    : detail::xtensor_dual_traits<xt::xarray<S, L>, xt::xarray<Dual<S>, L>> {
  [[nodiscard]] static auto split(const xt::xarray<S, L>& y)
    requires is_dual<S>
  {
    return detail::split_xtensor<xt::xarray<typename scalar_traits<S>::value_type, L>>(y);
  }
};

template <class S, std::size_t N, xt::layout_type L>
struct dual_traits<xt::xtensor<S, N, L>>
    : detail::xtensor_dual_traits<xt::xtensor<S, N, L>, xt::xtensor<Dual<S>, N, L>> {
  [[nodiscard]] static auto split(const xt::xtensor<S, N, L>& y)
    requires is_dual<S>
  {
    return detail::split_xtensor<xt::xtensor<typename scalar_traits<S>::value_type, N, L>>(y);
  }
};

}  // namespace meanflow
