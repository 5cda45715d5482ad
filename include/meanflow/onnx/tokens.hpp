// SPDX-License-Identifier: MIT
/// \file
/// Attention, positions, gates and what moves numbers about, recorded.
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/onnx/elementwise.hpp>
#include <meanflow/onnx/traced.hpp>
#include <meanflow/ops/attention.hpp>
#include <meanflow/ops/concat.hpp>
#include <meanflow/ops/embedding.hpp>
#include <meanflow/ops/gate.hpp>
#include <meanflow/ops/rope.hpp>
#include <meanflow/ops/swap_axes.hpp>
#include <meanflow/tensor/row_draws.hpp>

namespace meanflow {

// ------------------------------------------------------------------------------ moving about

template <class T, class Device, std::same_as<Traced<T, Device>>... Rest>
[[nodiscard]] Traced<T, Device> concat(const Traced<T, Device>& x, const Rest&... rest) {
  (detail::check_concat(x.shape(), rest.shape()), ...);
  return x.like(x.graph().add("Concat", {x.name(), rest.name()...}, {{"axis", std::int64_t{-1}}}),
                x.shape().with_last((x.shape().last() + ... + rest.shape().last())));
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> slice_last(const Traced<T, Device>& x, std::size_t first,
                                           std::size_t last) {
  if (first > last || last > x.shape().last())
    throw ShapeError("slice_last: [" + std::to_string(first) + ", " + std::to_string(last) +
                     ") are not within shape " + to_string(x.shape()));
  onnx::Graph& graph = x.graph();
  return x.like(
      graph.add("Slice", {x.name(), graph.integers({static_cast<std::int64_t>(first)}),
                          graph.integers({static_cast<std::int64_t>(last)}), graph.integers({-1})}),
      x.shape().with_last(last - first));
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> swap_axes(const Traced<T, Device>& x, std::size_t first,
                                          std::size_t second) {
  (void)detail::axis_swap(x.shape(), x.rows(), first, second);  // throws if there are no such axes
  onnx::Extents axes;
  for (std::size_t axis = 0; axis < x.shape().rank(); ++axis)
    axes.push_back(static_cast<std::int64_t>(axis == first    ? second
                                             : axis == second ? first
                                                              : axis));
  return x.like(x.graph().transpose(x.name(), axes), detail::swapped(x.shape(), first, second));
}

template <class F, class T, class Device, std::same_as<Traced<T, Device>>... More>
[[nodiscard]] Traced<T, Device> recomputed(const F& f, const Traced<T, Device>& x,
                                           const More&... more) {
  return f(x, more...);
}

/// Nothing is dropped in sampling. Throws Error where the condition draws masks.
template <class T, class Device>
[[nodiscard]] Traced<T, Device> dropout(const Traced<T, Device>& x, double rate,
                                        const RowDraws<Device>& draw, std::size_t /*layer*/) {
  if (rate != 0 && !draw.rows.empty())
    throw Error("dropout: masks that are drawn cannot be exported; leave the condition's empty");
  return x;
}

// ----------------------------------------------------------------------------------- residuals

template <class T, class Device>
[[nodiscard]] Traced<T, Device> scaled_sum(
    const Traced<T, Device>& x, const Traced<T, Device>& y, double scale,
    const std::type_identity_t<Parameter<T, Device>>& bias = {}) {
  const Traced<T, Device> biased = bias.empty() ? x : add_bias(x, bias);
  return affine(binary(Add{}, biased, y), static_cast<T>(scale), T(0));
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> add_gated(const Traced<T, Device>& x, const Traced<T, Device>& gate,
                                          const Traced<T, Device>& a) {
  onnx::Graph& graph = x.graph();
  const std::string branch =
      graph.add("Mul", {a.name(), detail::over_channels(gate, x.shape().rank())});
  return x.like(graph.add("Add", {x.name(), branch}), x.shape());
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> add_gated(const Traced<T, Device>& x,
                                          const Parameter<T, Device>& gate,
                                          const Traced<T, Device>& a) {
  onnx::Graph& graph = x.graph();
  const std::string branch = graph.add("Mul", {a.name(), detail::weight_of(graph, gate)});
  return x.like(graph.add("Add", {x.name(), branch}), x.shape());
}

// ----------------------------------------------------------------------------------- positions

template <class T, class Device>
[[nodiscard]] Traced<T, Device> sinusoid(const Traced<T, Device>& x,
                                         const Tensor<T, Device>& frequencies,
                                         SinusoidOrder order = SinusoidOrder::cosines_first) {
  onnx::Graph& graph = x.graph();
  const std::size_t half = frequencies.size();
  const Shape shape = x.shape().with_last(2 * half * x.shape().last());
  const std::string row =
      graph.constant({static_cast<std::int64_t>(half)},
                     std::vector<T>(frequencies.data(), frequencies.data() + half));
  const std::string each = graph.add("Unsqueeze", {x.name(), graph.integers({-1})});
  const std::string angles = graph.add("Mul", {each, row});  // (..., C, half)
  const std::string cosines = graph.add("Cos", {angles}), sines = graph.add("Sin", {angles});
  const bool first = order == SinusoidOrder::cosines_first;
  const std::string both = graph.add("Concat", {first ? cosines : sines, first ? sines : cosines},
                                     {{"axis", std::int64_t{-1}}});
  return x.like(detail::reshaped(graph, both, shape), shape);
}

/// (a, b) of each pair of channels becomes (a cos - b sin, a sin + b cos).
template <class T, class Device>
[[nodiscard]] Traced<T, Device> rope(const Traced<T, Device>& x,
                                     const RopeAngles<T, Device>& angles, std::size_t heads = 1) {
  detail::check_rope(x.shape(), angles, heads);
  onnx::Graph& graph = x.graph();
  const auto tokens = static_cast<std::int64_t>(angles.cosines.shape()[0]),
             half = static_cast<std::int64_t>(angles.cosines.shape()[1]);
  const auto table = [&](const Tensor<T, Device>& t) {
    return graph.constant({tokens, 1, half, 1}, std::vector<T>(t.data(), t.data() + t.size()));
  };
  onnx::Extents pairs = onnx::extents_of_batch(x.shape(), 0);
  pairs.back() = static_cast<std::int64_t>(heads);
  pairs.insert(pairs.end(), {half, 2});
  const std::string all = graph.reshape(x.name(), std::move(pairs));
  const auto part = [&](std::int64_t i) {
    return graph.add("Slice",
                     {all, graph.integers({i}), graph.integers({i + 1}), graph.integers({-1})});
  };
  const std::string a = part(0), b = part(1);
  const std::string c = table(angles.cosines), s = table(angles.sines);
  const std::string turned_a =
      graph.add("Sub", {graph.add("Mul", {a, c}), graph.add("Mul", {b, s})});
  const std::string turned_b =
      graph.add("Add", {graph.add("Mul", {a, s}), graph.add("Mul", {b, c})});
  const std::string turned =
      graph.add("Concat", {turned_a, turned_b}, {{"axis", std::int64_t{-1}}});
  return x.like(detail::reshaped(graph, turned, x.shape()), x.shape());
}

// ----------------------------------------------------------------------------------- attention

namespace detail {

/// Tokens (B, tokens, heads channels) as (B, heads, tokens, channels).
template <class T, class Device>
[[nodiscard]] std::string by_heads(const Traced<T, Device>& x, std::size_t heads) {
  onnx::Graph& graph = x.graph();
  const Shape s = x.shape();
  const Shape cut{s[0], s[1], heads, s[2] / heads};
  return graph.transpose(reshaped(graph, x.name(), cut), {0, 2, 1, 3});
}

/// softmax(q k^T / sqrt(channels)) v of (B, ..., tokens, channels).
template <class T>
[[nodiscard]] std::string attended(onnx::Graph& graph, const std::string& q, const std::string& k,
                                   const std::string& v, std::size_t rank, std::size_t tokens,
                                   std::size_t channels, bool causal) {
  onnx::Extents axes;
  for (std::size_t axis = 0; axis < rank; ++axis) axes.push_back(static_cast<std::int64_t>(axis));
  std::swap(axes[rank - 2], axes[rank - 1]);
  const T scale = T(1) / std::sqrt(static_cast<T>(channels));
  std::string scores = scaled(graph, graph.add("MatMul", {q, graph.transpose(k, axes)}), scale);
  if (causal) {
    std::vector<T> mask(tokens * tokens, T(0));
    for (std::size_t i = 0; i < tokens; ++i)
      for (std::size_t j = i + 1; j < tokens; ++j)
        mask[i * tokens + j] = -std::numeric_limits<T>::infinity();
    const auto side = static_cast<std::int64_t>(tokens);
    scores = graph.add("Add", {scores, graph.constant({side, side}, std::move(mask))});
  }
  return graph.add("MatMul", {graph.add("Softmax", {scores}, {{"axis", std::int64_t{-1}}}), v});
}

template <class Device>
void check_exportable(const AttentionSettings<Device>& settings) {
  if (!settings.keep.empty())
    throw Error("attention: tokens that are left out (keep) cannot be exported");
}

}  // namespace detail

template <class T, class Device>
[[nodiscard]] Traced<T, Device> attention(const Traced<T, Device>& q, const Traced<T, Device>& k,
                                          const Traced<T, Device>& v,
                                          const AttentionSettings<Device>& settings = {}) {
  detail::check_exportable(settings);
  const auto s = detail::attention_shape(q.shape(), k.shape(), v.shape(), settings);
  onnx::Graph& graph = q.graph();
  if (settings.heads == 1)
    return q.like(detail::attended<T>(graph, q.name(), k.name(), v.name(), q.shape().rank(),
                                      s.queries, s.channels, s.causal),
                  q.shape());
  const auto cut = [&](const Traced<T, Device>& x) { return detail::by_heads(x, settings.heads); };
  const std::string y =
      detail::attended<T>(graph, cut(q), cut(k), cut(v), 4, s.queries, s.channels, s.causal);
  return q.like(detail::reshaped(graph, graph.transpose(y, {0, 2, 1, 3}), q.shape()), q.shape());
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> self_attention(const Traced<T, Device>& qkv,
                                               const AttentionSettings<Device>& settings = {}) {
  (void)detail::self_attention_shape(qkv.shape(), settings);  // throws if it does not fit
  const auto [q, k, v] = split<3>(qkv);
  return attention(q, k, v, settings);
}

}  // namespace meanflow
