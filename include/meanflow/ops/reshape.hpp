// SPDX-License-Identifier: MIT
/// \file
/// The same numbers under another shape.
#pragma once

#include <utility>

#include <meanflow/autodiff/differentiable.hpp>

namespace meanflow {

/// x seen under another shape of as many elements; with tangents the batch must stay.
/// Nothing is copied. Throws ShapeError if it does not fit.
template <ValueLike X>
[[nodiscard]] X reshape(const X& x, const Shape& shape) {
  return x.reshaped(shape);
}

template <ValueLike X>
[[nodiscard]] Var<X> reshape(const Var<X>& x, const Shape& shape) {
  using Values = Tensor<typename X::value_type, typename X::device_type>;
  return detail::recorded(x.tape(), x.value().reshaped(shape), !x.constant(),
                          [input = x.shape(), node = x.node()](auto& tape, Values g) {
                            tape.add_gradient(node, g.reshaped(input));
                          });
}

}  // namespace meanflow
