// SPDX-License-Identifier: MIT
/// \file
/// Softmax attention. `kernels/reference/attention.hpp` says what each kernel computes. Short
/// sequences without masks take cuBLAS's products of all heads at once, with the weights in memory;
/// others one online pass (`attention_tiles.hpp`), whose memory is linear in the number of tokens.
#pragma once

#include <cmath>
#include <cstddef>

#include <meanflow/kernels/cuda/attention_tiles.hpp>
#include <meanflow/kernels/cuda/divisor.hpp>
#include <meanflow/kernels/cuda/memory.hpp>
#include <meanflow/kernels/cuda/product.hpp>
#include <meanflow/kernels/cuda/reductions.hpp>
#include <meanflow/kernels/cuda/shapes.hpp>
#include <meanflow/kernels/cuda/tag.hpp>
#include <meanflow/kernels/reference/attention.hpp>

namespace meanflow::kernels {

namespace cuda {

/// Weights of at most so many bytes are kept in memory while they are used.
inline constexpr std::size_t attention_weights_bytes = std::size_t{256} << 20;

template <class T>
[[nodiscard]] bool keeps_weights(const AttentionShape& s) {
  return !s.causal && !s.keep && s.queries == s.keys &&
         s.rows * s.heads * s.queries * s.keys * sizeof(T) <= attention_weights_bytes;
}

/// Tokens of all heads one behind the other, and back.
struct TokenCopy {
  std::size_t heads, tokens, channels;
  TokenStrides strides;

  /// f(place where all heads are packed, place in the operand) for the tokens of `rows` rows, which
  /// begin at `first_row` in the operand.
  template <class F>
  void for_each(std::size_t rows, std::size_t first_row, F f) const {
    const Divisor by_channels(channels), by_tokens(tokens), by_heads(heads);
    const TokenStrides s = strides;
    for_each_index(rows * heads * tokens * channels, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
      const std::size_t token = i / by_channels, head = token / by_tokens;
      f(i, (first_row + head / by_heads) * s.row + head % by_heads * s.head +
               token % by_tokens * s.token + i % by_channels);
    });
  }
  template <class T>
  void gather(std::size_t rows, std::size_t first_row, const T* from, T* to) const {
    for_each(rows, first_row, Move<T>{from, to, true});
  }
  template <class T>
  void scatter(std::size_t rows, std::size_t first_row, const T* from, T* to) const {
    for_each(rows, first_row, Move<T>{from, to, false});
  }

  template <class T>
  struct Move {
    const T* from;
    T* to;
    bool gathers;
    MEANFLOW_HOST_DEVICE void operator()(std::size_t packed, std::size_t apart) const {
      if (gathers)
        to[packed] = from[apart];
      else
        to[apart] = from[packed];
    }
  };
};

/// Products between matrices of tokens and channels (`head`) and of tokens and tokens (`square`).
struct HeadProducts {
  std::size_t count, tokens, channels, head, square;

  HeadProducts(const AttentionShape& s, std::size_t rows)
      : count(rows * s.heads),
        tokens(s.queries),
        channels(s.channels),
        head(tokens * channels),
        square(tokens * tokens) {}

  [[nodiscard]] std::size_t operand() const { return count * head; }
  [[nodiscard]] std::size_t weights() const { return count * square; }
  [[nodiscard]] std::size_t queries() const { return count * tokens; }

  /// c (tokens, tokens) = a b^T + beta c
  template <class T>
  void scores(const T* a, const T* b, T beta, T* c) const {
    products(count, {head, head, square}, Transpose::no, Transpose::yes, tokens, tokens, channels,
             a, b, beta, c);
  }
  /// c (tokens, channels) = op(p) b + beta c, p (tokens, tokens)
  template <class T>
  void weighted(Transpose turned, const T* p, const T* b, T beta, T* c) const {
    products(count, {square, head, head}, turned, Transpose::no, tokens, channels, tokens, p, b,
             beta, c);
  }
};

/// q, k and v of `rows` rows, packed.
template <class T>
struct PackedOperands {
  Scratch<T> memory;
  T *q, *k, *v;

  PackedOperands(const AttentionShape& s, std::size_t rows, std::size_t first_row, const T* from_q,
                 const T* from_k, const T* from_v)
      : memory(3 * HeadProducts(s, rows).operand()) {
    const std::size_t size = HeadProducts(s, rows).operand();
    q = memory.data();
    k = q + size;
    v = k + size;
    TokenCopy{s.heads, s.queries, s.channels, s.q}.gather(rows, first_row, from_q, q);
    TokenCopy{s.heads, s.keys, s.channels, s.k}.gather(rows, first_row, from_k, k);
    TokenCopy{s.heads, s.keys, s.channels, s.v}.gather(rows, first_row, from_v, v);
  }
};

/// lse = log sum exp(s) of every row of `keys` scores.
template <class T>
void log_sum_exp(std::size_t rows, std::size_t keys, const T* s, T* lse) {
  const Scratch<T> memory(rows);
  T* const largest = memory.data();
  reduce_rows<Largest<T>>(
      rows, keys,
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, std::size_t j) {
        return Largest<T>{s[r * keys + j]};
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, Largest<T> found) { largest[r] = found.value; });
  reduce_rows<T>(
      rows, keys,
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, std::size_t j) {
        using std::exp;
        return exp(s[r * keys + j] - largest[r]);
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t r, T sum) {
        using std::log;
        lse[r] = largest[r] + log(sum);
      });
}

template <class T>
void attention_by_products(const AttentionShape& s, std::size_t tangent_rows, const T* q,
                           const T* k, const T* v, T* y, T* lse) {
  const T scale = T(s.scale());
  const TokenCopy out{s.heads, s.queries, s.channels, s.y};
  const HeadProducts all(s, s.rows), part(s, tangent_rows);
  const PackedOperands<T> x(s, s.rows, 0, q, k, v);
  const Scratch<T> weights(all.weights()), result(all.operand()), sums(lse ? 0 : all.queries());
  T *const p = weights.data(), *const packed = result.data();
  T* const logarithms = lse ? lse : sums.data();
  all.scores(x.q, x.k, T(0), p);
  affine(Cuda{}, all.weights(), std::size_t{0}, scale, T(0), p, p);
  log_sum_exp(all.queries(), s.keys, p, logarithms);
  const Divisor by_keys(s.keys);
  for_each_index(all.weights(), [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    using std::exp;
    p[i] = exp(p[i] - logarithms[i / by_keys]);
  });
  all.weighted(Transpose::no, p, x.v, T(0), packed);
  out.scatter(s.rows, 0, packed, y);
  if (tangent_rows == 0) return;
  const PackedOperands<T> dx(s, tangent_rows, s.rows, q, k, v);
  const Scratch<T> slopes(part.weights());
  T* const dp = slopes.data();
  part.scores(dx.q, x.k, T(0), dp);
  part.scores(x.q, dx.k, T(1), dp);
  affine(Cuda{}, part.weights(), std::size_t{0}, scale, T(0), dp, dp);
  softmax_jacobian(Cuda{}, part.queries(), s.keys, p, dp, dp);
  part.weighted(Transpose::no, dp, x.v, T(0), packed);
  part.weighted(Transpose::no, p, dx.v, T(1), packed);
  out.scatter(tangent_rows, s.rows, packed, y);
}

template <class T>
void attention_backward_by_products(const AttentionShape& s, const T* q, const T* k, const T* v,
                                    const T* lse, const T* g, T* gq, T* gk, T* gv) {
  const T scale = T(s.scale());
  const HeadProducts all(s, s.rows);
  const PackedOperands<T> x(s, s.rows, 0, q, k, v);
  const Scratch<T> weights(2 * all.weights()), operands(2 * all.operand());
  T *const p = weights.data(), *const gs = p + all.weights();
  T *const up = operands.data(), *const result = up + all.operand();
  const TokenCopy of_y{s.heads, s.queries, s.channels, s.y};
  of_y.gather(s.rows, 0, g, up);
  all.scores(x.q, x.k, T(0), p);
  const Divisor by_keys(s.keys);
  for_each_index(all.weights(), [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    using std::exp;
    p[i] = exp(scale * p[i] - lse[i / by_keys]);
  });
  const auto give = [&](const TokenStrides& strides, T* to) {
    TokenCopy{s.heads, s.keys, s.channels, strides}.scatter(s.rows, 0, result, to);
  };
  all.weighted(Transpose::yes, p, up, T(0), result);
  give(s.v, gv);
  all.scores(up, x.v, T(0), gs);
  softmax_jacobian(Cuda{}, all.queries(), s.keys, p, gs, gs);
  affine(Cuda{}, all.weights(), std::size_t{0}, scale, T(0), gs, gs);
  all.weighted(Transpose::no, gs, x.k, T(0), result);
  give(s.q, gq);
  all.weighted(Transpose::yes, gs, x.q, T(0), result);
  give(s.k, gk);
}

/// The online passes, whatever the length.
template <class T>
void attention_by_tiles(const AttentionShape& s, std::size_t tangent_rows, const T* q, const T* k,
                        const T* v, T* y, T* lse) {
  using Task = AttendTile<T>;
  const AttentionTiles<T> tiles(s, Task::per_token, Task::per_pair);
  run_teams<T>(s.rows * s.heads * tiles.tiles_of(s.queries),
               tiles.numbers(Task::per_token, Task::per_pair),
               Task{tiles, tangent_rows, q, k, v, y, lse});
}

template <class T>
void attention_backward_by_tiles(const AttentionShape& s, const T* q, const T* k, const T* v,
                                 const T* y, const T* lse, const T* g, T* gq, T* gk, T* gv) {
  using All = AttentionBackwardTiles<T>;
  const AttentionTiles<T> tiles(s, All::per_token, All::per_pair);
  const All all{tiles, q, k, v, y, lse, g};
  const std::size_t numbers = tiles.numbers(All::per_token, All::per_pair);
  run_teams<T>(s.rows * s.heads * tiles.tiles_of(s.queries), numbers,
               AttentionGradientOfQueries<T>{all, gq});
  run_teams<T>(s.rows * s.heads * tiles.tiles_of(s.keys), numbers,
               AttentionGradientOfKeys<T>{all, gk, gv});
}

}  // namespace cuda

template <class T>
void attention(Cuda, const AttentionShape& s, std::size_t tangent_rows, const T* q, const T* k,
               const T* v, T* y, T* lse) {
  if (cuda::keeps_weights<T>(s))
    cuda::attention_by_products(s, tangent_rows, q, k, v, y, lse);
  else
    cuda::attention_by_tiles(s, tangent_rows, q, k, v, y, lse);
}

template <class T>
void attention_backward(Cuda, const AttentionShape& s, const T* q, const T* k, const T* v,
                        const T* y, const T* lse, const T* g, T* gq, T* gk, T* gv) {
  if (cuda::keeps_weights<T>(s))
    cuda::attention_backward_by_products(s, q, k, v, lse, g, gq, gk, gv);
  else
    cuda::attention_backward_by_tiles(s, q, k, v, y, lse, g, gq, gk, gv);
}

}  // namespace meanflow::kernels
