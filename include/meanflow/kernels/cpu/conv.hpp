// SPDX-License-Identifier: MIT
/// \file
/// Convolutions on the processor: Winograd's algorithm for floats where it suits them, else oneDNN
/// where the build found it, products of one image's patches at a time otherwise.
/// `kernels/reference/conv.hpp` says what each computes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include <meanflow/kernels/biased_conv.hpp>
#include <meanflow/kernels/convolution_algorithm.hpp>
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/kernels/cpu/winograd.hpp>
#include <meanflow/kernels/onednn/conv.hpp>
#include <meanflow/kernels/reference/conv.hpp>
#include <meanflow/kernels/scratch.hpp>

namespace meanflow::kernels {

namespace detail {

/// The elements of a patch, (kernel height, kernel width, in), in the order that `patches` lays
/// them out.
[[nodiscard]] inline std::size_t patch_size(const ConvShape& s) { return s.kernel.size() * s.in; }

/// w (out, in, k, k) to (out, k, k, in).
template <class T>
void weights_to_patches(const ConvShape& s, const T* w, T* packed) {
  const std::size_t taps = s.kernel.size();
  for (std::size_t o = 0; o < s.out; ++o)
    for (std::size_t i = 0; i < s.in; ++i)
      for (std::size_t k = 0; k < taps; ++k)
        packed[(o * taps + k) * s.in + i] = w[(o * s.in + i) * taps + k];
}

template <class T>
void add_patches_to_weights(const ConvShape& s, const T* packed, T* w) {
  const std::size_t taps = s.kernel.size();
  for (std::size_t o = 0; o < s.out; ++o)
    for (std::size_t i = 0; i < s.in; ++i)
      for (std::size_t k = 0; k < taps; ++k)
        w[(o * s.in + i) * taps + k] += packed[(o * taps + k) * s.in + i];
}

/// f(offset into the image or none, offset into the patches) for every tap of one image.
template <class F>
void for_each_patch_tap(const ConvShape& s, F f) {
  const std::size_t size = patch_size(s);
  for (std::size_t oy = 0; oy < s.out_height(); ++oy)
    for (std::size_t ox = 0; ox < s.out_width(); ++ox)
      for (std::size_t ky = 0; ky < s.kernel.height; ++ky)
        for (std::size_t kx = 0; kx < s.kernel.width; ++kx) {
          const std::size_t iy = oy * s.stride + ky, ix = ox * s.stride + kx;
          const HeightWidth& pad = s.padding;
          const bool inside = iy >= pad.height && iy < s.height + pad.height && ix >= pad.width &&
                              ix < s.width + pad.width;
          const std::size_t image =
              inside ? ((iy - pad.height) * s.width + ix - pad.width) * s.in : 0;
          f(inside, image, (oy * s.out_width() + ox) * size + (ky * s.kernel.width + kx) * s.in);
        }
}

/// The patches of one image, (out_height out_width, kernel kernel in).
template <class T>
void patches(const ConvShape& s, const T* image, T* rows) {
  for_each_patch_tap(s, [&](bool inside, std::size_t from, std::size_t to) {
    if (inside)
      std::copy_n(image + from, s.in, rows + to);
    else
      std::fill_n(rows + to, s.in, T(0));
  });
}

/// The adjoint of `patches`: image = sum of what each patch holds of a pixel.
template <class T>
void add_patches(const ConvShape& s, const T* rows, T* image) {
  std::fill_n(image, s.height * s.width * s.in, T(0));
  for_each_patch_tap(s, [&](bool inside, std::size_t to, std::size_t from) {
    if (!inside) return;
    for (std::size_t i = 0; i < s.in; ++i) image[to + i] += rows[from + i];
  });
}

/// Whether floats are convolved by Winograd's algorithm. It does not depend on the number of rows,
/// so that a row's result is the same in any batch.
[[nodiscard]] inline bool by_winograd(const ConvShape& s) {
  return kernels::precision() == Precision::float32 &&
         kernels::convolution_algorithm() == ConvolutionAlgorithm::automatic && winograd::suits(s);
}

}  // namespace detail

template <class T>
void conv2d(Cpu, const ConvShape& s, const T* x, const T* w, T* y) {
  if constexpr (std::is_same_v<T, float>)
    if (detail::by_winograd(s)) return detail::winograd::forward(s, x, w, {}, y);
#ifdef MEANFLOW_WITH_ONEDNN
  if constexpr (std::is_same_v<T, float>) {
    using Convolution = detail::OnednnConvolution;
    detail::onednn_convolution(s, Convolution::Direction::forward)
        .run(const_cast<float*>(x), y, const_cast<float*>(w));
    return;
  }
#endif
  const std::size_t pixels = s.out_height() * s.out_width(), size = detail::patch_size(s);
  const detail::Scratch<T> packed(s.out * size);
  detail::weights_to_patches(s, w, packed.data());
  parallel_for(Cpu{}, s.rows, 1, [&](std::size_t first, std::size_t last) {
    const detail::Scratch<T> rows(pixels * size);
    for (std::size_t r = first; r < last; ++r) {
      detail::patches(s, x + r * s.height * s.width * s.in, rows.data());
      gemm(Cpu{}, Transpose::no, Transpose::yes, pixels, s.out, size, rows.data(), packed.data(),
           T(0), y + r * pixels * s.out);
    }
  });
}

template <class T>
void biased_conv2d(Cpu, const ConvShape& s, std::size_t biased_rows, const T* x, const T* w,
                   const T* bias, T* y) {
  if constexpr (std::is_same_v<T, float>)
    if (detail::by_winograd(s)) return detail::winograd::forward(s, x, w, {bias, biased_rows}, y);
  detail::conv2d_then_bias(Cpu{}, s, biased_rows, x, w, bias, y);
}

template <class T>
void conv2d_backward_data(Cpu, const ConvShape& s, const T* g, const T* w, T* gx) {
  if constexpr (std::is_same_v<T, float>)
    if (detail::by_winograd(s)) return detail::winograd::backward_data(s, g, w, gx);
#ifdef MEANFLOW_WITH_ONEDNN
  if constexpr (std::is_same_v<T, float>) {
    using Convolution = detail::OnednnConvolution;
    detail::onednn_convolution(s, Convolution::Direction::backward_data)
        .run(gx, const_cast<float*>(g), const_cast<float*>(w));
    return;
  }
#endif
  const std::size_t pixels = s.out_height() * s.out_width(), size = detail::patch_size(s);
  const detail::Scratch<T> packed(s.out * size);
  detail::weights_to_patches(s, w, packed.data());
  parallel_for(Cpu{}, s.rows, 1, [&](std::size_t first, std::size_t last) {
    const detail::Scratch<T> rows(pixels * size);
    for (std::size_t r = first; r < last; ++r) {
      gemm(Cpu{}, Transpose::no, Transpose::no, pixels, size, s.out, g + r * pixels * s.out,
           packed.data(), T(0), rows.data());
      detail::add_patches(s, rows.data(), gx + r * s.height * s.width * s.in);
    }
  });
}

template <class T>
void conv2d_backward_weights(Cpu, const ConvShape& s, const T* x, const T* g, T* gw) {
  if constexpr (std::is_same_v<T, float>)
    if (detail::by_winograd(s)) return detail::winograd::accumulate_weights(s, x, g, gw);
  const std::size_t size = detail::patch_size(s);
#ifdef MEANFLOW_WITH_ONEDNN
  if constexpr (std::is_same_v<T, float>) {
    using Convolution = detail::OnednnConvolution;
    const detail::Scratch<float> sum(s.out * size);
    detail::onednn_convolution(s, Convolution::Direction::backward_weights)
        .run(const_cast<float*>(x), const_cast<float*>(g), sum.data());
    accumulate(Cpu{}, s.out * size, sum.data(), gw);
    return;
  }
#endif
  const std::size_t pixels = s.out_height() * s.out_width();
  const detail::Scratch<T> packed(s.out * size), rows(pixels * size);
  fill(Cpu{}, s.out * size, T(0), packed.data());
  for (std::size_t r = 0; r < s.rows; ++r) {
    detail::patches(s, x + r * s.height * s.width * s.in, rows.data());
    gemm(Cpu{}, Transpose::yes, Transpose::no, s.out, size, pixels, g + r * pixels * s.out,
         rows.data(), T(1), packed.data());
  }
  detail::add_patches_to_weights(s, packed.data(), gw);
}

namespace detail {

/// Which elements of x a resampled element is made of, along one axis: f(tap, index into x).
template <class F>
void for_each_tap(Resampling direction, std::size_t out, std::size_t in_extent, std::size_t taps,
                  F f) {
  const std::size_t pad = taps / 2 - 1;
  for (std::size_t k = 0; k < taps; ++k) {
    if (direction == Resampling::down) {
      const std::size_t at = 2 * out + k;
      if (at >= pad && at - pad < in_extent) f(k, at - pad);
    } else {
      if (out + pad < k || (out + pad - k) % 2 != 0) continue;
      const std::size_t at = (out + pad - k) / 2;
      if (at < in_extent) f(k, at);
    }
  }
}

}  // namespace detail

template <class T>
void resample(Cpu, Resampling direction, std::size_t rows, std::size_t height, std::size_t width,
              std::size_t channels, std::size_t taps, const T* f, const T* x, T* y) {
  using Batch = xsimd::batch<T>;
  const bool up = direction == Resampling::up;
  const std::size_t out_height = up ? 2 * height : height / 2;
  const std::size_t out_width = up ? 2 * width : width / 2;
  const std::size_t grain =
      std::max<std::size_t>(1, detail::parallel_grain / (out_width * channels + 1));
  parallel_for(Cpu{}, rows * out_height, grain, [=](std::size_t first, std::size_t last) {
    for (std::size_t line = first; line < last; ++line) {
      const T* image = x + line / out_height * height * width * channels;
      for (std::size_t ox = 0; ox < out_width; ++ox) {
        T* out = y + (line * out_width + ox) * channels;
        detail::for_each_batch<T>(0, channels, [=](auto lanes, std::size_t c) {
          Batch sum(T(0));
          detail::for_each_tap(
              direction, line % out_height, height, taps, [&](std::size_t ky, std::size_t iy) {
                detail::for_each_tap(direction, ox, width, taps,
                                     [&](std::size_t kx, std::size_t ix) {
                                       sum += Batch(f[ky] * f[kx]) *
                                              lanes.load(image + (iy * width + ix) * channels + c);
                                     });
              });
          lanes.store(out + c, sum);
        });
      }
    }
  });
}

}  // namespace meanflow::kernels
