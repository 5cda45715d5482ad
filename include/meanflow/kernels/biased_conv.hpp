// SPDX-License-Identifier: MIT
/// \file
/// Convolutions and their bias, on every device. One that can add it on the way overloads
/// `biased_conv2d`.
#pragma once

#include <cstddef>

#include <meanflow/kernels/conv_shape.hpp>
#include <meanflow/kernels/elementwise.hpp>
#include <meanflow/scalar/functors.hpp>

namespace meanflow::kernels {

namespace detail {

template <class Device, class T>
void conv2d_then_bias(Device device, const ConvShape& s, std::size_t biased_rows, const T* x,
                      const T* w, const T* bias, T* y) {
  const std::size_t pixels = s.out_height() * s.out_width();
  conv2d(device, s, x, w, y);
  bias_unary(device, Identity{}, biased_rows * pixels, (s.rows - biased_rows) * pixels, s.out, bias,
             y, static_cast<T*>(nullptr));
}

}  // namespace detail

/// y = x * W, with bias (out) added to the first `biased_rows` rows: the others are tangents.
template <class Device, class T>
void biased_conv2d(Device device, const ConvShape& s, std::size_t biased_rows, const T* x,
                   const T* w, const T* bias, T* y) {
  detail::conv2d_then_bias(device, s, biased_rows, x, w, bias, y);
}

}  // namespace meanflow::kernels
