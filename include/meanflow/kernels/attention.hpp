// SPDX-License-Identifier: MIT
/// \file
/// Softmax attention, composed of the products and softmax of any device, one (row, head) at a
/// time.
#pragma once

#include <cmath>
#include <cstddef>

#include <meanflow/kernels/reference.hpp>
#include <meanflow/kernels/scratch.hpp>

namespace meanflow {

/// The extents of attention: `heads` is rows times heads, each with `tokens` of `channels`.
struct AttentionShape {
  std::size_t heads, tokens, channels;
};

namespace kernels {

/// p = softmax(q k^T / sqrt(channels)) (heads, tokens, tokens), y = p v; q, k, v, y
/// (heads, tokens, channels).
template <class Device, class T>
void attention(Device device, const AttentionShape& s, const T* q, const T* k, const T* v, T* p,
               T* y) {
  const T scale = T(1 / std::sqrt(static_cast<double>(s.channels)));
  const std::size_t head = s.tokens * s.channels, square = s.tokens * s.tokens;
  parallel_for(device, s.heads, 1, [=](std::size_t first, std::size_t last) {
    for (std::size_t h = first; h < last; ++h) {
      T* weights = p + h * square;
      gemm(Device{}, Transpose::no, Transpose::yes, s.tokens, s.tokens, s.channels, q + h * head,
           k + h * head, T(0), weights);
      affine(Device{}, square, std::size_t{0}, scale, T(0), weights, weights);
      softmax(Device{}, s.tokens, s.tokens, weights, weights);
      gemm(Device{}, Transpose::no, Transpose::no, s.tokens, s.channels, s.tokens, weights,
           v + h * head, T(0), y + h * head);
    }
  });
}

/// dy = dp v + p dv, dp the tangent of the softmax along (dq k^T + q dk^T) / sqrt(channels).
template <class Device, class T>
void attention_tangent(Device device, const AttentionShape& s, const T* q, const T* dq, const T* k,
                       const T* dk, const T* v, const T* dv, const T* p, T* dy) {
  const T scale = T(1 / std::sqrt(static_cast<double>(s.channels)));
  const std::size_t head = s.tokens * s.channels, square = s.tokens * s.tokens;
  parallel_for(device, s.heads, 1, [=](std::size_t first, std::size_t last) {
    const detail::Scratch<T, Device> memory(square);
    T* dp = memory.data();
    for (std::size_t h = first; h < last; ++h) {
      const std::size_t at = h * head;
      gemm(Device{}, Transpose::no, Transpose::yes, s.tokens, s.tokens, s.channels, dq + at, k + at,
           T(0), dp);
      gemm(Device{}, Transpose::no, Transpose::yes, s.tokens, s.tokens, s.channels, q + at, dk + at,
           T(1), dp);
      affine(Device{}, square, std::size_t{0}, scale, T(0), dp, dp);
      softmax_jacobian(Device{}, s.tokens, s.tokens, p + h * square, dp, dp);
      gemm(Device{}, Transpose::no, Transpose::no, s.tokens, s.channels, s.tokens, dp, v + at, T(0),
           dy + at);
      gemm(Device{}, Transpose::no, Transpose::no, s.tokens, s.channels, s.tokens, p + h * square,
           dv + at, T(1), dy + at);
    }
  });
}

/// gv = p^T g; with s = J(p) (g v^T) / sqrt(channels): gq = s k, gk = s^T q.
template <class Device, class T>
void attention_backward(Device device, const AttentionShape& s, const T* q, const T* k, const T* v,
                        const T* p, const T* g, T* gq, T* gk, T* gv) {
  const T scale = T(1 / std::sqrt(static_cast<double>(s.channels)));
  const std::size_t head = s.tokens * s.channels, square = s.tokens * s.tokens;
  parallel_for(device, s.heads, 1, [=](std::size_t first, std::size_t last) {
    const detail::Scratch<T, Device> memory(square);
    T* gs = memory.data();
    for (std::size_t h = first; h < last; ++h) {
      const std::size_t at = h * head;
      const T* weights = p + h * square;
      gemm(Device{}, Transpose::yes, Transpose::no, s.tokens, s.channels, s.tokens, weights, g + at,
           T(0), gv + at);
      gemm(Device{}, Transpose::no, Transpose::yes, s.tokens, s.tokens, s.channels, g + at, v + at,
           T(0), gs);
      softmax_jacobian(Device{}, s.tokens, s.tokens, weights, gs, gs);
      affine(Device{}, square, std::size_t{0}, scale, T(0), gs, gs);
      gemm(Device{}, Transpose::no, Transpose::no, s.tokens, s.channels, s.tokens, gs, k + at, T(0),
           gq + at);
      gemm(Device{}, Transpose::yes, Transpose::no, s.tokens, s.channels, s.tokens, gs, q + at,
           T(0), gk + at);
    }
  });
}

}  // namespace kernels
}  // namespace meanflow
