// SPDX-License-Identifier: MIT
/// \file
/// Softmax attention. Nothing of the size queries x keys is kept: the backward pass makes the
/// weights again from the logarithm of their sum.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/cpu/attention.hpp>
#include <meanflow/kernels/reference/attention.hpp>

namespace meanflow {

/// How tokens attend to each other.
template <class Device = Cpu>
struct AttentionSettings {
  std::size_t heads = 1;                ///< that the last axis is cut into
  bool causal = false;                  ///< token i sees the tokens up to i
  Tensor<std::uint8_t, Device> keep{};  ///< (B, keys): keys that are seen, not 0; empty for all
};

namespace detail {

/// Where tokens lie in (B, ..., tokens, channels): further axes are heads, or the last one is cut.
[[nodiscard]] inline TokenStrides token_strides(const Shape& shape, std::size_t heads) {
  const std::size_t tokens = shape[shape.rank() - 2], channels = shape.last();
  return {shape.row_size(), heads > 1 ? channels / heads : tokens * channels, channels};
}

template <class Device>
void check_attention(const char* operation, const AttentionSettings<Device>& settings,
                     const Shape& q, std::size_t keys, std::size_t channels) {
  const std::size_t queries = q[q.rank() - 2];
  if (settings.heads == 0 || channels % settings.heads != 0)
    throw ShapeError(std::string(operation) + ": " + std::to_string(channels) +
                     " channels cannot be cut into " + std::to_string(settings.heads) + " heads");
  if (settings.heads > 1 && q.rank() != 3)
    throw ShapeError(std::string(operation) + ": q of shape " + to_string(q) +
                     " must be (B, tokens, channels) to be cut into heads");
  if (settings.causal && queries != keys)
    throw ShapeError(std::string(operation) + ": causal attention of " + std::to_string(queries) +
                     " queries to " + std::to_string(keys) + " keys, but they must be as many");
  if (!settings.keep.empty() && !(settings.keep.shape() == Shape{q.rows(), keys}))
    throw_shape_error(operation, settings.keep.shape(), q, "keep must be (B, keys)");
}

template <class Device>
[[nodiscard]] AttentionShape attention_shape(const Shape& q, const Shape& k, const Shape& v,
                                             const AttentionSettings<Device>& settings) {
  const auto but_tokens = [](const Shape& s) {
    Shape one;
    for (std::size_t axis = 0; axis < s.rank(); ++axis)
      one.push_back(axis + 2 == s.rank() ? 1 : s[axis]);
    return one;
  };
  if (q.rank() < 3 || q.rank() != k.rank() || !(but_tokens(q) == but_tokens(k)))
    throw_shape_error("attention", q, k, "q and k must be (B, ..., tokens, channels) alike");
  if (!(k == v)) throw_shape_error("attention", k, v, "v must have the shape of k");
  const std::size_t queries = q[q.rank() - 2], keys = k[k.rank() - 2], channels = q.last();
  check_attention("attention", settings, q, keys, channels);
  const std::size_t row = queries * channels;
  const std::size_t heads = settings.heads > 1 || row == 0 ? settings.heads : q.row_size() / row;
  const TokenStrides to = token_strides(q, settings.heads), from = token_strides(k, settings.heads);
  return {.rows = q.rows(),
          .heads = heads,
          .queries = queries,
          .keys = keys,
          .channels = channels / settings.heads,
          .q = to,
          .k = from,
          .v = from,
          .y = to,
          .causal = settings.causal,
          .keep = settings.keep.empty() ? nullptr : settings.keep.data()};
}

template <class Device>
[[nodiscard]] AttentionShape self_attention_shape(const Shape& qkv,
                                                  const AttentionSettings<Device>& settings) {
  if (qkv.rank() != 3 || qkv.last() % 3 != 0)
    throw ShapeError("self_attention: qkv has shape " + to_string(qkv) +
                     ", but must be (B, tokens, 3 channels)");
  const std::size_t tokens = qkv[1], channels = qkv.last() / 3;
  check_attention("self_attention", settings, qkv, tokens, channels);
  const std::size_t head = channels / settings.heads;
  const TokenStrides in{tokens * 3 * channels, head, 3 * channels};
  return {.rows = qkv.rows(),
          .heads = settings.heads,
          .queries = tokens,
          .keys = tokens,
          .channels = head,
          .q = in,
          .k = in,
          .v = in,
          .y = {tokens * channels, head, channels},
          .causal = settings.causal,
          .keep = settings.keep.empty() ? nullptr : settings.keep.data()};
}

/// What the backward pass needs: y, and the logarithm of the sums of weights.
template <ValueLike X>
struct AttentionResult {
  X y;
  Tensor<typename X::value_type, typename X::device_type> lse;  // (B, heads, queries)
};

template <ValueLike X>
[[nodiscard]] AttentionResult<X> attention_forward(const AttentionShape& s, const Shape& shape,
                                                   const X& q, const X& k, const X& v,
                                                   std::size_t k_offset, std::size_t v_offset,
                                                   bool keeps_sums) {
  using T = typename X::value_type;
  using Device = typename X::device_type;
  AttentionResult<X> result{make_like(q, shape), {}};
  if (keeps_sums) result.lse = Tensor<T, Device>({s.rows, s.heads, s.queries});
  attention(Device{}, s, tangent_rows(q), buffer(q), buffer(k) + k_offset, buffer(v) + v_offset,
            buffer(result.y), result.lse.data());
  return result;
}

}  // namespace detail

/// y = p v, p = softmax(q k^T / sqrt(channels)); q, y (B, ..., queries, channels), k, v
/// (B, ..., keys, channels), where further axes are heads; or (B, tokens, heads channels) with
/// `heads` in the settings. A query that sees no key gives 0.
///   tangent   dy = p dv + h v - (sum of h) y, h = p (dq k^T + q dk^T) / sqrt(channels)
///   backward  gv = p^T g, s = p (g v^T - sum of g y) / sqrt(channels), gq = s k, gk = s^T q
/// Memory is linear in the number of tokens (Dao et al., arXiv 2205.14135, here with the tangent in
/// the same pass). Throws ShapeError if the shapes do not fit.
template <ValueLike X>
[[nodiscard]] X attention(const X& q, const X& k, const X& v,
                          const AttentionSettings<typename X::device_type>& settings = {}) {
  detail::check_same_tangents("attention", q, k);
  detail::check_same_tangents("attention", q, v);
  const auto s = detail::attention_shape(q.shape(), k.shape(), v.shape(), settings);
  return detail::attention_forward(s, q.shape(), q, k, v, 0, 0, false).y;
}

template <ValueLike X>
[[nodiscard]] Var<X> attention(const Var<X>& q, const Var<X>& k, const Var<X>& v,
                               const AttentionSettings<typename X::device_type>& settings = {}) {
  using Device = typename X::device_type;
  using Values = Tensor<typename X::value_type, Device>;
  detail::check_same_tangents("attention", q.value(), k.value());
  detail::check_same_tangents("attention", q.value(), v.value());
  const auto s = detail::attention_shape(q.shape(), k.shape(), v.shape(), settings);
  const bool differentiated = !q.constant() || !k.constant() || !v.constant();
  auto [y, lse] = detail::attention_forward(s, q.shape(), q.value(), k.value(), v.value(), 0, 0,
                                            differentiated);
  const Values result(primal(y));
  return detail::recorded(q.tape(), std::move(y), differentiated,
                          [s, lse = lse, result, keep = settings.keep, qs = Values(primal(q)),
                           ks = Values(primal(k)), vs = Values(primal(v)), nq = q.node(),
                           nk = k.node(), nv = v.node()](auto& tape, const Values& g) {
                            Values gq(qs.shape()), gk(ks.shape()), gv(vs.shape());
                            attention_backward(Device{}, s, qs.data(), ks.data(), vs.data(),
                                               result.data(), lse.data(), g.data(), gq.data(),
                                               gk.data(), gv.data());
                            tape.add_gradient(nq, std::move(gq));
                            tape.add_gradient(nk, std::move(gk));
                            tape.add_gradient(nv, std::move(gv));
                          });
}

/// `attention` of tokens among themselves, from (B, tokens, 3 channels) with the channels of q, k
/// and v one behind the other, each cut into heads; (B, tokens, channels). Nothing is copied.
/// Throws ShapeError if the shapes do not fit.
template <ValueLike X>
[[nodiscard]] X self_attention(const X& qkv,
                               const AttentionSettings<typename X::device_type>& settings = {}) {
  const auto s = detail::self_attention_shape(qkv.shape(), settings);
  const std::size_t channels = s.heads * s.channels;
  return detail::attention_forward(s, qkv.shape().with_last(channels), qkv, qkv, qkv, channels,
                                   2 * channels, false)
      .y;
}

template <ValueLike X>
[[nodiscard]] Var<X> self_attention(
    const Var<X>& qkv, const AttentionSettings<typename X::device_type>& settings = {}) {
  using Device = typename X::device_type;
  using Values = Tensor<typename X::value_type, Device>;
  const auto s = detail::self_attention_shape(qkv.shape(), settings);
  const std::size_t channels = s.heads * s.channels;
  auto [y, lse] =
      detail::attention_forward(s, qkv.shape().with_last(channels), qkv.value(), qkv.value(),
                                qkv.value(), channels, 2 * channels, !qkv.constant());
  const Values result(primal(y));
  return detail::recorded(
      qkv.tape(), std::move(y), !qkv.constant(),
      [s, channels, lse = lse, result, keep = settings.keep, in = Values(primal(qkv)),
       node = qkv.node()](auto& tape, const Values& g) {
        Values gradient(in.shape());
        const auto* q = in.data();
        auto* gq = gradient.data();
        attention_backward(Device{}, s, q, q + channels, q + 2 * channels, result.data(),
                           lse.data(), g.data(), gq, gq + channels, gq + 2 * channels);
        tape.add_gradient(node, std::move(gradient));
      });
}

}  // namespace meanflow
