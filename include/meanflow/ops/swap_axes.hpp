// SPDX-License-Identifier: MIT
/// \file
/// Two axes change places; images to patches and back.
#pragma once

#include <string>
#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/layout.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/ops/reshape.hpp>

namespace meanflow {

namespace detail {

/// What is moved when axes `first` < `second` of the rows change places, tangents too.
[[nodiscard]] inline kernels::AxisSwap axis_swap(const Shape& shape, std::size_t rows,
                                                 std::size_t first, std::size_t second) {
  if (first == 0 || first >= second || second >= shape.rank())
    throw ShapeError("swap_axes: axes " + std::to_string(first) + " and " + std::to_string(second) +
                     " of shape " + to_string(shape) +
                     ", but they must be in order and not the batch");
  const auto extent = [&](std::size_t from, std::size_t to) {
    std::size_t product = 1;
    for (std::size_t axis = from; axis < to; ++axis) product *= shape[axis];
    return product;
  };
  return {rows * extent(1, first), shape[first], extent(first + 1, second), shape[second],
          extent(second + 1, shape.rank())};
}

[[nodiscard]] inline Shape swapped(Shape shape, std::size_t first, std::size_t second) {
  std::swap(shape[first], shape[second]);
  return shape;
}

}  // namespace detail

/// x with its axes `first` < `second` swapped, for example (B, heads, tokens, C) to (B, tokens,
/// heads, C). Tangents and gradients move alike. Throws ShapeError if there are no such axes.
template <ValueLike X>
[[nodiscard]] X swap_axes(const X& x, std::size_t first, std::size_t second) {
  const Shape shape = x.shape();
  const auto swap = detail::axis_swap(shape, shape.rows() + detail::tangent_rows(x), first, second);
  X y = detail::make_like(x, detail::swapped(shape, first, second));
  swap_axes(typename X::device_type{}, swap, detail::buffer(x), detail::buffer(y));
  return y;
}

template <ValueLike X>
[[nodiscard]] Var<X> swap_axes(const Var<X>& x, std::size_t first, std::size_t second) {
  using Values = Tensor<typename X::value_type, typename X::device_type>;
  return detail::recorded(x.tape(), swap_axes(x.value(), first, second), !x.constant(),
                          [first, second, node = x.node()](auto& tape, const Values& g) {
                            tape.add_gradient(node, swap_axes(g, first, second));
                          });
}

/// Patches of images: x (B, H, W, C) to (B, H / patch, W / patch, patch patch C), whose last axis
/// holds the (row, column, channel) of a patch. Throws ShapeError if the patches do not fit.
template <Differentiable X>
[[nodiscard]] X patchify(const X& x, std::size_t patch) {
  const Shape s = x.shape();
  if (s.rank() != 4 || patch == 0 || s[1] % patch != 0 || s[2] % patch != 0)
    throw ShapeError("patchify: shape " + to_string(s) + " is not (B, H, W, C) of whole " +
                     std::to_string(patch) + " x " + std::to_string(patch) + " patches");
  const std::size_t rows = s[1] / patch, columns = s[2] / patch;
  const X grid = reshape(x, {s[0], rows, patch, columns, patch * s[3]});
  return reshape(swap_axes(grid, 2, 3), {s[0], rows, columns, patch * patch * s[3]});
}

/// Images from patches: x (B, rows columns, patch patch C), whose last axis holds the (row, column,
/// channel) of a patch, to (B, rows patch, columns patch, C). Throws ShapeError if it does not fit.
template <Differentiable X>
[[nodiscard]] X unpatchify(const X& x, std::size_t rows, std::size_t columns, std::size_t patch) {
  const Shape s = x.shape();
  if (s.rank() != 3 || s[1] != rows * columns || patch == 0 || s[2] % (patch * patch) != 0)
    throw ShapeError("unpatchify: shape " + to_string(s) + " is not (B, " +
                     std::to_string(rows * columns) + ", channels) of " + std::to_string(patch) +
                     " x " + std::to_string(patch) + " patches");
  const std::size_t channels = s[2] / (patch * patch);
  const X grid = reshape(x, {s[0], rows, columns, patch, patch * channels});
  return reshape(swap_axes(grid, 2, 3), {s[0], rows * patch, columns * patch, channels});
}

/// The inverse of `patchify`: x (B, rows, columns, patch patch C) to (B, rows patch, columns patch,
/// C).
template <Differentiable X>
[[nodiscard]] X unpatchify(const X& x, std::size_t patch) {
  const Shape s = x.shape();
  if (s.rank() != 4)
    throw ShapeError("unpatchify: shape " + to_string(s) + " is not (B, rows, columns, channels)");
  return unpatchify(reshape(x, {s[0], s[1] * s[2], s[3]}), s[1], s[2], patch);
}

}  // namespace meanflow
