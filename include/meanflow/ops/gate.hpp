// SPDX-License-Identifier: MIT
/// \file
/// Residual sums with a gate, in one pass.
#pragma once

#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/gate.hpp>
#include <meanflow/kernels/reference.hpp>

namespace meanflow {

namespace detail {

/// Rows (B, ..., C) of which each batch row has a gate (B, C), or all have one of C numbers.
template <ValueLike X>
[[nodiscard]] GroupedRows gate_shape(const X& x, const Shape& gate, bool one_for_all) {
  const Shape s = x.shape();
  const Shape expected = one_for_all ? Shape{s.last()} : Shape{s.rows(), s.last()};
  if (!(gate == expected))
    throw_shape_error("add_gated", gate, s,
                      one_for_all ? "the gate must be (C)" : "the gate must be (B, C)");
  const std::size_t rows = s.last() == 0 ? 0 : value_size(x) / s.last();
  return {rows, s.last(), one_for_all || s.rows() == 0 ? rows : rows / s.rows()};
}

template <ValueLike X>
[[nodiscard]] X add_gated_forward(const GroupedRows& s, const X& x,
                                  const typename X::value_type* gate,
                                  const typename X::value_type* dgate, const X& a) {
  check_same_tangents("add_gated", x, a);
  if (!(x.shape() == a.shape()))
    throw_shape_error("add_gated", x.shape(), a.shape(), "shapes differ");
  X y = make_like(x, x.shape());
  add_gated(typename X::device_type{}, s, s.columns == 0 ? 0 : tangent_size(x) / s.columns,
            buffer(x), gate, dgate, buffer(a), buffer(y));
  return y;
}

}  // namespace detail

/// y = x + gate a: x, a (B, ..., C), gate (B, C).
///   tangent   dy = dx + gate da + dgate a
///   backward  gx = g, ga = gate g, ggate = sum of a g over the tokens of a row
/// Throws ShapeError if the shapes do not fit.
template <ValueLike X>
[[nodiscard]] X add_gated(const X& x, const X& gate, const X& a) {
  detail::check_same_tangents("add_gated", x, gate);
  const auto s = detail::gate_shape(x, gate.shape(), false);
  const auto* values = detail::buffer(gate);
  const auto* tangents =
      detail::tangent_rows(gate) == 0 ? nullptr : values + detail::value_size(gate);
  return detail::add_gated_forward(s, x, values, tangents, a);
}

template <ValueLike X>
[[nodiscard]] Var<X> add_gated(const Var<X>& x, const Var<X>& gate, const Var<X>& a) {
  using Device = typename X::device_type;
  using Values = Tensor<typename X::value_type, Device>;
  X y = add_gated(x.value(), gate.value(), a.value());
  const auto s = detail::gate_shape(x.value(), gate.shape(), false);
  return detail::recorded(
      x.tape(), std::move(y), !x.constant() || !gate.constant() || !a.constant(),
      [s, gates = Values(primal(gate)), branch = Values(primal(a)), nx = x.node(),
       ngate = gate.node(), na = a.node()](auto& tape, const Values& g) {
        Values ga(branch.shape());
        auto ggate = Values::zeros(gates.shape());
        gate_rows(Device{}, s, gates.data(), g.data(), ga.data());
        gate_gradient(Device{}, s, branch.data(), g.data(), ggate.data());
        tape.add_gradient(nx, g);
        tape.add_gradient(ngate, std::move(ggate));
        tape.add_gradient(na, std::move(ga));
      });
}

/// y = x + gate a with a parameter: x, a (B, ..., C), gate (C). A parameter has no tangent.
template <ValueLike X, class T, class Device>
[[nodiscard]] X add_gated(const X& x, const Parameter<T, Device>& gate, const X& a) {
  const auto s = detail::gate_shape(x, gate.shape(), true);
  return detail::add_gated_forward<X>(s, x, gate.data(), nullptr, a);
}

template <ValueLike X, class T, class Device>
[[nodiscard]] Var<X> add_gated(const Var<X>& x, const Parameter<T, Device>& gate, const Var<X>& a) {
  using Values = Tensor<T, Device>;
  T* gradient = x.tape().gradient_of(gate);
  const auto s = detail::gate_shape(x.value(), gate.shape(), true);
  return detail::recorded(
      x.tape(), add_gated(x.value(), gate, a.value()), !x.constant() || gradient || !a.constant(),
      [s, gate, gradient, branch = Values(primal(a)), nx = x.node(), na = a.node()](
          auto& tape, const Values& g) {
        Values ga(branch.shape());
        gate_rows(Device{}, s, static_cast<const T*>(gate.data()), g.data(), ga.data());
        if (gradient) gate_gradient(Device{}, s, branch.data(), g.data(), gradient);
        tape.add_gradient(nx, g);
        tape.add_gradient(na, std::move(ga));
      });
}

}  // namespace meanflow
