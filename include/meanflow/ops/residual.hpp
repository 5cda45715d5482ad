// SPDX-License-Identifier: MIT
/// \file
/// Where a branch of a net joins the others.
#pragma once

#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/residual.hpp>

namespace meanflow {

/// z = (x + y) scale, or with a bias (C) of the last axis z = (x + bias + y) scale, in one pass:
/// where a branch x of a net joins the others. x, y (..., C).
///   tangent   dz = (dx + dy) scale
///   backward  gx = gy = g scale, gbias the sum of those over all but the last axis
/// Throws ShapeError if the shapes differ or the bias does not fit.
template <ValueLike X, class T = typename X::value_type, class Device = typename X::device_type>
[[nodiscard]] X scaled_sum(const X& x, const X& y, double scale,
                           const Parameter<T, Device>& bias = {}) {
  if (!(x.shape() == y.shape()))
    throw_shape_error("scaled_sum", x.shape(), y.shape(), "the shapes must be equal");
  if (!bias.empty() && bias.size() != x.shape().last())
    throw_shape_error("scaled_sum", bias.shape(), x.shape(), "one bias for each channel");
  detail::check_same_tangents("scaled_sum", x, y);
  X z = detail::make_like(x, x.shape());
  const std::size_t columns = x.shape().last(), values = detail::value_size(x);
  if (values == 0) return z;
  scaled_sum(Device{}, (values + detail::tangent_size(x)) / columns, values / columns, columns,
             static_cast<T>(scale), detail::buffer(x), bias.empty() ? nullptr : bias.data(),
             detail::buffer(y), detail::buffer(z));
  return z;
}

template <ValueLike X, class T = typename X::value_type, class Device = typename X::device_type>
[[nodiscard]] Var<X> scaled_sum(const Var<X>& x, const Var<X>& y, double scale,
                                const Parameter<T, Device>& bias = {}) {
  T* const bias_gradient = x.tape().gradient_of(bias);
  return detail::recorded(x.tape(), scaled_sum(x.value(), y.value(), scale, bias),
                          !x.constant() || !y.constant() || bias_gradient,
                          [factor = static_cast<T>(scale), bias_gradient, nx = x.node(),
                           ny = y.node()](auto& tape, Tensor<T, Device> g) {
                            const std::size_t columns = g.shape().last(), rows = g.size() / columns;
                            if (factor != T(1)) {
                              Tensor<T, Device> scaled(g.shape());
                              scaled_sum_backward(Device{}, rows, columns, factor, g.data(),
                                                  scaled.data(), bias_gradient);
                              g = std::move(scaled);
                            } else if (bias_gradient) {
                              bias_unary_backward(Device{}, rows, columns, nullptr, g.data(),
                                                  bias_gradient);
                            }
                            tape.add_gradient(nx, g);
                            tape.add_gradient(ny, std::move(g));
                          });
}

}  // namespace meanflow
