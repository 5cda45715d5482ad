// SPDX-License-Identifier: MIT
/// \file
/// Normalisation by groups of channels, with modulation and activation in the same pass.
#pragma once

#include <string>
#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/cpu/norm.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/kernels/reference/norm.hpp>
#include <meanflow/scalar/functors.hpp>

namespace meanflow {

namespace detail {

template <class X>
[[nodiscard]] NormShape norm_shape(const X& x, const X& scale, const X& shift, std::size_t groups) {
  const Shape s = x.shape();
  const Shape modulation{s.rows(), s.last()};
  if (groups == 0 || s.rank() < 2 || s.last() % groups != 0)
    throw ShapeError("group_norm: the channels of shape " + to_string(s) + " cannot be cut into " +
                     std::to_string(groups) + " equal groups");
  for (const Shape& other : {scale.shape(), shift.shape()})
    if (!(other == modulation))
      throw_shape_error("group_norm", other, s, "scale and shift must be (B, C)");
  return {s.rows(), s.row_size() / s.last(), s.last(), groups};
}

/// The result, and the statistics that the backward pass needs.
template <class X>
struct NormResult {
  X y;
  Tensor<typename X::value_type, typename X::device_type> mean, inv_std;
};

template <class F, ValueLike X>
[[nodiscard]] NormResult<X> group_norm_forward(F f, const X& x, const X& scale, const X& shift,
                                               std::size_t groups, double epsilon) {
  using T = typename X::value_type;
  using Device = typename X::device_type;
  check_same_tangents("group_norm", x, scale);
  check_same_tangents("group_norm", x, shift);
  NormShape n = norm_shape(x, scale, shift, groups);
  NormResult<X> result{make_like(x, x.shape()), Tensor<T, Device>({n.rows, groups}),
                       Tensor<T, Device>({n.rows, groups})};
  const T *in = buffer(x), *a = buffer(scale), *b = buffer(shift);
  T* out = buffer(result.y);
  group_statistics(Device{}, n, static_cast<T>(epsilon), in, result.mean.data(),
                   result.inv_std.data());
  const T *mean = result.mean.data(), *inv_std = result.inv_std.data();
  group_norm(Device{}, f, n, in, mean, inv_std, a, b, out);
  const std::size_t values = n.rows * n.image(), modulations = n.rows * n.channels;
  n.rows = tangent_rows(x);
  if (n.rows > 0)
    group_norm_tangent(Device{}, f, n, in, in + values, mean, inv_std, a, a + modulations, b,
                       b + modulations, out + values);
  return result;
}

}  // namespace detail

/// y = f(n a + b), n = (x - m) / sqrt(var + eps), with mean and variance of each group of channels
/// over all pixels of a row. x (B, ..., C); `scale` a and `shift` b (B, C).
///   tangent   dy = f'(.) (dn a + n da + db), dn = (dx - mean(dx) - n mean(n dx)) / sqrt(var + eps)
///   backward  q = g f'(.): ga = sum of q n, gb = sum of q over pixels,
///             gx = (q a - mean(q a) - n mean(n q a)) / sqrt(var + eps)
/// Throws ShapeError if the channels do not divide into groups or the shapes do not fit.
template <class F = Identity, ValueLike X>
[[nodiscard]] X group_norm(const X& x, const X& scale, const X& shift, std::size_t groups,
                           double epsilon = 1e-5, F f = {}) {
  return detail::group_norm_forward(f, x, scale, shift, groups, epsilon).y;
}

template <class F = Identity, ValueLike X>
[[nodiscard]] Var<X> group_norm(const Var<X>& x, const Var<X>& scale, const Var<X>& shift,
                                std::size_t groups, double epsilon = 1e-5, F f = {}) {
  using T = typename X::value_type;
  using Device = typename X::device_type;
  using Values = Tensor<T, Device>;
  auto result =
      detail::group_norm_forward(f, x.value(), scale.value(), shift.value(), groups, epsilon);
  const NormShape n = detail::norm_shape(x, scale, shift, groups);
  return detail::recorded(
      x.tape(), std::move(result.y), !x.constant() || !scale.constant() || !shift.constant(),
      [f, n, mean = result.mean, inv_std = result.inv_std, input = Values(primal(x)),
       a = Values(primal(scale)), b = Values(primal(shift)), node = x.node(),
       scale_node = scale.node(), shift_node = shift.node()](auto& tape, Values g) {
        Values gx(input.shape()), ga(a.shape()), gb(b.shape());
        group_norm_backward(Device{}, f, n, input.data(), mean.data(), inv_std.data(), a.data(),
                            b.data(), g.data(), gx.data(), ga.data(), gb.data());
        tape.add_gradient(node, std::move(gx));
        tape.add_gradient(scale_node, std::move(ga));
        tape.add_gradient(shift_node, std::move(gb));
      });
}

}  // namespace meanflow
