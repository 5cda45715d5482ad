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
  X y = make_like(x, shape);
  const std::size_t runs = value_size(y) + tangent_size(y);
  sum_rows(typename X::device_type{}, runs, length, scale, buffer(x), buffer(y));
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
        add_to_rows(Device{}, g.size(), length, scale, g.data(), gx.data());
        tape.add_gradient(node, std::move(gx));
      });
}

/// y[b, c] = scale sum_p x[b, p, c]; dy likewise. x (B, ..., C), y (B, C).
template <ValueLike X>
[[nodiscard]] X sum_pixels(const X& x, typename X::value_type scale) {
  using T = typename X::value_type;
  using Device = typename X::device_type;
  const std::size_t columns = x.shape()[x.shape().rank() - 1], row = x.shape().row_size();
  X y = make_like(x, {x.rows(), columns});
  const std::size_t size = value_size(y) + tangent_size(y);
  fill(Device{}, size, T(0), buffer(y));
  for (std::size_t first = 0; first < row; first += columns)
    copy_columns(Device{}, size / columns, columns, buffer(x) + first, row, buffer(y), columns,
                 true);
  affine(Device{}, size, std::size_t{0}, scale, T(0), buffer(y), buffer(y));
  return y;
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

/// The mean over the pixels of each image: (B, H, W, C) to (B, C). Linear, so dy is the mean of dx;
/// backward, every pixel gets its share of the mean's gradient.
template <ValueLike X>
[[nodiscard]] X mean_pixels(const X& x) {
  using T = typename X::value_type;
  const Shape shape = x.shape();
  return detail::sum_pixels(x, T(1) / static_cast<T>(shape[1] * shape[2]));
}

template <ValueLike X>
[[nodiscard]] Var<X> mean_pixels(const Var<X>& x) {
  using T = typename X::value_type;
  using Device = typename X::device_type;
  return detail::recorded(x.tape(), mean_pixels(x.value()), !x.constant(),
                          [shape = x.shape(), node = x.node()](auto& tape, Tensor<T, Device> g) {
                            const std::size_t columns = shape[3], row = shape.row_size();
                            const T share = T(1) / static_cast<T>(shape[1] * shape[2]);
                            if (!g.unique()) g = g.clone();
                            affine(Device{}, g.size(), std::size_t{0}, share, T(0), g.data(),
                                   g.data());
                            Tensor<T, Device> gx(shape);
                            for (std::size_t first = 0; first < row; first += columns)
                              copy_columns(Device{}, g.rows(), columns, g.data(), columns,
                                           gx.data() + first, row, false);
                            tape.add_gradient(node, std::move(gx));
                          });
}

}  // namespace meanflow
