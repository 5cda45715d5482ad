// SPDX-License-Identifier: MIT
/// \file
/// Softmax attention.
#pragma once

#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/attention.hpp>

namespace meanflow {

namespace detail {

[[nodiscard]] inline AttentionShape attention_shape(const Shape& q, const Shape& k,
                                                    const Shape& v) {
  if (q.rank() < 3 || !(q == k))
    throw_shape_error("attention", q, k, "q and k must be (B, ..., tokens, channels) alike");
  if (!(q == v)) throw_shape_error("attention", q, v, "v must have the shape of q");
  const std::size_t tokens = q[q.rank() - 2];
  return {q.size() / (tokens * q.last()), tokens, q.last()};
}

/// The result, and the weights softmax(q k^T / sqrt(channels)) of the values.
template <ValueLike X>
[[nodiscard]] std::pair<X, Tensor<typename X::value_type, typename X::device_type>>
attention_forward(const X& q, const X& k, const X& v) {
  using T = typename X::value_type;
  using Device = typename X::device_type;
  AttentionShape s = attention_shape(q.shape(), k.shape(), v.shape());
  check_same_tangents("attention", q, k);
  check_same_tangents("attention", q, v);
  X y = make_like(q, q.shape());
  Tensor<T, Device> weights({s.heads, s.tokens, s.tokens});
  const T *pq = buffer(q), *pk = buffer(k), *pv = buffer(v);
  attention(Device{}, s, pq, pk, pv, weights.data(), buffer(y));
  if (tangent_rows(q) == 0) return {std::move(y), std::move(weights)};
  const std::size_t values = value_size(q);
  s.heads = s.heads / q.rows() * tangent_rows(q);
  attention_tangent(Device{}, s, pq, pq + values, pk, pk + values, pv, pv + values, weights.data(),
                    buffer(y) + values);
  return {std::move(y), std::move(weights)};
}

}  // namespace detail

/// y = p v, p = softmax(q k^T / sqrt(channels)); all (B, ..., tokens, channels), where further axes
/// are heads.
///   tangent   dy = dp v + p dv, dp = J(p) (dq k^T + q dk^T) / sqrt(channels)
///   backward  gv = p^T g, s = J(p) (g v^T) / sqrt(channels), gq = s k, gk = s^T q
/// Throws ShapeError if the shapes differ.
template <ValueLike X>
[[nodiscard]] X attention(const X& q, const X& k, const X& v) {
  return detail::attention_forward(q, k, v).first;
}

template <ValueLike X>
[[nodiscard]] Var<X> attention(const Var<X>& q, const Var<X>& k, const Var<X>& v) {
  using T = typename X::value_type;
  using Device = typename X::device_type;
  using Values = Tensor<T, Device>;
  auto [y, weights] = detail::attention_forward(q.value(), k.value(), v.value());
  return detail::recorded(
      q.tape(), std::move(y), !q.constant() || !k.constant() || !v.constant(),
      [p = weights, qs = Values(primal(q)), ks = Values(primal(k)), vs = Values(primal(v)),
       nq = q.node(), nk = k.node(), nv = v.node()](auto& tape, Values g) {
        Values gq(qs.shape()), gk(ks.shape()), gv(vs.shape());
        attention_backward(Device{}, detail::attention_shape(qs.shape(), ks.shape(), vs.shape()),
                           qs.data(), ks.data(), vs.data(), p.data(), g.data(), gq.data(),
                           gk.data(), gv.data());
        tape.add_gradient(nq, std::move(gq));
        tape.add_gradient(nk, std::move(gk));
        tape.add_gradient(nv, std::move(gv));
      });
}

}  // namespace meanflow
