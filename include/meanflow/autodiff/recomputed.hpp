// SPDX-License-Identifier: MIT
/// \file
/// Activation checkpointing: a part of a net that keeps its inputs alone, and is computed again in
/// the backward pass.
#pragma once

#include <array>
#include <tuple>
#include <utility>

#include <meanflow/autodiff/differentiable.hpp>

namespace meanflow {

/// f(x, more...), nothing of whose inside is kept for the backward pass. There f is called again
/// over the values alone, since tangents are never differentiated: a training step costs one
/// evaluation more, without its tangents. f is copied, and must give the same values each time; of
/// a layer, which lives until the backward pass has run, pass `std::cref(layer)`
/// (Chen et al., arXiv 1604.06174).
template <class F, ValueLike X, std::same_as<X>... More>
[[nodiscard]] X recomputed(const F& f, const X& x, const More&... more) {
  return f(x, more...);
}

template <class F, ValueLike X, std::same_as<Var<X>>... More>
[[nodiscard]] Var<X> recomputed(const F& f, const Var<X>& x, const More&... more) {
  using Values = Tensor<typename X::value_type, typename X::device_type>;
  using Tape = typename Var<X>::Tape;
  constexpr std::size_t count = 1 + sizeof...(More);
  const std::array<std::size_t, count> nodes{x.node(), more.node()...};
  const bool differentiated = x.tape().bound() || !(x.constant() && ... && more.constant());
  if (differentiated) x.tape().use_unknown();
  return detail::recorded(
      x.tape(), f(x.value(), more.value()...), differentiated,
      [f, nodes, inputs = std::array<Values, count>{Values(primal(x)), Values(primal(more))...}](
          Tape& tape, Values g) {
        constexpr std::size_t none = Tape::no_node;
        Tape& inner = tape.nested();
        std::array<Var<Values>, count> again;
        for (std::size_t i = 0; i < count; ++i)
          again[i] = nodes[i] == none ? Var<Values>(inner, inputs[i]) : variable(inner, inputs[i]);
        const Var<Values> y = std::apply([&f](const auto&... in) { return f(in...); }, again);
        if (!y.constant()) inner.backward(y.node(), std::move(g));
        for (std::size_t i = 0; i < count; ++i) {
          Values gradient = inner.take_gradient(again[i].node());
          if (!gradient.empty()) tape.add_gradient(nodes[i], std::move(gradient));
        }
        inner.clear();
      });
}

}  // namespace meanflow
