// SPDX-License-Identifier: MIT
/// \file
/// The contract of a net.
#pragma once

#include <concepts>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/nn/condition.hpp>

namespace meanflow {

/// A net can be called with values of kind X: `net(z, r, t, condition)`, or `net(z, r, t)` if it
/// takes no conditions. z (B, ...), r and t (B, 1); the result has the shape of z.
template <class N, class X>
concept CallableWith =
    requires(const N& net, const X& z, const X& r, const X& t,
             const Condition<typename N::value_type, typename N::device_type>& condition) {
      { net(z, r, t, condition) } -> std::same_as<X>;
    } ||
    requires(const N& net, const X& z, const X& r, const X& t) {
      { net(z, r, t) } -> std::same_as<X>;
    };

/// A model of u(z, r, t), the average velocity on [r, t].
///
/// Syntax:
///  1. `N::value_type` and `N::device_type` name the numbers and where they live;
///  2. `net.parameters()` gives its `Parameters`, a handle to the flat buffer;
///  3. one call operator, a template over the kind of value:
///     `template <class X> X operator()(const X& z, const X& r, const X& t) const`, with a fourth
///     argument `const Condition<T, Device>&` if the net takes conditions.
///
/// Semantics: a row of the result depends on the same row of the arguments alone, so that a batch
/// may be cut into pieces; calling it has no side effects. Not required: copying, a base class, or
/// knowing what is differentiated.
template <class N>
concept Net =
    requires(N& net) {
      typename N::value_type;
      typename N::device_type;
      {
        net.parameters()
      } -> std::convertible_to<Parameters<typename N::value_type, typename N::device_type>>;
    } && CallableWith<N, Tensor<typename N::value_type, typename N::device_type>> &&
    CallableWith<N, DualTensor<typename N::value_type, typename N::device_type>> &&
    CallableWith<N, Var<Tensor<typename N::value_type, typename N::device_type>>> &&
    CallableWith<N, Var<DualTensor<typename N::value_type, typename N::device_type>>>;

/// u(z, r, t | condition), for nets with and without conditions.
template <class N, Differentiable X>
[[nodiscard]] X evaluate(
    const N& net, const X& z, const X& r, const X& t,
    const Condition<typename N::value_type, typename N::device_type>& condition) {
  if constexpr (requires { net(z, r, t, condition); })
    return net(z, r, t, condition);
  else
    return net(z, r, t);
}

}  // namespace meanflow
