// SPDX-License-Identifier: MIT
/// \file
/// What `ops/elementwise.hpp` and `ops/reduce.hpp` compute, recorded.
#pragma once

#include <concepts>
#include <string>
#include <type_traits>

#include <meanflow/kernels/broadcast.hpp>
#include <meanflow/onnx/traced.hpp>
#include <meanflow/scalar/functors.hpp>

namespace meanflow {

namespace detail {

/// The operator of ONNX that computes F, or null.
template <class F>
[[nodiscard]] constexpr const char* onnx_unary() {
  if constexpr (std::is_same_v<F, Exp>) return "Exp";
  if constexpr (std::is_same_v<F, Log>) return "Log";
  if constexpr (std::is_same_v<F, Sqrt>) return "Sqrt";
  if constexpr (std::is_same_v<F, Sin>) return "Sin";
  if constexpr (std::is_same_v<F, Cos>) return "Cos";
  if constexpr (std::is_same_v<F, Tanh>) return "Tanh";
  if constexpr (std::is_same_v<F, Erf>) return "Erf";
  if constexpr (std::is_same_v<F, Abs>) return "Abs";
  if constexpr (std::is_same_v<F, Sigmoid>) return "Sigmoid";
  if constexpr (std::is_same_v<F, Softplus>) return "Softplus";
  if constexpr (std::is_same_v<F, Relu>) return "Relu";
  if constexpr (std::is_same_v<F, Negate>) return "Neg";
  return nullptr;
}
template <class F>
[[nodiscard]] constexpr const char* onnx_binary() {
  if constexpr (std::is_same_v<F, Add>) return "Add";
  if constexpr (std::is_same_v<F, Subtract>) return "Sub";
  if constexpr (std::is_same_v<F, Multiply>) return "Mul";
  if constexpr (std::is_same_v<F, Divide>) return "Div";
  if constexpr (std::is_same_v<F, Maximum>) return "Max";
  if constexpr (std::is_same_v<F, Minimum>) return "Min";
  return nullptr;
}

}  // namespace detail

/// A function that ONNX has no operator for is called itself, and what it consists of is recorded.
template <class F, class T, class Device>
[[nodiscard]] Traced<T, Device> unary(F f, const Traced<T, Device>& x) {
  onnx::Graph& graph = x.graph();
  const auto result = [&](std::string name) { return x.like(std::move(name), x.shape()); };
  if constexpr (constexpr const char* op = detail::onnx_unary<F>(); op != nullptr) {
    return result(graph.add(op, {x.name()}));
  } else if constexpr (std::is_same_v<F, Identity>) {
    return x;
  } else if constexpr (std::is_same_v<F, Square>) {
    return result(graph.add("Mul", {x.name(), x.name()}));
  } else if constexpr (std::is_same_v<F, Silu>) {
    return result(graph.add("Mul", {x.name(), graph.add("Sigmoid", {x.name()})}));
  } else if constexpr (std::is_same_v<F, Gelu>) {
    return result(graph.add("Gelu", {x.name()}));
  } else if constexpr (std::is_same_v<F, GeluTanh>) {
    return result(graph.add("Gelu", {x.name()}, {{"approximate", std::string("tanh")}}));
  } else {
    return f(x);
  }
}

template <class F, class T, class Device>
[[nodiscard]] Traced<T, Device> binary(F f, const Traced<T, Device>& x,
                                       const Traced<T, Device>& y) {
  if constexpr (constexpr const char* op = detail::onnx_binary<F>(); op != nullptr)
    return x.like(x.graph().add(op, {x.name(), y.name()}),
                  broadcast(F::name, x.shape(), y.shape()).shape);
  else
    return f(x, y);
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> affine(const Traced<T, Device>& x, std::type_identity_t<T> a,
                                       std::type_identity_t<T> b) {
  return x.like(detail::scaled(x.graph(), x.name(), a, b), x.shape());
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> stop_gradient(const Traced<T, Device>& x) {
  return x;
}

namespace detail {

/// Sums or means along the last axis, which stays with extent 1.
template <class T, class Device>
[[nodiscard]] Traced<T, Device> reduced_last(const char* op, const Traced<T, Device>& x) {
  return x.like(x.graph().add(op, {x.name(), x.graph().integers({-1})}), x.shape().with_last(1));
}

/// Each row as one axis, (B, row).
template <class T, class Device>
[[nodiscard]] Traced<T, Device> flattened(const Traced<T, Device>& x) {
  return reshape(x, {x.rows(), x.shape().row_size()});
}

}  // namespace detail

template <class T, class Device>
[[nodiscard]] Traced<T, Device> reshape(const Traced<T, Device>& x, const Shape& shape) {
  if (shape.size() != x.shape().size() || shape.rows() != x.rows())
    throw_shape_error("reshape", x.shape(), shape,
                      "for an export the batch must stay, and the elements be as many");
  return x.like(detail::reshaped(x.graph(), x.name(), shape), shape);
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> sum(const Traced<T, Device>& x) {
  return detail::reduced_last("ReduceSum", detail::flattened(x));
}
template <class T, class Device>
[[nodiscard]] Traced<T, Device> mean(const Traced<T, Device>& x) {
  return detail::reduced_last("ReduceMean", detail::flattened(x));
}
template <class T, class Device>
[[nodiscard]] Traced<T, Device> sum_last(const Traced<T, Device>& x) {
  return detail::reduced_last("ReduceSum", x);
}
template <class T, class Device>
[[nodiscard]] Traced<T, Device> mean_last(const Traced<T, Device>& x) {
  return detail::reduced_last("ReduceMean", x);
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> mean_pixels(const Traced<T, Device>& x) {
  return x.like(x.graph().add("ReduceMean", {x.name(), x.graph().integers({1, 2})},
                              {{"keepdims", std::int64_t{0}}}),
                {x.rows(), x.shape().last()});
}

template <class T, class Device>
[[nodiscard]] Traced<T, Device> softmax(const Traced<T, Device>& x) {
  return x.like(x.graph().add("Softmax", {x.name()}, {{"axis", std::int64_t{-1}}}), x.shape());
}

}  // namespace meanflow
