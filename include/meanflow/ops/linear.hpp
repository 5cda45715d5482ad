// SPDX-License-Identifier: MIT
/// \file
/// The linear layer, alone or followed by an activation in the same pass.
#pragma once

#include <string>
#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/scalar/functors.hpp>

namespace meanflow {

namespace detail {

template <class T, class Device>
void check_linear(const Shape& x, const Parameter<T, Device>& weight,
                  const Parameter<T, Device>& bias) {
  const Shape& w = weight.shape();
  if (w.rank() != 2 || x.last() != w[1])
    throw_shape_error("linear", x, w,
                      "the input's last extent must be the columns of " + weight.name());
  if (!bias.empty() && bias.size() != w[0])
    throw_shape_error("linear", bias.shape(), w, "one bias per row of " + weight.name());
}

/// y = f(x W^T + b); stores f'(x W^T + b) of the values if `slope` is given.
template <class F, ValueLike X, class T, class Device>
[[nodiscard]] X linear_forward(F f, const X& x, const Parameter<T, Device>& weight,
                               const Parameter<T, Device>& bias, kernels::OrNull<T> slope) {
  check_linear(x.shape(), weight, bias);
  const std::size_t out = weight.shape()[0], in = weight.shape()[1];
  X y = make_like(x, x.shape().with_last(out));
  const std::size_t rows = value_size(y) / out, tangents = tangent_size(y) / out;
  // Values and tangents are one matrix: one product serves both.
  gemm(Device{}, Transpose::no, Transpose::yes, rows + tangents, out, in, buffer(x), weight.data(),
       T(0), buffer(y));
  if (!std::is_same_v<F, Identity> || !bias.empty())
    bias_unary(Device{}, f, rows, tangents, out, bias.empty() ? nullptr : bias.data(), buffer(y),
               slope);
  return y;
}

}  // namespace detail

/// y = f(x W^T + b), x (..., in), W (out, in), b (out) or empty, y (..., out).
///   tangent   dy = f'(.) (dx W^T)
///   backward  p = g f'(.),  gx = p W,  gW += p^T x,  gb += sum of p over rows
/// Throws ShapeError if the shapes do not fit.
template <class F = Identity, ValueLike X, class T, class Device>
[[nodiscard]] X linear(const X& x, const Parameter<T, Device>& weight,
                       const Parameter<T, Device>& bias = {}, F f = {}) {
  return detail::linear_forward(f, x, weight, bias, nullptr);
}

template <class F = Identity, ValueLike X, class T, class Device>
[[nodiscard]] Var<X> linear(const Var<X>& x, const Parameter<T, Device>& weight,
                            const Parameter<T, Device>& bias = {}, F f = {}) {
  constexpr bool straight = std::is_same_v<F, Identity>;
  auto& tape = x.tape();
  T *weight_gradient = tape.gradient_of(weight), *bias_gradient = tape.gradient_of(bias);
  const bool differentiated = !x.constant() || weight_gradient || bias_gradient;
  Tensor<T, Device> slope;
  if (!straight && differentiated)
    slope = Tensor<T, Device>(x.shape().with_last(weight.shape().rows()));
  X y = detail::linear_forward(f, x.value(), weight, bias, slope.data());
  return detail::recorded(
      tape, std::move(y), differentiated,
      [slope, weight, weight_gradient, bias_gradient, input = Tensor<T, Device>(primal(x)),
       node = x.node()](auto& t, Tensor<T, Device> g) {
        const std::size_t out = weight.shape()[0], in = weight.shape()[1];
        const std::size_t rows = g.size() / out;
        if (!slope.empty() && !g.unique()) g = g.clone();
        bias_unary_backward(Device{}, rows, out, slope.data(), g.data(), bias_gradient);
        const T *p = g.data(), *x_values = input.data(), *w = weight.data();
        if (weight_gradient)
          gemm(Device{}, Transpose::yes, Transpose::no, out, in, rows, p, x_values, T(1),
               weight_gradient);
        if (node == Tape<T, Device>::no_node) return;
        Tensor<T, Device> gx = t.take_own_gradient(node);
        const T beta = gx.empty() ? T(0) : T(1);  // added to what others gave
        if (gx.empty()) gx = Tensor<T, Device>(input.shape());
        gemm(Device{}, Transpose::no, Transpose::no, rows, in, out, p, w, beta, gx.data());
        t.add_gradient(node, std::move(gx));
      });
}

}  // namespace meanflow
