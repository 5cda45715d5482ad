// SPDX-License-Identifier: MIT
/// \file
/// Softmax attention on the processor in one online pass: a block of queries meets one block of
/// keys after the other, values and tangents together, so that no (queries x keys) matrix is ever
/// in memory. `kernels/reference/attention.hpp` says what each kernel computes.
///
/// Per block, with the largest score m so far, and all sums rescaled by e^(m_old - m_new):
///   P = e^(S - m),  H = P * dS,  l += sum of P,  h += sum of H,
///   O += P v,  A += P dv + H v;      at the end  y = O / l,  dy = (A - h y) / l,  lse = m + ln l.
/// The backward pass makes P again from lse. Values do not depend on whether there are tangents.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include <meanflow/kernels/cpu.hpp>
#include <meanflow/kernels/cpu/small_product.hpp>
#include <meanflow/kernels/cpu/transposition.hpp>
#include <meanflow/kernels/reference/attention.hpp>
#include <meanflow/kernels/scratch.hpp>

namespace meanflow::kernels {

namespace detail {

/// Queries and keys at a time: scores and slopes of a block stay in a core's second-level cache.
inline constexpr std::size_t query_block = 96, key_block = 256;

/// One head of one row: where its tokens lie.
template <class T>
struct HeadTokens {
  const T* data;
  std::size_t token;

  HeadTokens(const T* operand, const TokenStrides& s, std::size_t row, std::size_t head)
      : data(operand + row * s.row + head * s.head), token(s.token) {}
  [[nodiscard]] const T* at(std::size_t index) const { return data + index * token; }
  [[nodiscard]] MatrixView<T> from(std::size_t index) const { return {at(index), token}; }
};

/// Scores of the keys that a query does not see become -infinity.
template <class T>
void hide_keys(const AttentionShape& s, std::size_t row, std::size_t query, std::size_t first_key,
               std::size_t keys, T* scores) {
  if (!s.causal && !s.keep) return;
  for (std::size_t j = 0; j < keys; ++j)
    if (!s.sees(row, query, first_key + j)) scores[j] = -std::numeric_limits<T>::infinity();
}

/// The keys that any query before `queries` sees.
[[nodiscard]] inline std::size_t keys_in_sight(const AttentionShape& s, std::size_t queries) {
  return s.causal ? std::min(s.keys, queries) : s.keys;
}

/// The largest of n numbers.
template <class T>
[[nodiscard]] T largest_of(std::size_t n, const T* x) {
  using Batch = xsimd::batch<T>;
  constexpr std::size_t width = Batch::size;
  T largest = -std::numeric_limits<T>::infinity();
  std::size_t i = 0;
  if (n >= width) {
    Batch all = Batch::load_unaligned(x);
    for (i = width; i + width <= n; i += width) all = xsimd::max(all, Batch::load_unaligned(x + i));
    alignas(64) T lanes[width];
    all.store_aligned(lanes);
    for (const T lane : lanes) largest = lane > largest ? lane : largest;
  }
  for (; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

/// The sums of a block of queries, rescaled whenever a larger score appears.
template <class T>
class OnlineSoftmax {
  using Batch = xsimd::batch<T>;

 public:
  OnlineSoftmax(std::size_t queries, std::size_t channels)
      : channels_(channels), numbers_(queries * (3 + 2 * channels)), queries_(queries) {}

  [[nodiscard]] T* largest() const { return numbers_.data(); }
  [[nodiscard]] T* sum() const { return numbers_.data() + queries_; }
  [[nodiscard]] T* slope() const { return numbers_.data() + 2 * queries_; }
  [[nodiscard]] T* values() const { return numbers_.data() + 3 * queries_; }
  [[nodiscard]] T* tangents() const { return values() + queries_ * channels_; }

  void begin(std::size_t queries) const {
    std::fill_n(largest(), queries, -std::numeric_limits<T>::infinity());
    std::fill_n(sum(), queries, T(0));
    std::fill_n(slope(), queries, T(0));
    std::fill_n(values(), queries * channels_, T(0));
    std::fill_n(tangents(), queries * channels_, T(0));
  }

  /// Turns the scores of query i into P, and `slopes`, unless null, into H.
  void take(std::size_t i, std::size_t keys, T* scores, T* slopes) const {
    const T known = largest()[i], found = std::max(known, largest_of(keys, scores));
    if (found > known)
      rescale(i, known == -std::numeric_limits<T>::infinity() ? T(0) : std::exp(known - found));
    largest()[i] = found;
    // A query that has seen no key yet has no largest score: all its P are 0.
    const Batch shift(found == -std::numeric_limits<T>::infinity() ? T(0) : found);
    for_each_batch<T>(0, keys, [=](auto lanes, std::size_t j) {
      lanes.store(scores + j, xsimd::exp(lanes.load(scores + j) - shift));
    });
    sum()[i] +=
        sum_of_batches<T>(0, keys, [=](auto lanes, auto j) { return lanes.load(scores + j); });
    if (!slopes) return;
    slope()[i] += sum_of_batches<T>(0, keys, [=](auto lanes, auto j) {
      const Batch h = lanes.load(scores + j) * lanes.load(slopes + j);
      lanes.store(slopes + j, h);
      return h;
    });
  }

  /// y of query i, and dy unless null.
  void finish(std::size_t i, T* y, T* dy, T* lse) const {
    const T inverse = sum()[i] == T(0) ? T(0) : T(1) / sum()[i];
    const T *o = values() + i * channels_, *a = tangents() + i * channels_;
    const T h = slope()[i];
    for (std::size_t c = 0; c < channels_; ++c) {
      y[c] = o[c] * inverse;
      if (dy) dy[c] = (a[c] - h * y[c]) * inverse;
    }
    if (lse) *lse = sum()[i] == T(0) ? T(0) : largest()[i] + std::log(sum()[i]);
  }

 private:
  void rescale(std::size_t i, T factor) const {
    sum()[i] *= factor;
    slope()[i] *= factor;
    for (std::size_t c = 0; c < channels_; ++c) {
      values()[i * channels_ + c] *= factor;
      tangents()[i * channels_ + c] *= factor;
    }
  }

  std::size_t channels_;
  Scratch<T> numbers_;
  std::size_t queries_;
};

/// Which queries of which head a task has.
struct QueryRange {
  std::size_t row, head, first, last;
};

/// f(range) for all queries: a head is one task, or several if there are fewer heads than threads.
template <class F>
void for_each_query_range(const AttentionShape& s, F f) {
  const std::size_t heads = s.rows * s.heads;
  const std::size_t blocks = (s.queries + query_block - 1) / query_block;
  const std::size_t threads = workers(Cpu{});
  const std::size_t parts = heads == 0 || heads >= threads || blocks == 0
                                ? 1
                                : std::min(blocks, (threads + heads - 1) / heads);
  const std::size_t work = s.queries * s.keys * s.channels / parts + 1;
  const std::size_t grain = std::max<std::size_t>(1, 8 * parallel_grain / work);
  parallel_for(Cpu{}, heads * parts, grain, [&](std::size_t from, std::size_t to) {
    for (std::size_t task = from; task < to; ++task) {
      const std::size_t head = task / parts, part = task % parts;
      const auto border = [&](std::size_t i) {
        return std::min(s.queries, blocks * i / parts * query_block);
      };
      f(QueryRange{head / s.heads, head % s.heads, border(part), border(part + 1)});
    }
  });
}

/// The queries of one range, with tangents if `tangent`.
template <class T>
void attend(const AttentionShape& s, const QueryRange& range, bool tangent, const T* q, const T* k,
            const T* v, T* y, T* lse) {
  const auto [row, head, first, last] = range;
  const std::size_t channels = s.channels, drow = s.rows + row;
  const HeadTokens<T> Q(q, s.q, row, head), K(k, s.k, row, head), V(v, s.v, row, head);
  const HeadTokens<T> dQ(q, s.q, drow, head), dK(k, s.k, drow, head), dV(v, s.v, drow, head);
  const std::size_t most_queries = std::min(query_block, last - first);
  const std::size_t most_keys = std::min(key_block, s.keys);
  const std::size_t all = keys_in_sight(s, last);
  const Scratch<T> turned((tangent ? 2 : 1) * channels * all);
  const Scratch<T> blocks((tangent ? 2 : 1) * most_queries * most_keys);
  T *const kt = turned.data(), *const dkt = kt + channels * all;
  T *const scores = blocks.data(), *const slopes =
                                       tangent ? scores + most_queries * most_keys : nullptr;
  transpose(all, channels, K.data, K.token, kt, all);
  if (tangent) transpose(all, channels, dK.data, dK.token, dkt, all);
  const OnlineSoftmax<T> sums(most_queries, channels);
  const T scale = T(s.scale());
  for (std::size_t i = first; i < last; i += query_block) {
    const std::size_t queries = std::min(query_block, last - i);
    sums.begin(queries);
    for (std::size_t j = 0; j < keys_in_sight(s, i + queries); j += key_block) {
      const std::size_t keys = std::min(key_block, keys_in_sight(s, i + queries) - j);
      small_product<T>(queries, keys, channels, Q.from(i), kt + j, all, scale, false, scores, keys);
      if (tangent) {
        small_product<T>(queries, keys, channels, dQ.from(i), kt + j, all, scale, false, slopes,
                         keys);
        small_product<T>(queries, keys, channels, Q.from(i), dkt + j, all, scale, true, slopes,
                         keys);
      }
      for (std::size_t n = 0; n < queries; ++n) {
        hide_keys(s, row, i + n, j, keys, scores + n * keys);
        sums.take(n, keys, scores + n * keys, tangent ? slopes + n * keys : nullptr);
      }
      const MatrixView<T> P{scores, keys}, H{slopes, keys};
      small_product<T>(queries, channels, keys, P, V.at(j), V.token, T(1), true, sums.values(),
                       channels);
      if (tangent) {
        small_product<T>(queries, channels, keys, P, dV.at(j), dV.token, T(1), true,
                         sums.tangents(), channels);
        small_product<T>(queries, channels, keys, H, V.at(j), V.token, T(1), true, sums.tangents(),
                         channels);
      }
    }
    for (std::size_t n = 0; n < queries; ++n)
      sums.finish(n, y + place(s.y, row, head, i + n),
                  tangent ? y + place(s.y, drow, head, i + n) : nullptr,
                  lse ? lse + (row * s.heads + head) * s.queries + i + n : nullptr);
  }
}

/// Scores and what comes back from the values, of a block of queries and keys, turned into P and
/// gs = P (g v^T - mean) / sqrt(channels).
template <class T>
void attention_slopes(std::size_t keys, T lse, T mean, T scale, T* scores, T* slopes) {
  using Batch = xsimd::batch<T>;
  for_each_batch<T>(0, keys, [=](auto lanes, std::size_t j) {
    const Batch p = xsimd::exp(lanes.load(scores + j) - Batch(lse));
    lanes.store(scores + j, p);
    lanes.store(slopes + j, p * (lanes.load(slopes + j) - Batch(mean)) * Batch(scale));
  });
}

template <class T>
void zero_tokens(const TokenStrides& strides, std::size_t row, std::size_t head, std::size_t tokens,
                 std::size_t channels, T* x) {
  for (std::size_t i = 0; i < tokens; ++i)
    std::fill_n(x + place(strides, row, head, i), channels, T(0));
}

template <class T>
void attend_backward(const AttentionShape& s, std::size_t row, std::size_t head, const T* q,
                     const T* k, const T* v, const T* y, const T* lse, const T* g, T* gq, T* gk,
                     T* gv) {
  const std::size_t channels = s.channels;
  const HeadTokens<T> Q(q, s.q, row, head), K(k, s.k, row, head), V(v, s.v, row, head),
      Y(y, s.y, row, head), G(g, s.y, row, head);
  const std::size_t most_keys = std::min(key_block, s.keys);
  const std::size_t most_queries = std::min(query_block, s.queries);
  const Scratch<T> turned(2 * channels * most_keys), blocks(2 * most_queries * most_keys),
      means(s.queries);
  T *const kt = turned.data(), *const vt = kt + channels * most_keys;
  T *const scores = blocks.data(), *const slopes = scores + most_queries * most_keys;
  for (std::size_t i = 0; i < s.queries; ++i)
    means.data()[i] = sum_of_batches<T>(0, channels, [&](auto lanes, std::size_t c) {
      return lanes.load(Y.at(i) + c) * lanes.load(G.at(i) + c);
    });
  zero_tokens(s.q, row, head, s.queries, channels, gq);
  zero_tokens(s.k, row, head, s.keys, channels, gk);
  zero_tokens(s.v, row, head, s.keys, channels, gv);
  const T scale = T(s.scale());
  for (std::size_t j = 0; j < s.keys; j += key_block) {
    const std::size_t keys = std::min(key_block, s.keys - j);
    transpose(keys, channels, K.at(j), K.token, kt, keys);
    transpose(keys, channels, V.at(j), V.token, vt, keys);
    // Queries before the first key of the block do not see it.
    for (std::size_t i = s.causal ? j / query_block * query_block : 0; i < s.queries;
         i += query_block) {
      const std::size_t queries = std::min(query_block, s.queries - i);
      small_product<T>(queries, keys, channels, Q.from(i), kt, keys, scale, false, scores, keys);
      small_product<T>(queries, keys, channels, G.from(i), vt, keys, T(1), false, slopes, keys);
      for (std::size_t n = 0; n < queries; ++n) {
        hide_keys(s, row, i + n, j, keys, scores + n * keys);
        attention_slopes(keys, lse[(row * s.heads + head) * s.queries + i + n], means.data()[i + n],
                         scale, scores + n * keys, slopes + n * keys);
      }
      const MatrixView<T> P{scores, keys}, S{slopes, keys};
      small_product<T>(keys, channels, queries, P.transposed(), G.at(i), G.token, T(1), true,
                       gv + place(s.v, row, head, j), s.v.token);
      small_product<T>(queries, channels, keys, S, K.at(j), K.token, T(1), true,
                       gq + place(s.q, row, head, i), s.q.token);
      small_product<T>(keys, channels, queries, S.transposed(), Q.at(i), Q.token, T(1), true,
                       gk + place(s.k, row, head, j), s.k.token);
    }
  }
}

}  // namespace detail

template <class T>
void attention(Cpu, const AttentionShape& s, std::size_t tangent_rows, const T* q, const T* k,
               const T* v, T* y, T* lse) {
  detail::for_each_query_range(s, [&](const detail::QueryRange& range) {
    detail::attend(s, range, range.row < tangent_rows, q, k, v, y, lse);
  });
}

template <class T>
void attention_backward(Cpu, const AttentionShape& s, const T* q, const T* k, const T* v,
                        const T* y, const T* lse, const T* g, T* gq, T* gk, T* gv) {
  const std::size_t work = s.queries * s.keys * s.channels + 1;
  const std::size_t grain = std::max<std::size_t>(1, 8 * detail::parallel_grain / work);
  parallel_for(Cpu{}, s.rows * s.heads, grain, [&](std::size_t first, std::size_t last) {
    for (std::size_t task = first; task < last; ++task)
      detail::attend_backward(s, task / s.heads, task % s.heads, q, k, v, y, lse, g, gq, gk, gv);
  });
}

}  // namespace meanflow::kernels
