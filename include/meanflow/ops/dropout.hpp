// SPDX-License-Identifier: MIT
/// \file
/// Dropout whose masks are functions of seed, step, row and layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/tensor/row_draws.hpp>

namespace meanflow {

namespace detail {

/// Parts of a random stream: 2^20 blocks of 4 words for each layer.
[[nodiscard]] inline std::uint32_t dropout_block(std::size_t layer) {
  return static_cast<std::uint32_t>(layer) << 20;
}

template <ValueLike X>
[[nodiscard]] X dropped(const X& x, double rate, const RowDraws<typename X::device_type>& draw,
                        std::size_t layer) {
  if (!(rate >= 0 && rate < 1))
    throw SettingError("dropout: rate is " + std::to_string(rate) + ", but must be in [0, 1)");
  if (draw.rows.size() != x.rows())
    throw ShapeError("dropout: masks for " + std::to_string(draw.rows.size()) +
                     " rows, but the batch has " + std::to_string(x.rows()));
  if (draw.step.size() != 1) throw ShapeError("dropout: the draw has no step number");
  X y = make_like(x, x.shape());
  dropout(typename X::device_type{}, x.rows(), tangent_rows(x), x.shape().row_size(), rate,
          draw.seed, draw.step.data(), draw.rows.data(), dropout_block(layer), buffer(x),
          buffer(y));
  return y;
}

}  // namespace detail

/// y = x m / (1 - rate), m zero with probability `rate` in [0, 1) and one otherwise, for every
/// element independently (Srivastava et al., 2014). The mask is that of (draw, row, layer), so the
/// tangent dy = dx m / (1 - rate) and the gradient gx = g m / (1 - rate) have the same one. Nothing
/// is dropped where the rate is 0 or the draw is empty, as in sampling. Up to 4096 layers and 2^22
/// elements in a row have masks of their own.
/// Throws SettingError on a rate outside [0, 1), ShapeError if the draw is for another batch.
template <ValueLike X>
[[nodiscard]] X dropout(const X& x, double rate, const RowDraws<typename X::device_type>& draw,
                        std::size_t layer) {
  if (rate == 0 || draw.rows.empty()) return x;
  return detail::dropped(x, rate, draw, layer);
}

template <ValueLike X>
[[nodiscard]] Var<X> dropout(const Var<X>& x, double rate,
                             const RowDraws<typename X::device_type>& draw, std::size_t layer) {
  if (rate == 0 || draw.rows.empty()) return x;
  using Values = Tensor<typename X::value_type, typename X::device_type>;
  return detail::recorded(x.tape(), detail::dropped(x.value(), rate, draw, layer), !x.constant(),
                          [rate, draw, layer, node = x.node()](auto& tape, Values g) {
                            tape.add_gradient(node, detail::dropped(g, rate, draw, layer));
                          });
}

}  // namespace meanflow
