// SPDX-License-Identifier: MIT
/// \file
/// Convolution and resampling of images, channels last.
#pragma once

#include <span>
#include <string>
#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/biased_conv.hpp>
#include <meanflow/kernels/cpu/conv.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/kernels/reference/conv.hpp>
#include <meanflow/scalar/functors.hpp>
#include <meanflow/tensor/transfer.hpp>

namespace meanflow {

namespace detail {

template <class T, class Device>
[[nodiscard]] ConvShape conv_shape(const Shape& x, const Parameter<T, Device>& weight,
                                   std::size_t stride, const HeightWidth& padding) {
  const Shape& w = weight.shape();
  if (x.rank() != 4 || w.rank() != 4 || x[3] != w[1])
    throw_shape_error("conv2d", x, w, "expected (B, H, W, in) and (out, in, k, l)");
  if (x[1] + 2 * padding.height < w[2] || x[2] + 2 * padding.width < w[3])
    throw_shape_error("conv2d", x, w, "the kernel is larger than the image");
  return {x[0], x[1], x[2], w[1], w[0], {w[2], w[3]}, stride, padding};
}

/// A convolution of 1 x 1 pixels without stride is a matrix product over all pixels.
[[nodiscard]] inline bool is_product(const ConvShape& s) {
  return s.kernel == 1 && s.stride == 1 && s.padding == 0;
}

}  // namespace detail

/// y = x * W + b: x (B, H, W, in), W (out, in, k, l), b (out) or empty, y (B, H', W', out);
/// `padding` zeros around the images, one number or two.
///   tangent   dy = dx * W, in the same call
///   backward  gx and gW are the adjoint convolutions of g, gb the sum of g over rows and pixels
/// Throws ShapeError if the shapes do not fit.
template <ValueLike X, class T, class Device>
[[nodiscard]] X conv2d(const X& x, const Parameter<T, Device>& weight,
                       const Parameter<T, Device>& bias = {}, std::size_t stride = 1,
                       const HeightWidth& padding = 0) {
  const ConvShape s = detail::conv_shape(x.shape(), weight, stride, padding);
  X y = detail::make_like(x, {s.rows, s.out_height(), s.out_width(), s.out});
  const std::size_t rows = s.rows + detail::tangent_rows(x);
  const std::size_t pixels = s.out_height() * s.out_width();
  const T *in = detail::buffer(x), *w = weight.data();
  if (!detail::is_product(s)) {
    if (bias.empty())
      conv2d(Device{}, s.with_rows(rows), in, w, detail::buffer(y));
    else
      biased_conv2d(Device{}, s.with_rows(rows), s.rows, in, w, bias.data(), detail::buffer(y));
    return y;
  }
  gemm(Device{}, Transpose::no, Transpose::yes, rows * pixels, s.out, s.in, in, w, T(0),
       detail::buffer(y));
  if (!bias.empty())
    bias_unary(Device{}, Identity{}, s.rows * pixels, (rows - s.rows) * pixels, s.out, bias.data(),
               detail::buffer(y), nullptr);
  return y;
}

template <ValueLike X, class T, class Device>
[[nodiscard]] Var<X> conv2d(const Var<X>& x, const Parameter<T, Device>& weight,
                            const Parameter<T, Device>& bias = {}, std::size_t stride = 1,
                            const HeightWidth& padding = 0) {
  auto& tape = x.tape();
  T *weight_gradient = tape.gradient_of(weight), *bias_gradient = tape.gradient_of(bias);
  const ConvShape s = detail::conv_shape(x.shape(), weight, stride, padding);
  return detail::recorded(
      tape, conv2d(x.value(), weight, bias, stride, padding),
      !x.constant() || weight_gradient || bias_gradient,
      [s, weight, weight_gradient, bias_gradient, input = Tensor<T, Device>(primal(x)),
       node = x.node()](auto& t, Tensor<T, Device> g) {
        const std::size_t pixels = s.rows * s.out_height() * s.out_width();
        const T *upstream = g.data(), *in = input.data(), *w = weight.data();
        if (bias_gradient)
          bias_unary_backward(Device{}, pixels, s.out, nullptr, g.data(), bias_gradient);
        const bool product = detail::is_product(s);
        if (weight_gradient && product)
          gemm(Device{}, Transpose::yes, Transpose::no, s.out, s.in, pixels, upstream, in, T(1),
               weight_gradient);
        else if (weight_gradient)
          conv2d_backward_weights(Device{}, s, in, upstream, weight_gradient);
        if (node == Tape<T, Device>::no_node) return;
        Tensor<T, Device> gx = product ? t.take_own_gradient(node) : Tensor<T, Device>();
        const T beta = gx.empty() ? T(0) : T(1);  // added to what others gave
        if (gx.empty()) gx = Tensor<T, Device>(input.shape());
        if (product)
          gemm(Device{}, Transpose::no, Transpose::no, pixels, s.in, s.out, upstream, w, beta,
               gx.data());
        else
          conv2d_backward_data(Device{}, s, upstream, w, gx.data());
        t.add_gradient(node, std::move(gx));
      });
}

namespace detail {

/// The convolution whose adjoint a transposed one is: from (B, H', W', out) to x (B, H, W, in).
template <class T, class Device>
[[nodiscard]] ConvShape transposed_shape(const Shape& x, const Parameter<T, Device>& weight,
                                         std::size_t stride, const HeightWidth& padding) {
  const Shape& w = weight.shape();
  if (x.rank() != 4 || w.rank() != 4 || x[3] != w[0])
    throw_shape_error("conv_transpose2d", x, w, "expected (B, H, W, in) and (in, out, k, l)");
  if (stride == 0 || x[1] == 0 || x[2] == 0 || w[2] < stride || w[3] < stride ||
      w[2] <= 2 * padding.height || w[3] <= 2 * padding.width)
    throw_shape_error("conv_transpose2d", x, w,
                      "the kernel must be at least the stride and more than twice the padding");
  return {x[0],
          (x[1] - 1) * stride + w[2] - 2 * padding.height,
          (x[2] - 1) * stride + w[3] - 2 * padding.width,
          w[1],
          w[0],
          {w[2], w[3]},
          stride,
          padding};
}

}  // namespace detail

/// The transposed convolution, the adjoint of `conv2d` with the same weight: x (B, H, W, in),
/// W (in, out, k, l), b (out) or empty, y (B, H', W', out), H' = (H - 1) stride + k - 2 padding.
///   tangent   dy likewise, in the same call
///   backward  gx = g * W, gW the gradient of <x, g * W>, gb the sum of g over rows and pixels
/// Throws ShapeError if the shapes do not fit.
template <ValueLike X, class T, class Device>
[[nodiscard]] X conv_transpose2d(const X& x, const Parameter<T, Device>& weight,
                                 const Parameter<T, Device>& bias = {}, std::size_t stride = 1,
                                 const HeightWidth& padding = 0) {
  const ConvShape s = detail::transposed_shape(x.shape(), weight, stride, padding);
  X y = detail::make_like(x, {s.rows, s.height, s.width, s.in});
  const std::size_t tangents = detail::tangent_rows(x), pixels = s.height * s.width;
  const T *in = detail::buffer(x), *w = weight.data();
  conv2d_backward_data(Device{}, s.with_rows(s.rows + tangents), in, w, detail::buffer(y));
  if (!bias.empty())
    bias_unary(Device{}, Identity{}, s.rows * pixels, tangents * pixels, s.in, bias.data(),
               detail::buffer(y), nullptr);
  return y;
}

template <ValueLike X, class T, class Device>
[[nodiscard]] Var<X> conv_transpose2d(const Var<X>& x, const Parameter<T, Device>& weight,
                                      const Parameter<T, Device>& bias = {}, std::size_t stride = 1,
                                      const HeightWidth& padding = 0) {
  auto& tape = x.tape();
  T *weight_gradient = tape.gradient_of(weight), *bias_gradient = tape.gradient_of(bias);
  const ConvShape s = detail::transposed_shape(x.shape(), weight, stride, padding);
  return detail::recorded(
      tape, conv_transpose2d(x.value(), weight, bias, stride, padding),
      !x.constant() || weight_gradient || bias_gradient,
      [s, weight, weight_gradient, bias_gradient, input = Tensor<T, Device>(primal(x)),
       node = x.node()](auto& t, Tensor<T, Device> g) {
        const T *upstream = g.data(), *in = input.data(), *w = weight.data();
        if (bias_gradient)
          bias_unary_backward(Device{}, s.rows * s.height * s.width, s.in, nullptr, g.data(),
                              bias_gradient);
        if (weight_gradient) conv2d_backward_weights(Device{}, s, upstream, in, weight_gradient);
        if (node == Tape<T, Device>::no_node) return;
        Tensor<T, Device> gx(input.shape());
        conv2d(Device{}, s, upstream, w, gx.data());
        t.add_gradient(node, std::move(gx));
      });
}

namespace detail {

/// The shape of images (B, H, W, C) at half or twice their height and width.
[[nodiscard]] inline Shape resampled_shape(const Shape& s, Resampling direction) {
  const bool up = direction == Resampling::up;
  if (s.rank() != 4 || (!up && (s[1] % 2 != 0 || s[2] % 2 != 0)))
    throw ShapeError(
        "resample: expected (B, H, W, C) with even H and W to halve, but the shape is " +
        to_string(s));
  return {s[0], up ? 2 * s[1] : s[1] / 2, up ? 2 * s[2] : s[2] / 2, s[3]};
}

/// x (B, H, W, C) resampled by a filter that is normalised to `gain` along each axis.
template <ValueLike X>
[[nodiscard]] X resample_by(const X& x, Resampling direction,
                            const Tensor<typename X::value_type, typename X::device_type>& filter) {
  const Shape s = x.shape();
  X y = make_like(x, resampled_shape(s, direction));
  resample(typename X::device_type{}, direction, s[0] + tangent_rows(x), s[1], s[2], s[3],
           filter.size(), filter.data(), buffer(x), buffer(y));
  return y;
}

}  // namespace detail

/// The filter of `resample`: `taps`, an even number of them, scaled so that a constant image stays
/// unchanged.
template <class T, class Device = Cpu>
[[nodiscard]] Tensor<T, Device> resampling_filter(Resampling direction,
                                                  std::span<const double> taps) {
  if (taps.empty() || taps.size() % 2 != 0)
    throw SettingError("resampling_filter: the number of taps is " + std::to_string(taps.size()) +
                       ", but must be even");
  double sum = 0;
  for (double tap : taps) sum += tap;
  Tensor<T> filter({taps.size()});
  for (std::size_t i = 0; i < taps.size(); ++i)
    filter[i] = static_cast<T>((direction == Resampling::up ? 2 : 1) * taps[i] / sum);
  return to_device<Device>(filter);
}

/// x (B, H, W, C) at half or twice the height and width, smoothed by a separable filter. Linear:
/// dy is dx resampled alike. Backward: the other direction with the same filter, its adjoint.
template <ValueLike X>
[[nodiscard]] X resample(const X& x, Resampling direction,
                         const Tensor<typename X::value_type, typename X::device_type>& filter) {
  return detail::resample_by(x, direction, filter);
}

template <ValueLike X>
[[nodiscard]] Var<X> resample(
    const Var<X>& x, Resampling direction,
    const Tensor<typename X::value_type, typename X::device_type>& filter) {
  using Values = Tensor<typename X::value_type, typename X::device_type>;
  const Resampling back = direction == Resampling::up ? Resampling::down : Resampling::up;
  return detail::recorded(x.tape(), resample(x.value(), direction, filter), !x.constant(),
                          [back, filter, node = x.node()](auto& tape, Values g) {
                            tape.add_gradient(node, detail::resample_by(g, back, filter));
                          });
}

/// Every pixel four times: (B, H, W, C) to (B, 2 H, 2 W, C).
template <Differentiable X>
[[nodiscard]] X upsample_nearest(const X& x) {
  using Values = Tensor<typename X::value_type, typename X::device_type>;
  return resample(x, Resampling::up, Values::full({2}, 1));
}

}  // namespace meanflow
