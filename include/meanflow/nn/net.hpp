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

/// A net can be called with values of kind X: `net(z, r, t, condition)` if it names a
/// `condition_type`, else `net(z, r, t)`. z (B, ...), r and t (B, 1); the result has the shape of
/// z.
template <class N, class X>
concept CallableWith = (requires {
                         typename N::condition_type;
                         requires requires(const N& net, const X& z, const X& r, const X& t,
                                           const typename N::condition_type& condition) {
                           { net(z, r, t, condition) } -> std::same_as<X>;
                         };
                       }) ||
                       (
                           !requires { typename N::condition_type; } &&
                           requires(const N& net, const X& z, const X& r, const X& t) {
                             { net(z, r, t) } -> std::same_as<X>;
                           });

/// A model of u(z, r, t), the average velocity on [r, t].
///
/// Syntax:
///  1. `N::value_type` and `N::device_type` name the numbers and where they live;
///  2. `net.parameters()` gives its `Parameters`, a handle to the flat buffer;
///  3. one call operator, a template over the kind of value:
///     `template <class X> X operator()(const X& z, const X& r, const X& t) const`, with a fourth
///     argument `const condition_type&` if the net names a `condition_type` (`Condition`).
/// Optional:
///  - `net.null_condition()`, a `condition_type` of one row that says nothing, for guidance and for
///    `ConditionDropout`; parts that are empty stay as they are given. A net that is told `labels`
///    may give `net.null_class()`, their null value, instead;
///  - `net.heads(...)`, with the arguments of the call operator, for objectives that train more
///    outputs than u.
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
    } && Condition<ConditionOf<N>> &&
    CallableWith<N, Tensor<typename N::value_type, typename N::device_type>> &&
    CallableWith<N, DualTensor<typename N::value_type, typename N::device_type>> &&
    CallableWith<N, Var<Tensor<typename N::value_type, typename N::device_type>>> &&
    CallableWith<N, Var<DualTensor<typename N::value_type, typename N::device_type>>>;

/// The condition of one row that tells the net nothing.
/// Throws SettingError, naming the caller, `who`, if the net has none.
template <class N>
[[nodiscard]] ConditionOf<N> null_condition_of(const N& net, const std::string& who) {
  if constexpr (requires {
                  { net.null_condition() } -> std::convertible_to<ConditionOf<N>>;
                }) {
    return net.null_condition();
  } else if constexpr (requires(ConditionOf<N>& c) {
                         c.labels;
                         { net.null_class() } -> std::convertible_to<std::optional<std::int32_t>>;
                       }) {
    if (const std::optional<std::int32_t> own = net.null_class()) {
      ConditionOf<N> null{};
      null.labels = Tensor<std::int32_t, typename N::device_type>::full({1}, *own);
      return null;
    }
  }
  throw SettingError(who + " needs a null condition, but the net has none");
}

/// u(z, r, t | condition), for nets with and without conditions.
template <class N, Differentiable X>
[[nodiscard]] X evaluate(const N& net, const X& z, const X& r, const X& t,
                         const ConditionOf<N>& condition) {
  if constexpr (requires { net(z, r, t, condition); })
    return net(z, r, t, condition);
  else
    return net(z, r, t);
}

}  // namespace meanflow
