// SPDX-License-Identifier: MIT
/// \file
/// Softmax attention, as plain loops: one query at a time.
///
/// With s = q k^T / sqrt(channels) over the keys that a query may see,
///   p = softmax(s),  y = p v,  lse = log sum exp(s).
/// A query that may see no key gives y = 0.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <meanflow/tensor/device.hpp>

namespace meanflow {

/// How far rows, heads and tokens of an operand are apart; channels are neighbours.
struct TokenStrides {
  std::size_t row, head, token;
};

/// The extents of attention, and where its operands lie.
struct AttentionShape {
  std::size_t rows, heads, queries, keys, channels;
  TokenStrides q, k, v, y;
  bool causal = false;                 ///< query i sees the keys up to i
  const std::uint8_t* keep = nullptr;  ///< (rows, keys): keys that are seen, not 0; null for all

  [[nodiscard]] double scale() const { return 1 / std::sqrt(static_cast<double>(channels)); }
  [[nodiscard]] bool sees(std::size_t row, std::size_t query, std::size_t key) const {
    return (!causal || key <= query) && (!keep || keep[row * keys + key] != 0);
  }
};

namespace kernels {

namespace detail {

[[nodiscard]] inline std::size_t place(const TokenStrides& s, std::size_t row, std::size_t head,
                                       std::size_t token) {
  return row * s.row + head * s.head + token * s.token;
}

template <class T>
[[nodiscard]] T dot(std::size_t n, const T* a, const T* b) {
  T sum(0);
  for (std::size_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

template <class T>
void add_scaled(std::size_t n, T a, const T* x, T* y) {
  for (std::size_t i = 0; i < n; ++i) y[i] += a * x[i];
}

/// f(row, head, query) for all of them.
template <class F>
void for_each_query(const AttentionShape& s, std::size_t rows, F f) {
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t h = 0; h < s.heads; ++h)
      for (std::size_t i = 0; i < s.queries; ++i) f(r, h, i);
}

}  // namespace detail

/// y = p v, and lse (rows, heads, queries) unless null. The `tangent_rows` rows of q, k, v and y
/// that follow the values are tangents of the first ones:
///   dy = p dv + h v - (sum of h) y,  h = p (dq k^T + q dk^T) / sqrt(channels).
template <class T>
void attention(Reference, const AttentionShape& s, std::size_t tangent_rows, const T* q, const T* k,
               const T* v, T* y, T* lse) {
  using detail::place;
  using std::exp;
  using std::log;
  const T scale = T(s.scale());
  std::vector<T> p(s.keys);
  detail::for_each_query(s, s.rows, [&](std::size_t r, std::size_t h, std::size_t i) {
    const T* query = q + place(s.q, r, h, i);
    T largest = -std::numeric_limits<T>::infinity(), sum(0);
    for (std::size_t j = 0; j < s.keys; ++j) {
      if (!s.sees(r, i, j)) continue;
      p[j] = scale * detail::dot(s.channels, query, k + place(s.k, r, h, j));
      if (!(p[j] <= largest)) largest = p[j];
    }
    for (std::size_t j = 0; j < s.keys; ++j) {
      p[j] = s.sees(r, i, j) ? exp(p[j] - largest) : T(0);
      sum += p[j];
    }
    const T inverse = sum == T(0) ? T(0) : T(1) / sum;
    T* out = y + place(s.y, r, h, i);
    for (std::size_t c = 0; c < s.channels; ++c) out[c] = T(0);
    for (std::size_t j = 0; j < s.keys; ++j) {
      p[j] *= inverse;
      if (s.sees(r, i, j)) detail::add_scaled(s.channels, p[j], v + place(s.v, r, h, j), out);
    }
    if (lse) lse[(r * s.heads + h) * s.queries + i] = sum == T(0) ? T(0) : largest + log(sum);
    if (r >= tangent_rows) return;
    const std::size_t dr = s.rows + r;
    const T* dquery = q + place(s.q, dr, h, i);
    T* dout = y + place(s.y, dr, h, i);
    for (std::size_t c = 0; c < s.channels; ++c) dout[c] = T(0);
    T slopes(0);
    for (std::size_t j = 0; j < s.keys; ++j) {
      if (!s.sees(r, i, j)) continue;
      const T slope = p[j] * scale *
                      (detail::dot(s.channels, dquery, k + place(s.k, r, h, j)) +
                       detail::dot(s.channels, query, k + place(s.k, dr, h, j)));
      slopes += slope;
      detail::add_scaled(s.channels, p[j], v + place(s.v, dr, h, j), dout);
      detail::add_scaled(s.channels, slope, v + place(s.v, r, h, j), dout);
    }
    detail::add_scaled(s.channels, -slopes, out, dout);
  });
}

/// With g of y's shape and p = exp(s - lse):
///   gv = p^T g,  gs = p (g v^T - sum of g y) / sqrt(channels),  gq = gs k,  gk = gs^T q.
template <class T>
void attention_backward(Reference, const AttentionShape& s, const T* q, const T* k, const T* v,
                        const T* y, const T* lse, const T* g, T* gq, T* gk, T* gv) {
  using detail::place;
  using std::exp;
  const T scale = T(s.scale());
  const auto clear = [&](T* x, const TokenStrides& strides, std::size_t tokens) {
    for (std::size_t r = 0; r < s.rows; ++r)
      for (std::size_t h = 0; h < s.heads; ++h)
        for (std::size_t i = 0; i < tokens; ++i)
          for (std::size_t c = 0; c < s.channels; ++c) x[place(strides, r, h, i) + c] = T(0);
  };
  clear(gq, s.q, s.queries);
  clear(gk, s.k, s.keys);
  clear(gv, s.v, s.keys);
  detail::for_each_query(s, s.rows, [&](std::size_t r, std::size_t h, std::size_t i) {
    const std::size_t at_q = place(s.q, r, h, i), at_y = place(s.y, r, h, i);
    const T* up = g + at_y;
    const T mean = detail::dot(s.channels, up, y + at_y);
    for (std::size_t j = 0; j < s.keys; ++j) {
      if (!s.sees(r, i, j)) continue;
      const std::size_t at_k = place(s.k, r, h, j), at_v = place(s.v, r, h, j);
      const T score = scale * detail::dot(s.channels, q + at_q, k + at_k);
      const T p = exp(score - lse[(r * s.heads + h) * s.queries + i]);
      const T slope = p * (detail::dot(s.channels, up, v + at_v) - mean) * scale;
      detail::add_scaled(s.channels, p, up, gv + at_v);
      detail::add_scaled(s.channels, slope, k + at_k, gq + at_q);
      detail::add_scaled(s.channels, slope, q + at_q, gk + at_k);
    }
  });
}

}  // namespace kernels
}  // namespace meanflow
