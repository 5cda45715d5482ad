// SPDX-License-Identifier: MIT
/// \file
/// Attention in one online pass, as on the processor (`kernels/cpu/attention.hpp`): a team of
/// threads takes a tile of queries past one tile of keys after the other, values and tangents
/// together. Memory is linear in the number of tokens.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>

#include <meanflow/config.hpp>
#include <meanflow/error.hpp>
#include <meanflow/kernels/cuda/team.hpp>
#include <meanflow/kernels/reference/attention.hpp>

namespace meanflow::kernels::cuda {

/// Tiles of so many tokens, and what a team has in its memory for them.
template <class T>
struct AttentionTiles {
  AttentionShape s;
  int tile, channels;

  /// The largest tiles of which `per_token` numbers per channel and `per_pair` per pair of tokens
  /// fit. Throws CudaError if the heads are too wide even for tiles of one token.
  AttentionTiles(const AttentionShape& shape, int per_token, int per_pair)
      : s(shape), tile(32), channels(static_cast<int>(shape.channels)) {
    while (tile > 0 && numbers(per_token, per_pair) * sizeof(T) > team_memory) tile /= 2;
    if (tile == 0)
      throw CudaError("attention: heads of " + std::to_string(channels) +
                      " channels are too wide for this device's attention of long sequences");
  }
  [[nodiscard]] std::size_t numbers(int per_token, int per_pair) const {
    return static_cast<std::size_t>(tile) *
           static_cast<std::size_t>(per_token * channels + per_pair * tile + 5);
  }
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t tiles_of(std::size_t tokens) const {
    const auto each = static_cast<std::size_t>(tile);
    return (tokens + each - 1) / each;
  }
  [[nodiscard]] MEANFLOW_HOST_DEVICE bool sees(std::size_t row, std::size_t query,
                                               std::size_t key) const {
    return query < s.queries && key < s.keys && (!s.causal || key <= query) &&
           (!s.keep || s.keep[row * s.keys + key] != 0);
  }
  [[nodiscard]] static MEANFLOW_HOST_DEVICE std::size_t place(const TokenStrides& strides,
                                                              std::size_t row, std::size_t head,
                                                              std::size_t token) {
    return row * strides.row + head * strides.head + token * strides.token;
  }

  /// A tile of an operand into the team's memory, zeros beyond its end.
  MEANFLOW_HOST_DEVICE void load(Team team, const T* from, const TokenStrides& strides,
                                 std::size_t row, std::size_t head, std::size_t first,
                                 std::size_t tokens, T* to) const {
    team.each(tile * channels, [=, *this](int i) {
      const std::size_t token = first + static_cast<std::size_t>(i / channels);
      to[i] = token < tokens
                  ? from[place(strides, row, head, token) + static_cast<std::size_t>(i % channels)]
                  : T(0);
    });
  }
  /// a_i . b_j of tokens in the team's memory
  [[nodiscard]] MEANFLOW_HOST_DEVICE T product(const T* a, int i, const T* b, int j) const {
    T sum(0);
    for (int c = 0; c < channels; ++c) sum += a[i * channels + c] * b[j * channels + c];
    return sum;
  }
};

/// y, dy of a tile of queries, and the logarithms of their sums.
template <class T>
struct AttendTile {
  AttentionTiles<T> tiles;
  std::size_t tangent_rows;
  const T *q, *k, *v;
  T *y, *lse;
  static constexpr int per_token = 8, per_pair = 2;

  MEANFLOW_HOST_DEVICE void operator()(Team team, std::size_t index, T* memory) const {
    using std::exp;
    using std::log;
    const AttentionShape s = tiles.s;
    const int tile = tiles.tile, channels = tiles.channels, size = tile * channels;
    const std::size_t across = tiles.tiles_of(s.queries), of_head = index / across;
    const std::size_t first = index % across * static_cast<std::size_t>(tile);
    const std::size_t row = of_head / s.heads, head = of_head % s.heads, drow = s.rows + row;
    const bool tangent = row < tangent_rows;
    const T scale = T(1) / std::sqrt(T(channels)), lowest = -std::numeric_limits<T>::infinity();
    T *const mq = memory, *const mdq = mq + size, *const mk = mdq + size, *const mdk = mk + size,
             *const mv = mdk + size, *const mdv = mv + size, *const o = mdv + size,
             *const a = o + size, *const p = a + size, *const h = p + tile * tile,
             *const largest = h + tile * tile, *const sum = largest + tile,
             *const slope = sum + tile, *const factor = slope + tile;
    const auto t = tiles;
    t.load(team, q, s.q, row, head, first, s.queries, mq);
    if (tangent) t.load(team, q, s.q, drow, head, first, s.queries, mdq);
    team.each(size, [=](int i) { o[i] = a[i] = T(0); });
    team.each(tile, [=](int i) {
      largest[i] = lowest;
      sum[i] = slope[i] = T(0);
    });
    const std::size_t end = s.causal && first + static_cast<std::size_t>(tile) < s.keys
                                ? first + static_cast<std::size_t>(tile)
                                : s.keys;
    for (std::size_t key = 0; key < end; key += static_cast<std::size_t>(tile)) {
      t.load(team, k, s.k, row, head, key, s.keys, mk);
      t.load(team, v, s.v, row, head, key, s.keys, mv);
      if (tangent) {
        t.load(team, k, s.k, drow, head, key, s.keys, mdk);
        t.load(team, v, s.v, drow, head, key, s.keys, mdv);
      }
      team.each(tile * tile, [=](int i) {
        const int n = i / tile, j = i % tile;
        const bool seen =
            t.sees(row, first + static_cast<std::size_t>(n), key + static_cast<std::size_t>(j));
        p[i] = seen ? scale * t.product(mq, n, mk, j) : lowest;
        h[i] =
            seen && tangent ? scale * (t.product(mdq, n, mk, j) + t.product(mq, n, mdk, j)) : T(0);
      });
      team.each(tile, [=](int n) {
        T found = largest[n];
        for (int j = 0; j < tile; ++j) found = p[n * tile + j] > found ? p[n * tile + j] : found;
        const T shift = found == lowest ? T(0) : found;
        const T rescaled = largest[n] == lowest ? T(0) : exp(largest[n] - shift);
        T added(0), slopes(0);
        for (int j = 0; j < tile; ++j) {
          T& weight = p[n * tile + j];
          weight = exp(weight - shift);
          h[n * tile + j] *= weight;
          added += weight;
          slopes += h[n * tile + j];
        }
        largest[n] = found;
        sum[n] = sum[n] * rescaled + added;
        slope[n] = slope[n] * rescaled + slopes;
        factor[n] = rescaled;
      });
      team.each(size, [=](int i) {
        const int n = i / channels, c = i % channels;
        T value = o[i] * factor[n], derivative = a[i] * factor[n];
        for (int j = 0; j < tile; ++j) {
          const T weight = p[n * tile + j], of_v = mv[j * channels + c];
          value += weight * of_v;
          if (tangent) derivative += weight * mdv[j * channels + c] + h[n * tile + j] * of_v;
        }
        o[i] = value;
        a[i] = derivative;
      });
    }
    team.each(size, [=, *this](int i) {
      const int n = i / channels;
      const std::size_t query = first + static_cast<std::size_t>(n);
      if (query >= s.queries) return;
      const auto c = static_cast<std::size_t>(i % channels);
      const T inverse = sum[n] == T(0) ? T(0) : T(1) / sum[n], value = o[i] * inverse;
      y[t.place(s.y, row, head, query) + c] = value;
      if (tangent) y[t.place(s.y, drow, head, query) + c] = (a[i] - slope[n] * value) * inverse;
      if (lse && c == 0)
        lse[of_head * s.queries + query] = sum[n] == T(0) ? T(0) : largest[n] + log(sum[n]);
    });
  }
};

/// The weights p and their gradients gs of a tile of queries and one of keys, which both parts of
/// the backward pass make again.
template <class T>
struct AttentionBackwardTiles {
  AttentionTiles<T> tiles;
  const T *q, *k, *v, *y, *lse, *g;
  static constexpr int per_token = 7, per_pair = 2;

  /// Queries' tiles of q, g and the sums of g y.
  MEANFLOW_HOST_DEVICE void load_queries(Team team, std::size_t row, std::size_t head,
                                         std::size_t first, T* mq, T* mg, T* my, T* means) const {
    const AttentionShape& s = tiles.s;
    tiles.load(team, q, s.q, row, head, first, s.queries, mq);
    tiles.load(team, g, s.y, row, head, first, s.queries, mg);
    tiles.load(team, y, s.y, row, head, first, s.queries, my);
    const auto t = tiles;
    team.each(tiles.tile, [=](int n) { means[n] = t.product(mg, n, my, n); });
  }
  MEANFLOW_HOST_DEVICE void weights(Team team, std::size_t row, std::size_t head, std::size_t query,
                                    std::size_t key, const T* mq, const T* mg, const T* means,
                                    const T* mk, const T* mv, T* p, T* gs) const {
    const auto t = tiles;
    const T scale = T(1) / std::sqrt(T(t.channels));
    const T* const sums = lse + (row * t.s.heads + head) * t.s.queries;
    team.each(t.tile * t.tile, [=](int i) {
      using std::exp;
      const int n = i / t.tile, j = i % t.tile;
      const std::size_t of_query = query + static_cast<std::size_t>(n);
      const bool seen = t.sees(row, of_query, key + static_cast<std::size_t>(j));
      p[i] = seen ? exp(scale * t.product(mq, n, mk, j) - sums[of_query]) : T(0);
      gs[i] = seen ? p[i] * (t.product(mg, n, mv, j) - means[n]) * scale : T(0);
    });
  }
};

/// gq of a tile of queries.
template <class T>
struct AttentionGradientOfQueries {
  AttentionBackwardTiles<T> all;
  T* gq;

  MEANFLOW_HOST_DEVICE void operator()(Team team, std::size_t index, T* memory) const {
    const auto t = all.tiles;
    const AttentionShape s = t.s;
    const int tile = t.tile, channels = t.channels, size = tile * channels;
    const std::size_t across = t.tiles_of(s.queries), of_head = index / across;
    const std::size_t first = index % across * static_cast<std::size_t>(tile);
    const std::size_t row = of_head / s.heads, head = of_head % s.heads;
    T *const mq = memory, *const mg = mq + size, *const my = mg + size, *const mk = my + size,
             *const mv = mk + size, *const sum = mv + size, *const p = sum + 2 * size,
             *const gs = p + tile * tile, *const means = gs + tile * tile;
    all.load_queries(team, row, head, first, mq, mg, my, means);
    team.each(size, [=](int i) { sum[i] = T(0); });
    for (std::size_t key = 0; key < s.keys; key += static_cast<std::size_t>(tile)) {
      t.load(team, all.k, s.k, row, head, key, s.keys, mk);
      t.load(team, all.v, s.v, row, head, key, s.keys, mv);
      all.weights(team, row, head, first, key, mq, mg, means, mk, mv, p, gs);
      team.each(size, [=](int i) {
        const int n = i / channels, c = i % channels;
        for (int j = 0; j < tile; ++j) sum[i] += gs[n * tile + j] * mk[j * channels + c];
      });
    }
    team.each(size, [=, *this](int i) {
      const std::size_t query = first + static_cast<std::size_t>(i / channels);
      if (query < s.queries)
        gq[t.place(s.q, row, head, query) + static_cast<std::size_t>(i % channels)] = sum[i];
    });
  }
};

/// gk and gv of a tile of keys.
template <class T>
struct AttentionGradientOfKeys {
  AttentionBackwardTiles<T> all;
  T *gk, *gv;

  MEANFLOW_HOST_DEVICE void operator()(Team team, std::size_t index, T* memory) const {
    const auto t = all.tiles;
    const AttentionShape s = t.s;
    const int tile = t.tile, channels = t.channels, size = tile * channels;
    const std::size_t across = t.tiles_of(s.keys), of_head = index / across;
    const std::size_t key = index % across * static_cast<std::size_t>(tile);
    const std::size_t row = of_head / s.heads, head = of_head % s.heads;
    T *const mq = memory, *const mg = mq + size, *const my = mg + size, *const mk = my + size,
             *const mv = mk + size, *const of_k = mv + size, *const of_v = of_k + size,
             *const p = of_v + size, *const gs = p + tile * tile, *const means = gs + tile * tile;
    t.load(team, all.k, s.k, row, head, key, s.keys, mk);
    t.load(team, all.v, s.v, row, head, key, s.keys, mv);
    team.each(size, [=](int i) { of_k[i] = of_v[i] = T(0); });
    for (std::size_t query = 0; query < s.queries; query += static_cast<std::size_t>(tile)) {
      all.load_queries(team, row, head, query, mq, mg, my, means);
      all.weights(team, row, head, query, key, mq, mg, means, mk, mv, p, gs);
      team.each(size, [=](int i) {
        const int j = i / channels, c = i % channels;
        for (int n = 0; n < tile; ++n) {
          of_k[i] += gs[n * tile + j] * mq[n * channels + c];
          of_v[i] += p[n * tile + j] * mg[n * channels + c];
        }
      });
    }
    team.each(size, [=, *this](int i) {
      const std::size_t token = key + static_cast<std::size_t>(i / channels);
      if (token >= s.keys) return;
      const auto c = static_cast<std::size_t>(i % channels);
      gk[t.place(s.k, row, head, token) + c] = of_k[i];
      gv[t.place(s.v, row, head, token) + c] = of_v[i];
    });
  }
};

}  // namespace meanflow::kernels::cuda
