// SPDX-License-Identifier: MIT
/// \file
/// Convolutions as plain loops, channels last; weights as PyTorch has them, (out, in, kernel,
/// kernel).
#pragma once

#include <cstddef>

#include <meanflow/kernels/conv_shape.hpp>
#include <meanflow/tensor/device.hpp>

namespace meanflow {

/// To half or to twice the height and width.
enum class Resampling { down, up };

namespace kernels {

namespace detail {

/// f(index into x, index into w, index into y) for every product that a convolution sums.
template <class F>
void for_each_tap(const ConvShape& s, F f) {
  for (std::size_t r = 0; r < s.rows; ++r)
    for (std::size_t oy = 0; oy < s.out_height(); ++oy)
      for (std::size_t ox = 0; ox < s.out_width(); ++ox)
        for (std::size_t ky = 0; ky < s.kernel.height; ++ky)
          for (std::size_t kx = 0; kx < s.kernel.width; ++kx) {
            const std::size_t iy = oy * s.stride + ky, ix = ox * s.stride + kx;
            if (iy < s.padding.height || iy >= s.height + s.padding.height) continue;
            if (ix < s.padding.width || ix >= s.width + s.padding.width) continue;
            const std::size_t x =
                ((r * s.height + iy - s.padding.height) * s.width + ix - s.padding.width) * s.in;
            const std::size_t y = ((r * s.out_height() + oy) * s.out_width() + ox) * s.out;
            for (std::size_t o = 0; o < s.out; ++o)
              for (std::size_t i = 0; i < s.in; ++i)
                f(x + i, ((o * s.in + i) * s.kernel.height + ky) * s.kernel.width + kx, y + o);
          }
}

}  // namespace detail

/// y = x * w
template <class T>
void conv2d(Reference, const ConvShape& s, const T* x, const T* w, T* y) {
  const std::size_t size = s.rows * s.out_height() * s.out_width() * s.out;
  for (std::size_t i = 0; i < size; ++i) y[i] = T(0);
  detail::for_each_tap(s,
                       [=](std::size_t i, std::size_t k, std::size_t o) { y[o] += x[i] * w[k]; });
}

/// gx = gradient of <g, x * w> by x
template <class T>
void conv2d_backward_data(Reference, const ConvShape& s, const T* g, const T* w, T* gx) {
  const std::size_t size = s.rows * s.height * s.width * s.in;
  for (std::size_t i = 0; i < size; ++i) gx[i] = T(0);
  detail::for_each_tap(s,
                       [=](std::size_t i, std::size_t k, std::size_t o) { gx[i] += g[o] * w[k]; });
}

/// gw += gradient of <g, x * w> by w
template <class T>
void conv2d_backward_weights(Reference, const ConvShape& s, const T* x, const T* g, T* gw) {
  detail::for_each_tap(s,
                       [=](std::size_t i, std::size_t k, std::size_t o) { gw[k] += g[o] * x[i]; });
}

/// y = x filtered along height and width by `taps` numbers and resampled by 2, channel by channel;
/// even `taps`, centred. Down: y[o] = sum of f[k] x[2 o + k - p]; up, its adjoint:
/// y[2 i + k - p] += f[k] x[i]; p = taps / 2 - 1. `height` and `width` are those of x.
template <class T>
void resample(Reference, Resampling direction, std::size_t rows, std::size_t height,
              std::size_t width, std::size_t channels, std::size_t taps, const T* f, const T* x,
              T* y) {
  const bool up = direction == Resampling::up;
  const std::size_t out_height = up ? 2 * height : height / 2;
  const std::size_t out_width = up ? 2 * width : width / 2;
  const std::size_t fine_height = up ? out_height : height, fine_width = up ? out_width : width;
  const std::size_t coarse_height = fine_height / 2, coarse_width = fine_width / 2;
  for (std::size_t i = 0; i < rows * out_height * out_width * channels; ++i) y[i] = T(0);
  const std::size_t pad = taps / 2 - 1;
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t cy = 0; cy < coarse_height; ++cy)
      for (std::size_t cx = 0; cx < coarse_width; ++cx)
        for (std::size_t ky = 0; ky < taps; ++ky)
          for (std::size_t kx = 0; kx < taps; ++kx) {
            if (2 * cy + ky < pad || 2 * cy + ky - pad >= fine_height) continue;
            if (2 * cx + kx < pad || 2 * cx + kx - pad >= fine_width) continue;
            const std::size_t fy = 2 * cy + ky - pad, fx = 2 * cx + kx - pad;
            const std::size_t fine = ((r * fine_height + fy) * fine_width + fx) * channels;
            const std::size_t coarse = ((r * coarse_height + cy) * coarse_width + cx) * channels;
            for (std::size_t c = 0; c < channels; ++c)
              if (up)
                y[fine + c] += f[ky] * f[kx] * x[coarse + c];
              else
                y[coarse + c] += f[ky] * f[kx] * x[fine + c];
          }
}

}  // namespace kernels
}  // namespace meanflow
