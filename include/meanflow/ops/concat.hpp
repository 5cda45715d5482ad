// SPDX-License-Identifier: MIT
/// \file
/// Concatenation and slicing along the last axis (channels).
#pragma once

#include <array>
#include <string>
#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/reference.hpp>

namespace meanflow {

namespace detail {

/// Copies all rows, those of the tangents too, of x's columns into y from column `at` on.
template <ValueLike X>
void copy_into(const X& x, X& y, std::size_t at) {
  const std::size_t columns = x.shape().last(), stride = y.shape().last();
  if (columns == 0) return;
  const std::size_t rows = (value_size(x) + tangent_size(x)) / columns;
  copy_columns(typename X::device_type{}, rows, columns, buffer(x), columns, buffer(y) + at, stride,
               false);
}

/// Columns [first, last) of x's rows, those of the tangents too.
template <ValueLike X>
[[nodiscard]] X copy_out(const X& x, std::size_t first, std::size_t last) {
  X y = make_like(x, x.shape().with_last(last - first));
  const std::size_t columns = last - first, stride = x.shape().last();
  if (columns == 0) return y;
  const std::size_t rows = (value_size(y) + tangent_size(y)) / columns;
  copy_columns(typename X::device_type{}, rows, columns, buffer(x) + first, stride, buffer(y),
               columns, false);
  return y;
}

inline void check_concat(const Shape& first, const Shape& other) {
  if (first.rank() != other.rank() || !(first.with_last(1) == other.with_last(1)))
    throw_shape_error("concat", first, other, "all extents but the last must be equal");
}

}  // namespace detail

/// [x, rest...] along the last axis; the other extents must agree.
/// Tangents are joined likewise; the gradient is split into the parts again.
template <ValueLike X, std::same_as<X>... Rest>
[[nodiscard]] X concat(const X& x, const Rest&... rest) {
  (detail::check_concat(x.shape(), rest.shape()), ...);
  (detail::check_same_tangents("concat", x, rest), ...);
  X y = detail::make_like(x, x.shape().with_last((x.shape().last() + ... + rest.shape().last())));
  std::size_t at = 0;
  const auto place = [&](const X& part) {
    detail::copy_into(part, y, at);
    at += part.shape().last();
  };
  place(x);
  (place(rest), ...);
  return y;
}

template <ValueLike X, std::same_as<Var<X>>... Rest>
[[nodiscard]] Var<X> concat(const Var<X>& x, const Rest&... rest) {
  using Values = Tensor<typename X::value_type, typename X::device_type>;
  struct Part {
    std::size_t node, columns;
  };
  const std::array<Part, 1 + sizeof...(Rest)> parts{Part{x.node(), x.shape().last()},
                                                    Part{rest.node(), rest.shape().last()}...};
  return detail::recorded(x.tape(), concat(x.value(), rest.value()...),
                          !(x.constant() && ... && rest.constant()), [parts](auto& tape, Values g) {
                            std::size_t at = 0;
                            for (const Part& part : parts) {
                              if (part.node != tape.no_node)
                                tape.add_gradient(part.node,
                                                  detail::copy_out(g, at, at + part.columns));
                              at += part.columns;
                            }
                          });
}

/// Columns [first, last) along the last axis. Throws ShapeError if they do not exist.
template <ValueLike X>
[[nodiscard]] X slice_last(const X& x, std::size_t first, std::size_t last) {
  if (first > last || last > x.shape().last())
    throw ShapeError("slice_last: [" + std::to_string(first) + ", " + std::to_string(last) +
                     ") are not within shape " + to_string(x.shape()));
  return detail::copy_out(x, first, last);
}

template <ValueLike X>
[[nodiscard]] Var<X> slice_last(const Var<X>& x, std::size_t first, std::size_t last) {
  using Values = Tensor<typename X::value_type, typename X::device_type>;
  return detail::recorded(x.tape(), slice_last(x.value(), first, last), !x.constant(),
                          [first, shape = x.shape(), node = x.node()](auto& tape, Values g) {
                            auto gx = Values::zeros(shape);
                            detail::copy_into(g, gx, first);
                            tape.add_gradient(node, std::move(gx));
                          });
}

/// `Parts` equal pieces along the last axis. Throws ShapeError if it does not divide.
template <std::size_t Parts, Differentiable X>
[[nodiscard]] std::array<X, Parts> split(const X& x) {
  const std::size_t size = x.shape().last() / Parts;
  if (size * Parts != x.shape().last())
    throw ShapeError("split: the last extent of shape " + to_string(x.shape()) +
                     " is not divisible by " + std::to_string(Parts));
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    return std::array<X, Parts>{slice_last(x, I * size, (I + 1) * size)...};
  }(std::make_index_sequence<Parts>{});
}

}  // namespace meanflow
