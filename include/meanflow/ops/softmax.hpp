// SPDX-License-Identifier: MIT
/// \file
/// Softmax along the last axis.
#pragma once

#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/reference.hpp>

namespace meanflow {

/// y = exp(x - max x) / sum, along the last axis.
///   tangent   dy = y (dx - <y, dx>)
///   backward  gx = y (g - <y, g>)
template <ValueLike X>
[[nodiscard]] X softmax(const X& x) {
  using T = typename X::value_type;
  using Device = typename X::device_type;
  const std::size_t columns = x.shape().last();
  X y = detail::make_like(x, x.shape());
  if (columns == 0) return y;
  const T* in = detail::buffer(x);
  T* out = detail::buffer(y);
  const std::size_t values = detail::value_size(x), tangents = detail::tangent_size(x);
  softmax(Device{}, values / columns, columns, in, out);
  softmax_jacobian(Device{}, tangents / columns, columns, out, in + values, out + values);
  return y;
}

template <ValueLike X>
[[nodiscard]] Var<X> softmax(const Var<X>& x) {
  using T = typename X::value_type;
  using Device = typename X::device_type;
  X value = softmax(x.value());
  Tensor<T, Device> y = primal(value);
  return detail::recorded(x.tape(), std::move(value), !x.constant(),
                          [y, node = x.node()](auto& tape, Tensor<T, Device> g) {
                            Tensor<T, Device> gx(y.shape());
                            const std::size_t columns = y.shape().last();
                            if (columns > 0)
                              softmax_jacobian(Device{}, y.size() / columns, columns, y.data(),
                                               g.data(), gx.data());
                            tape.add_gradient(node, std::move(gx));
                          });
}

}  // namespace meanflow
