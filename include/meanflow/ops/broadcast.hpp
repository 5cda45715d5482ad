// SPDX-License-Identifier: MIT
/// \file
/// Parameters and given numbers as values of a batch.
#pragma once

#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/reference.hpp>

namespace meanflow {

/// y[b] = p for every row b of `like`: p (C), y (B, C). A parameter has no tangent, so dy = 0; its
/// gradient is the sum of g over rows.
template <ValueLike X, class T, class Device>
[[nodiscard]] X broadcast_rows(const Parameter<T, Device>& parameter, const X& like) {
  const std::size_t columns = parameter.size();
  X y = detail::make_like(like, {like.rows(), columns});
  const std::size_t same_row = 0;
  copy_columns(Device{}, like.rows(), columns, parameter.data(), same_row, detail::buffer(y),
               columns, false);
  fill(Device{}, detail::tangent_size(y), T(0), detail::buffer(y) + detail::value_size(y));
  return y;
}

template <ValueLike X, class T, class Device>
[[nodiscard]] Var<X> broadcast_rows(const Parameter<T, Device>& parameter, const Var<X>& like) {
  T* gradient = like.tape().gradient_of(parameter);
  return detail::recorded(like.tape(), broadcast_rows(parameter, like.value()), gradient != nullptr,
                          [gradient](auto&, Tensor<T, Device> g) {
                            bias_unary_backward(Device{}, g.rows(), g.row_size(), nullptr, g.data(),
                                                gradient);
                          });
}

/// y = x + p for every row of the values, x (..., C), p (C): a bias. dy = dx, gx = g, and the
/// gradient of p is the sum of g over all rows. Throws ShapeError if it does not fit.
template <ValueLike X, class T, class Device>
[[nodiscard]] X add_bias(const X& x, const Parameter<T, Device>& bias) {
  const std::size_t columns = x.shape().last();
  if (bias.size() != columns)
    throw_shape_error("add_bias", bias.shape(), x.shape(), "one bias for each channel");
  X y = detail::make_like(x, x.shape());
  const std::size_t values = detail::value_size(x), all = values + detail::tangent_size(x);
  const T* const in = detail::buffer(x);
  add_to_each_row(Device{}, values / columns, columns, bias.data(), in, detail::buffer(y));
  copy(Device{}, all - values, in + values, detail::buffer(y) + values);
  return y;
}

template <ValueLike X, class T, class Device>
[[nodiscard]] Var<X> add_bias(const Var<X>& x, const Parameter<T, Device>& bias) {
  T* const gradient = x.tape().gradient_of(bias);
  return detail::recorded(x.tape(), add_bias(x.value(), bias), !x.constant() || gradient,
                          [gradient, node = x.node()](auto& tape, Tensor<T, Device> g) {
                            const std::size_t columns = g.shape().last();
                            if (gradient)
                              bias_unary_backward(Device{}, g.size() / columns, columns, nullptr,
                                                  g.data(), gradient);
                            tape.add_gradient(node, std::move(g));
                          });
}

/// y[b] = x[b] + table for every row b: x (B, ...), table (...) as large as a row of x. The table
/// is a constant: dy = dx, gx = g. Throws ShapeError if it does not fit.
template <class T, class Device, ValueLike X>
[[nodiscard]] X add_table(const X& x, const Tensor<T, Device>& table) {
  if (table.size() != x.shape().row_size())
    throw_shape_error("add_table", table.shape(), x.shape(), "the table must be as large as a row");
  X y = detail::make_like(x, x.shape());
  const std::size_t values = detail::value_size(x);
  add_to_each_row(Device{}, x.rows(), table.size(), table.data(), detail::buffer(x),
                  detail::buffer(y));
  copy(Device{}, detail::tangent_size(x), detail::buffer(x) + values, detail::buffer(y) + values);
  return y;
}

template <class T, class Device, ValueLike X>
[[nodiscard]] Var<X> add_table(const Var<X>& x, const Tensor<T, Device>& table) {
  return detail::recorded(x.tape(), add_table(x.value(), table), !x.constant(),
                          [node = x.node()](auto& tape, Tensor<T, Device> g) {
                            tape.add_gradient(node, std::move(g));
                          });
}

/// Given numbers, as a constant of the kind of `like`: no tangent, no gradient.
/// values (B, ...), B the rows of `like`.
template <class T, class Device>
[[nodiscard]] Tensor<T, Device> constant_like(const Tensor<T, Device>&,
                                              const Tensor<T, Device>& values) {
  return values;
}

template <class T, class Device>
[[nodiscard]] DualTensor<T, Device> constant_like(const DualTensor<T, Device>& like,
                                                  const Tensor<T, Device>& values) {
  DualTensor<T, Device> y(values.shape(), like.tangent_rows());
  copy(Device{}, values.size(), values.data(), y.buffer().data());
  fill(Device{}, y.tangent().size(), T(0), y.tangent().data());
  return y;
}

template <ValueLike X>
[[nodiscard]] Var<X> constant_like(
    const Var<X>& like, const Tensor<typename X::value_type, typename X::device_type>& values) {
  return {like.tape(), constant_like(like.value(), values)};
}

}  // namespace meanflow
