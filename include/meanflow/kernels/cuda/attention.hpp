// SPDX-License-Identifier: MIT
/// \file
/// Softmax attention of all rows and heads at once. `kernels/attention.hpp` says what each kernel
/// computes; these are preferred to those, also for devices derived from this one.
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>

#include <meanflow/kernels/attention.hpp>
#include <meanflow/kernels/cuda/memory.hpp>
#include <meanflow/kernels/cuda/product.hpp>
#include <meanflow/kernels/cuda/reductions.hpp>
#include <meanflow/kernels/cuda/shapes.hpp>
#include <meanflow/kernels/cuda/tag.hpp>

namespace meanflow::kernels {

namespace cuda {

/// The strides of products between matrices of tokens and channels (`head`) and of tokens and
/// tokens (`square`).
struct Heads {
  explicit Heads(const AttentionShape& s)
      : count(s.heads),
        tokens(s.tokens),
        channels(s.channels),
        head(s.tokens * s.channels),
        square(s.tokens * s.tokens) {}

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

  std::size_t count, tokens, channels, head, square;
};

}  // namespace cuda

template <std::derived_from<Cuda> Device, class T>
void attention(Device, const AttentionShape& s, const T* q, const T* k, const T* v, T* p, T* y) {
  const cuda::Heads heads(s);
  const std::size_t all = s.heads * heads.square;
  heads.scores(q, k, T(0), p);
  affine(Cuda{}, all, std::size_t{0}, T(1 / std::sqrt(static_cast<double>(s.channels))), T(0), p,
         p);
  softmax(Cuda{}, s.heads * s.tokens, s.tokens, p, p);
  heads.weighted(Transpose::no, p, v, T(0), y);
}

template <std::derived_from<Cuda> Device, class T>
void attention_tangent(Device, const AttentionShape& s, const T* q, const T* dq, const T* k,
                       const T* dk, const T* v, const T* dv, const T* p, T* dy) {
  const cuda::Heads heads(s);
  const std::size_t all = s.heads * heads.square;
  const cuda::Scratch<T> memory(all);
  T* dp = memory.data();
  heads.scores(dq, k, T(0), dp);
  heads.scores(q, dk, T(1), dp);
  affine(Cuda{}, all, std::size_t{0}, T(1 / std::sqrt(static_cast<double>(s.channels))), T(0), dp,
         dp);
  softmax_jacobian(Cuda{}, s.heads * s.tokens, s.tokens, p, dp, dp);
  heads.weighted(Transpose::no, dp, v, T(0), dy);
  heads.weighted(Transpose::no, p, dv, T(1), dy);
}

template <std::derived_from<Cuda> Device, class T>
void attention_backward(Device, const AttentionShape& s, const T* q, const T* k, const T* v,
                        const T* p, const T* g, T* gq, T* gk, T* gv) {
  const cuda::Heads heads(s);
  const std::size_t all = s.heads * heads.square;
  const cuda::Scratch<T> memory(all);
  T* gs = memory.data();
  heads.weighted(Transpose::yes, p, g, T(0), gv);
  heads.scores(g, v, T(0), gs);
  softmax_jacobian(Cuda{}, s.heads * s.tokens, s.tokens, p, gs, gs);
  affine(Cuda{}, all, std::size_t{0}, T(1 / std::sqrt(static_cast<double>(s.channels))), T(0), gs,
         gs);
  heads.weighted(Transpose::no, gs, k, T(0), gq);
  heads.weighted(Transpose::yes, gs, q, T(0), gk);
}

}  // namespace meanflow::kernels
