// SPDX-License-Identifier: MIT
/// \file
/// The contract of a net.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/error.hpp>
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

/// The label that means "no class": `given`, or else what `net.null_class()` says.
/// Throws SettingError, naming `who` asks, if neither is there.
template <class N>
[[nodiscard]] std::int32_t null_class_of(const N& net, std::optional<std::int32_t> given,
                                         const std::string& who) {
  if (given) return *given;
  if constexpr (requires {
                  { net.null_class() } -> std::convertible_to<std::optional<std::int32_t>>;
                }) {
    if (const std::optional<std::int32_t> own = net.null_class()) return *own;
  }
  throw SettingError(who + " needs a null class, but none was set and the net has none");
}

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
