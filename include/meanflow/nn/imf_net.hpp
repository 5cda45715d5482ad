// SPDX-License-Identifier: MIT
/// \file
/// The contract of a net with two heads, as improved Mean Flows train it.
#pragma once

#include <concepts>
#include <type_traits>

#include <meanflow/nn/condition.hpp>
#include <meanflow/nn/net.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Both outputs of a net with two heads.
template <class U, class V>
struct ImfHeads {
  U u;  ///< average velocity on [r, t]
  V v;  ///< velocity, without tangents: nobody needs dv/dt
};

/// A net with two heads that is told guidance: `net.heads(z, r, t, condition)` gives `u` and `v`,
/// `net.velocity(z, t, condition)` v alone at r = t. `ImfTransformer` is one.
template <class N>
concept ImfNet =
    Net<N> && TellsGuidance<ConditionOf<N>> &&
    requires(const N& net, const Tensor<typename N::value_type, typename N::device_type>& x,
             const ConditionOf<N>& c) {
      { net.velocity(x, x, c) } -> std::same_as<std::remove_cvref_t<decltype(x)>>;
      net.heads(x, x, x, c).u;
      net.heads(x, x, x, c).v;
    };

}  // namespace meanflow
