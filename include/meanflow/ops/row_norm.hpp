// SPDX-License-Identifier: MIT
/// \file
/// Normalisation over the last axis: layer normalisation and RMS normalisation.
#pragma once

#include <cstddef>
#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/cpu/norm.hpp>
#include <meanflow/kernels/reference/norm.hpp>

namespace meanflow {

namespace detail {

template <class T, class Device>
void check_row_norm(const char* operation, const Shape& x, const Parameter<T, Device>& parameter) {
  if (!parameter.empty() && parameter.size() != x.last())
    throw_shape_error(operation, x, parameter.shape(),
                      parameter.name() + " must have a number for each element of the last axis");
}

/// The result, and what the backward pass needs.
template <class X>
struct RowNormResult {
  X y;
  Tensor<typename X::value_type, typename X::device_type> normalized, inv_std;
};

template <ValueLike X, class T, class Device>
[[nodiscard]] RowNormResult<X> row_norm_forward(const char* operation, kernels::Centred centred,
                                                const X& x, const Parameter<T, Device>& weight,
                                                const Parameter<T, Device>& bias, double epsilon) {
  check_row_norm(operation, x.shape(), weight);
  check_row_norm(operation, x.shape(), bias);
  const std::size_t columns = x.shape().last();
  const std::size_t rows = columns == 0 ? 0 : value_size(x) / columns;
  RowNormResult<X> result{make_like(x, x.shape()), Tensor<T, Device>(x.shape()),
                          Tensor<T, Device>({rows})};
  const auto data = [](const Parameter<T, Device>& p) { return p.empty() ? nullptr : p.data(); };
  row_norm(Device{}, centred, rows, columns == 0 ? 0 : tangent_size(x) / columns, columns,
           static_cast<T>(epsilon), buffer(x), data(weight), data(bias), buffer(result.y),
           result.normalized.data(), result.inv_std.data());
  return result;
}

template <ValueLike X, class T, class Device>
[[nodiscard]] Var<X> recorded_row_norm(const char* operation, kernels::Centred centred,
                                       const Var<X>& x, const Parameter<T, Device>& weight,
                                       const Parameter<T, Device>& bias, double epsilon) {
  auto& tape = x.tape();
  T *weight_gradient = tape.gradient_of(weight), *bias_gradient = tape.gradient_of(bias);
  auto result = row_norm_forward(operation, centred, x.value(), weight, bias, epsilon);
  return recorded(tape, std::move(result.y), !x.constant() || weight_gradient || bias_gradient,
                  [centred, weight, weight_gradient, bias_gradient, normalized = result.normalized,
                   inv_std = result.inv_std, node = x.node()](auto& t, Tensor<T, Device> g) {
                    Tensor<T, Device> gx(g.shape());
                    row_norm_backward(Device{}, centred, inv_std.size(), g.shape().last(),
                                      normalized.data(), inv_std.data(),
                                      weight.empty() ? nullptr : weight.data(), g.data(), gx.data(),
                                      weight_gradient, bias_gradient);
                    t.add_gradient(node, std::move(gx));
                  });
}

}  // namespace detail

/// y = n w + b, n = (x - mean(x)) / s, s = sqrt(var(x) + eps) over the last axis (Ba et al., arXiv
/// 1607.06450). x (..., C), w and b (C) or empty.
///   tangent   dy = dn w, dn = (dx - mean(dx) - n mean(n dx)) / s
///   backward  q = g w: gx = (q - mean(q) - n mean(n q)) / s, gw += sum of g n, gb += sum of g
/// Throws ShapeError if the parameters do not fit.
template <ValueLike X, class T = typename X::value_type, class Device = typename X::device_type>
[[nodiscard]] X layer_norm(const X& x, const Parameter<T, Device>& weight = {},
                           const Parameter<T, Device>& bias = {}, double epsilon = 1e-5) {
  return detail::row_norm_forward("layer_norm", kernels::Centred::yes, x, weight, bias, epsilon).y;
}

template <ValueLike X, class T = typename X::value_type, class Device = typename X::device_type>
[[nodiscard]] Var<X> layer_norm(const Var<X>& x, const Parameter<T, Device>& weight = {},
                                const Parameter<T, Device>& bias = {}, double epsilon = 1e-5) {
  return detail::recorded_row_norm("layer_norm", kernels::Centred::yes, x, weight, bias, epsilon);
}

/// y = n w, n = x / s, s = sqrt(mean(x^2) + eps) over the last axis (Zhang and Sennrich, arXiv
/// 1910.07467). x (..., C), w (C) or empty.
///   tangent   dy = dn w, dn = (dx - n mean(n dx)) / s
///   backward  q = g w: gx = (q - n mean(n q)) / s, gw += sum of g n
/// Throws ShapeError if the parameter does not fit.
template <ValueLike X, class T = typename X::value_type, class Device = typename X::device_type>
[[nodiscard]] X rms_norm(const X& x, const Parameter<T, Device>& weight = {},
                         double epsilon = 1e-6) {
  return detail::row_norm_forward("rms_norm", kernels::Centred::no, x, weight,
                                  Parameter<T, Device>{}, epsilon)
      .y;
}

template <ValueLike X, class T = typename X::value_type, class Device = typename X::device_type>
[[nodiscard]] Var<X> rms_norm(const Var<X>& x, const Parameter<T, Device>& weight = {},
                              double epsilon = 1e-6) {
  return detail::recorded_row_norm("rms_norm", kernels::Centred::no, x, weight,
                                   Parameter<T, Device>{}, epsilon);
}

}  // namespace meanflow
