// SPDX-License-Identifier: MIT
/// \file
/// Sums and means within each row of the batch, or along the last axis. Rows never mix: that is the
/// loss's business.
#pragma once

#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/reference.hpp>

namespace meanflow {

namespace detail {

/// y = scale * sums of runs of `length` elements; dy = scale * sums of dx; gx = scale g, repeated.
template <ValueLike X>
[[nodiscard]] X sum_runs(const X& x, std::size_t length, const Shape& shape,
                         typename X::value_type scale) {
  using T = typename X::value_type;
  X y = make_like(x, shape);
  const std::size_t runs = value_size(y) + tangent_size(y);
  sum_rows(typename X::device_type{}, runs, length, scale, static_cast<const T*>(buffer(x)),
           buffer(y));
  return y;
}

template <ValueLike X>
[[nodiscard]] Var<X> sum_runs(const Var<X>& x, std::size_t length, const Shape& shape,
                              typename X::value_type scale) {
  using T = typename X::value_type;
  using Device = typename X::device_type;
  return recorded(
      x.tape(), sum_runs(x.value(), length, shape, scale), !x.constant(),
      [length, scale, input = x.shape(), node = x.node()](auto& tape, Tensor<T, Device> g) {
        auto gx = Tensor<T, Device>::zeros(input);
        add_to_rows(Device{}, g.size(), length, scale, static_cast<const T*>(g.data()), gx.data());
        tape.add_gradient(node, std::move(gx));
      });
}

}  // namespace detail

/// The sum of each row: (B, ...) to (B, 1).
template <Differentiable X>
[[nodiscard]] X sum(const X& x) {
  return detail::sum_runs(x, x.shape().row_size(), {x.shape().rows(), 1}, 1);
}

/// The mean of each row: (B, ...) to (B, 1).
template <Differentiable X>
[[nodiscard]] X mean(const X& x) {
  using T = typename X::value_type;
  const std::size_t n = x.shape().row_size();
  return detail::sum_runs(x, n, {x.shape().rows(), 1}, T(1) / T(n));
}

/// The sum along the last axis, which stays with extent 1: (..., C) to (..., 1).
template <Differentiable X>
[[nodiscard]] X sum_last(const X& x) {
  return detail::sum_runs(x, x.shape().last(), x.shape().with_last(1), 1);
}

/// The mean along the last axis, which stays with extent 1: (..., C) to (..., 1).
template <Differentiable X>
[[nodiscard]] X mean_last(const X& x) {
  using T = typename X::value_type;
  return detail::sum_runs(x, x.shape().last(), x.shape().with_last(1), T(1) / T(x.shape().last()));
}

}  // namespace meanflow
