// SPDX-License-Identifier: MIT
/// \file
/// Normalisation over the last axis: layer normalisation, alone or modulated, and RMS
/// normalisation.
#pragma once

#include <cstddef>
#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/cpu/row_norm.hpp>
#include <meanflow/kernels/reference/row_norm.hpp>
#include <meanflow/ops/elementwise.hpp>

namespace meanflow {

namespace detail {

template <class T, class Device>
void check_row_norm(const char* operation, const Shape& x, const Parameter<T, Device>& parameter) {
  if (!parameter.empty() && parameter.size() != x.last())
    throw_shape_error(operation, x, parameter.shape(),
                      parameter.name() + " must have a number for each element of the last axis");
}

/// Rows that all share one scale and shift.
template <ValueLike X>
[[nodiscard]] GroupedRows row_norm_shape(const X& x) {
  const std::size_t columns = x.shape().last(), rows = columns == 0 ? 0 : value_size(x) / columns;
  return {rows, columns, rows};
}

/// What scales and shifts the rows, values first; null for 1 and 0.
template <class T>
struct RowAffine {
  const T *a = nullptr, *b = nullptr, *da = nullptr, *db = nullptr;
};

/// The result, and the statistics that the backward pass needs.
template <class X>
struct RowNormResult {
  X y;
  Tensor<typename X::value_type, typename X::device_type> mean, inv_std;
};

template <ValueLike X>
[[nodiscard]] RowNormResult<X> row_norm_forward(kernels::Centred centred, const GroupedRows& s,
                                                const X& x,
                                                const RowAffine<typename X::value_type>& affine,
                                                double epsilon) {
  using T = typename X::value_type;
  using Device = typename X::device_type;
  RowNormResult<X> result{make_like(x, x.shape()), Tensor<T, Device>({s.rows}),
                          Tensor<T, Device>({s.rows})};
  row_norm(Device{}, centred, s, s.columns == 0 ? 0 : tangent_size(x) / s.columns,
           static_cast<T>(epsilon), buffer(x), affine.a, affine.b, affine.da, affine.db,
           buffer(result.y), result.mean.data(), result.inv_std.data());
  return result;
}

template <class T, class Device>
[[nodiscard]] RowAffine<T> parameters_of(const char* operation, const Shape& x,
                                         const Parameter<T, Device>& weight,
                                         const Parameter<T, Device>& bias) {
  check_row_norm(operation, x, weight);
  check_row_norm(operation, x, bias);
  const auto data = [](const Parameter<T, Device>& p) { return p.empty() ? nullptr : p.data(); };
  return {.a = data(weight), .b = data(bias)};
}

template <ValueLike X, class T, class Device>
[[nodiscard]] Var<X> recorded_row_norm(const char* operation, kernels::Centred centred,
                                       const Var<X>& x, const Parameter<T, Device>& weight,
                                       const Parameter<T, Device>& bias, double epsilon) {
  using Values = Tensor<T, Device>;
  auto& tape = x.tape();
  T *weight_gradient = tape.gradient_of(weight), *bias_gradient = tape.gradient_of(bias);
  const GroupedRows s = row_norm_shape(x.value());
  auto result = row_norm_forward(centred, s, x.value(),
                                 parameters_of(operation, x.shape(), weight, bias), epsilon);
  return recorded(tape, std::move(result.y), !x.constant() || weight_gradient || bias_gradient,
                  [centred, s, weight, weight_gradient, bias_gradient, mean = result.mean,
                   inv_std = result.inv_std, input = Values(primal(x)),
                   node = x.node()](auto& t, const Values& g) {
                    Values gx(g.shape());
                    row_norm_backward(Device{}, centred, s, input.data(), mean.data(),
                                      inv_std.data(), weight.empty() ? nullptr : weight.data(),
                                      g.data(), gx.data(), weight_gradient, bias_gradient);
                    t.add_gradient(node, std::move(gx));
                  });
}

/// Rows (B, ..., C) whose neighbours of one batch row share a scale and a shift (B, C).
template <ValueLike X>
[[nodiscard]] GroupedRows modulated_shape(const char* operation, const X& x, const Shape& shift,
                                          const Shape& scale) {
  const Shape s = x.shape();
  for (const Shape& other : {shift, scale})
    if (s.rank() < 2 || !(other == Shape{s.rows(), s.last()}))
      throw_shape_error(operation, other, s, "shift and scale must be (B, C)");
  GroupedRows rows = row_norm_shape(x);
  rows.together = s.rows() == 0 ? 0 : rows.rows / s.rows();
  return rows;
}

/// `factor` is 1 + scale.
template <ValueLike X>
[[nodiscard]] RowNormResult<X> modulated_forward(const GroupedRows& s, const X& x, const X& shift,
                                                 const X& factor, double epsilon) {
  using T = typename X::value_type;
  const std::size_t values = value_size(factor);
  RowAffine<T> affine{buffer(factor), buffer(shift)};
  if (tangent_rows(x) > 0) {
    affine.da = affine.a + values;
    affine.db = affine.b + values;
  }
  return row_norm_forward(kernels::Centred::yes, s, x, affine, epsilon);
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
  return detail::row_norm_forward(kernels::Centred::yes, detail::row_norm_shape(x), x,
                                  detail::parameters_of("layer_norm", x.shape(), weight, bias),
                                  epsilon)
      .y;
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
  return detail::row_norm_forward(
             kernels::Centred::no, detail::row_norm_shape(x), x,
             detail::parameters_of("rms_norm", x.shape(), weight, Parameter<T, Device>{}), epsilon)
      .y;
}

template <ValueLike X, class T = typename X::value_type, class Device = typename X::device_type>
[[nodiscard]] Var<X> rms_norm(const Var<X>& x, const Parameter<T, Device>& weight = {},
                              double epsilon = 1e-6) {
  return detail::recorded_row_norm("rms_norm", kernels::Centred::no, x, weight,
                                   Parameter<T, Device>{}, epsilon);
}

/// y = n (1 + scale) + shift, n as in `layer_norm`: the adaptive layer normalisation of DiT
/// (Peebles and Xie, arXiv 2212.09748), in one pass. x (B, ..., C), shift and scale (B, C).
///   tangent   dy = dn (1 + scale) + n dscale + dshift
///   backward  q = g (1 + scale): gx as in `layer_norm`, gscale = sum of g n and gshift = sum of g
///             over the tokens of a row
/// Throws ShapeError if the shapes do not fit.
template <ValueLike X>
[[nodiscard]] X modulated_layer_norm(const X& x, const X& shift, const X& scale,
                                     double epsilon = 1e-6) {
  detail::check_same_tangents("modulated_layer_norm", x, shift);
  detail::check_same_tangents("modulated_layer_norm", x, scale);
  const GroupedRows s =
      detail::modulated_shape("modulated_layer_norm", x, shift.shape(), scale.shape());
  return detail::modulated_forward(s, x, shift, affine(scale, 1, 1), epsilon).y;
}

template <ValueLike X>
[[nodiscard]] Var<X> modulated_layer_norm(const Var<X>& x, const Var<X>& shift, const Var<X>& scale,
                                          double epsilon = 1e-6) {
  using Device = typename X::device_type;
  using Values = Tensor<typename X::value_type, Device>;
  detail::check_same_tangents("modulated_layer_norm", x.value(), shift.value());
  detail::check_same_tangents("modulated_layer_norm", x.value(), scale.value());
  const GroupedRows s =
      detail::modulated_shape("modulated_layer_norm", x.value(), shift.shape(), scale.shape());
  const X factor = affine(scale.value(), 1, 1);
  auto result = detail::modulated_forward(s, x.value(), shift.value(), factor, epsilon);
  return detail::recorded(
      x.tape(), std::move(result.y), !x.constant() || !shift.constant() || !scale.constant(),
      [s, mean = result.mean, inv_std = result.inv_std, a = Values(primal(factor)),
       input = Values(primal(x)), node = x.node(), shift_node = shift.node(),
       scale_node = scale.node()](auto& tape, const Values& g) {
        Values gx(input.shape());
        auto ga = Values::zeros(a.shape()), gb = Values::zeros(a.shape());
        row_norm_backward(Device{}, kernels::Centred::yes, s, input.data(), mean.data(),
                          inv_std.data(), a.data(), g.data(), gx.data(), ga.data(), gb.data());
        tape.add_gradient(node, std::move(gx));
        tape.add_gradient(scale_node, std::move(ga));
        tape.add_gradient(shift_node, std::move(gb));
      });
}

}  // namespace meanflow
