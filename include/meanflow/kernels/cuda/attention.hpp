// SPDX-License-Identifier: MIT
/// \file
/// Softmax attention. `kernels/reference/attention.hpp` says what each kernel computes. Short
/// sequences without masks take cuBLAS's products of all heads at once, with the weights in memory;
/// others one online pass (`attention_tiles.hpp`), whose memory is linear in the number of tokens.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <meanflow/kernels/cuda/attention_tiles.hpp>
#include <meanflow/kernels/cuda/divisor.hpp>
#include <meanflow/kernels/cuda/lanes.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
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

/// Copies four channels of a token, or one, between an operand and its packed heads, which lie one
/// after another.
template <class T, bool Packs>
struct CopyChannels {
  Divisor by_units, by_tokens, by_heads;  // units of channels
  bool together;
  TokenStrides strides;
  const T* from;
  T* to;

  template <int W>
  MEANFLOW_HOST_DEVICE void run(std::uint32_t i) const {
    const std::uint32_t token = i / by_units, head = token / by_tokens;
    const std::size_t packed = W * std::size_t{i};
    const std::size_t apart = head / by_heads * strides.row + head % by_heads * strides.head +
                              token % by_tokens * strides.token + W * (i % by_units);
    if constexpr (Packs)
      store_lanes(to + packed, load_lanes<W>(from + apart));
    else
      store_lanes(to + apart, load_lanes<W>(from + packed));
  }
  MEANFLOW_HOST_DEVICE void operator()(std::uint32_t i) const {
    if (together)
      run<static_cast<int>(lanes)>(i);
    else
      run<1>(i);
  }
};

/// Packs the tokens of all heads one head after another, and back.
struct TokenCopy {
  std::size_t heads, tokens, channels;
  TokenStrides strides;

  /// Of `rows` rows, which begin at `first_row` in the operand.
  template <class T>
  void pack(std::size_t rows, std::size_t first_row, const T* operand, T* packed) const {
    move<true>(rows, operand + first_row * strides.row, strides.row, packed, row_size());
  }
  template <class T>
  void unpack(std::size_t rows, std::size_t first_row, const T* packed, T* operand) const {
    move<false>(rows, packed, row_size(), operand + first_row * strides.row, strides.row);
  }

 private:
  [[nodiscard]] std::size_t row_size() const { return heads * tokens * channels; }

  template <bool Packs, class T>
  void move(std::size_t rows, const T* from, std::size_t from_stride, T* to,
            std::size_t to_stride) const {
    const bool together = channels % lanes == 0;
    const std::size_t unit = together ? lanes : 1, each = row_size() / unit;
    for_each_launch(each == 0 ? 0 : rows, each, [&](std::size_t first, std::size_t count) {
      for_each_item(count * each, count * row_size(), 2 * count * row_size() * sizeof(T),
                    CopyChannels<T, Packs>{Divisor(channels / unit), Divisor(tokens),
                                           Divisor(heads), together, strides,
                                           from + first * from_stride, to + first * to_stride});
    });
  }
};

/// An operand of all heads as the matrices (tokens, channels) of their products: where it lies if
/// there is one head, a packed copy otherwise.
template <class T>
class Heads {
 public:
  using Value = std::remove_const_t<T>;

  /// Of `rows` rows from `first_row` on.
  Heads(const AttentionShape& s, std::size_t tokens, const TokenStrides& strides, std::size_t rows,
        std::size_t first_row, T* operand)
      : copy_{s.heads, tokens, s.channels, strides},
        rows_(rows),
        first_row_(first_row),
        operand_(operand),
        memory_(s.heads == 1 ? 0 : rows * s.heads * tokens * s.channels) {
    if (s.heads == 1)
      matrices_ = {operand + first_row * strides.row, strides.token, strides.row};
    else
      matrices_ = {memory_.data(), s.channels, tokens * s.channels};
  }
  /// To be read.
  [[nodiscard]] Matrices<const Value> read() const {
    if (copy_.heads > 1)
      copy_.pack(rows_, first_row_, static_cast<const Value*>(operand_), memory_.data());
    return {matrices_.data, matrices_.row, matrices_.next};
  }
  /// To be written, which `written` ends.
  [[nodiscard]] Matrices<Value> write() const
    requires(!std::is_const_v<T>)
  {
    return matrices_;
  }
  void written() const
    requires(!std::is_const_v<T>)
  {
    if (copy_.heads > 1)
      copy_.unpack(rows_, first_row_, static_cast<const Value*>(memory_.data()), operand_);
  }

 private:
  TokenCopy copy_;
  std::size_t rows_, first_row_;
  T* operand_;
  Scratch<Value> memory_;
  Matrices<T> matrices_;
};

/// Products between matrices of tokens and channels, and of tokens and tokens.
template <class T>
struct HeadProducts {
  std::size_t count, tokens, channels;

  HeadProducts(const AttentionShape& s, std::size_t rows)
      : count(rows * s.heads), tokens(s.queries), channels(s.channels) {}

  [[nodiscard]] std::size_t weights() const { return count * tokens * tokens; }
  [[nodiscard]] std::size_t queries() const { return count * tokens; }

  /// c (tokens, tokens) = a b^T + beta c
  void scores(Matrices<const T> a, Matrices<const T> b, T beta, T* c) const {
    products<T>(count, Transpose::no, Transpose::yes, tokens, tokens, channels, a, b, beta,
                {c, tokens, tokens * tokens});
  }
  /// c (tokens, channels) = op(p) b + beta c, p (tokens, tokens)
  void weighted(Transpose turned, const T* p, Matrices<const T> b, T beta, Matrices<T> c) const {
    products<T>(count, turned, Transpose::no, tokens, channels, tokens,
                {p, tokens, tokens * tokens}, b, beta, c);
  }
};

/// p = exp(scale p - lse) of scores p, by the logarithms of their rows' sums.
template <class T>
struct AttentionWeights {
  T scale;
  const T* lse;
  T* p;

  struct Row {
    T scale, lse;
    T* p;
    template <class At>
    MEANFLOW_HOST_DEVICE void operator()(At at) const {
      using std::exp;
      at.store(p, exp(scale * at.load(p) - lse));
    }
  };
  [[nodiscard]] MEANFLOW_HOST_DEVICE Row operator()(std::size_t row) const {
    return {scale, lse[row], p};
  }
};

template <class T>
void attention_by_products(const AttentionShape& s, std::size_t tangent_rows, const T* q,
                           const T* k, const T* v, T* y, T* lse) {
  const T scale = T(s.scale());
  const HeadProducts<T> all(s, s.rows), part(s, tangent_rows);
  using In = Heads<const T>;
  using Out = Heads<T>;
  const In of_q(s, s.queries, s.q, s.rows, 0, q), of_k(s, s.keys, s.k, s.rows, 0, k),
      of_v(s, s.keys, s.v, s.rows, 0, v);
  const auto xq = of_q.read(), xk = of_k.read(), xv = of_v.read();
  const Scratch<T> weights(all.weights());
  T* const p = weights.data();
  all.scores(xq, xk, T(0), p);
  softmax_of_rows<T>(all.queries(), s.keys, scale, p, p, lse);
  const Out result(s, s.queries, s.y, s.rows, 0, y);
  all.weighted(Transpose::no, p, xv, T(0), result.write());
  result.written();
  if (tangent_rows == 0) return;
  const In of_dq(s, s.queries, s.q, tangent_rows, s.rows, q),
      of_dk(s, s.keys, s.k, tangent_rows, s.rows, k),
      of_dv(s, s.keys, s.v, tangent_rows, s.rows, v);
  const Scratch<T> slopes(part.weights());
  T* const dp = slopes.data();
  part.scores(of_dq.read(), xk, T(0), dp);
  part.scores(xq, of_dk.read(), T(1), dp);
  softmax_jacobian_of_rows<T>(part.queries(), s.keys, scale, p, dp, dp);
  const Out tangents(s, s.queries, s.y, tangent_rows, s.rows, y);
  part.weighted(Transpose::no, dp, xv, T(0), tangents.write());
  part.weighted(Transpose::no, p, of_dv.read(), T(1), tangents.write());
  tangents.written();
}

template <class T>
void attention_backward_by_products(const AttentionShape& s, const T* q, const T* k, const T* v,
                                    const T* lse, const T* g, T* gq, T* gk, T* gv) {
  const T scale = T(s.scale());
  const HeadProducts<T> all(s, s.rows);
  using In = Heads<const T>;
  const In of_q(s, s.queries, s.q, s.rows, 0, q), of_k(s, s.keys, s.k, s.rows, 0, k),
      of_v(s, s.keys, s.v, s.rows, 0, v), of_g(s, s.queries, s.y, s.rows, 0, g);
  const auto xq = of_q.read(), xk = of_k.read(), up = of_g.read();
  const Scratch<T> weights(2 * all.weights());
  T *const p = weights.data(), *const gs = p + all.weights();
  all.scores(xq, xk, T(0), p);
  for_each_in_rows(Cuda{}, all.queries(), s.keys, AttentionWeights<T>{scale, lse, p});
  const auto give = [&](Transpose turned, const T* by, Matrices<const T> x, std::size_t tokens,
                        const TokenStrides& strides, T* to) {
    const Heads<T> result(s, tokens, strides, s.rows, 0, to);
    all.weighted(turned, by, x, T(0), result.write());
    result.written();
  };
  give(Transpose::yes, p, up, s.keys, s.v, gv);
  all.scores(up, of_v.read(), T(0), gs);
  softmax_jacobian_of_rows<T>(all.queries(), s.keys, scale, p, gs, gs);
  give(Transpose::no, gs, xk, s.queries, s.q, gq);
  give(Transpose::yes, gs, xq, s.keys, s.k, gk);
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
