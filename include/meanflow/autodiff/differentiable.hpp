// SPDX-License-Identifier: MIT
/// \file
/// The kinds of value that a net is written over, and what operations need to know about them.
#pragma once

#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

#include <meanflow/autodiff/tape.hpp>
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/tensor/dual_tensor.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

namespace detail {

template <class X>
inline constexpr bool is_tensor = false;
template <class T, class Device>
inline constexpr bool is_tensor<Tensor<T, Device>> = true;

template <class X>
inline constexpr bool is_dual_tensor = false;
template <class T, class Device>
inline constexpr bool is_dual_tensor<DualTensor<T, Device>> = true;

template <class X>
inline constexpr bool is_var = false;
template <class X>
inline constexpr bool is_var<Var<X>> = true;

/// Values that record what is computed from them, for an export: `Traced` (onnx/traced.hpp).
template <class X>
inline constexpr bool is_traced = false;

}  // namespace detail

/// Values with or without tangents: `Tensor` or `DualTensor`.
template <class X>
concept ValueLike = detail::is_tensor<X> || detail::is_dual_tensor<X>;

/// What a net is called with: `Tensor`, `DualTensor`, `Var` over either, or `Traced`.
template <class X>
concept Differentiable = ValueLike<X> || detail::is_var<X> || detail::is_traced<X>;

// ------------------------------------------------- Tensor and DualTensor seen as rows of numbers

template <class T, class Device>
[[nodiscard]] const Tensor<T, Device>& primal(const Tensor<T, Device>& x) {
  return x;
}
template <class T, class Device>
[[nodiscard]] Tensor<T, Device> primal(const DualTensor<T, Device>& x) {
  return x.primal();
}
template <class X>
[[nodiscard]] decltype(auto) primal(const Var<X>& x) {
  return primal(x.value());
}

namespace detail {

/// The number of tangent rows: 0 for a plain tensor.
template <class T, class Device>
[[nodiscard]] std::size_t tangent_rows(const Tensor<T, Device>&) {
  return 0;
}
template <class T, class Device>
[[nodiscard]] std::size_t tangent_rows(const DualTensor<T, Device>& x) {
  return x.tangent_rows();
}

/// Values, followed by tangents where there are any.
template <class T, class Device>
[[nodiscard]] const T* buffer(const Tensor<T, Device>& x) {
  return x.data();
}
template <class T, class Device>
[[nodiscard]] T* buffer(Tensor<T, Device>& x) {
  return x.data();
}
template <class T, class Device>
[[nodiscard]] const T* buffer(const DualTensor<T, Device>& x) {
  return x.buffer().data();
}
template <class T, class Device>
[[nodiscard]] T* buffer(DualTensor<T, Device>& x) {
  return x.buffer().data();
}

/// The number of values, and of tangents.
template <ValueLike X>
[[nodiscard]] std::size_t value_size(const X& x) {
  return x.shape().size();
}
template <ValueLike X>
[[nodiscard]] std::size_t tangent_size(const X& x) {
  return tangent_rows(x) * x.shape().row_size();
}

/// Memory for a result of `shape` of the same kind as x, with as many tangent rows.
template <class T, class Device>
[[nodiscard]] Tensor<T, Device> make_like(const Tensor<T, Device>&, const Shape& shape) {
  return Tensor<T, Device>(shape);
}
template <class T, class Device>
[[nodiscard]] DualTensor<T, Device> make_like(const DualTensor<T, Device>& x, const Shape& shape) {
  return DualTensor<T, Device>(shape, x.tangent_rows());
}

/// Throws unless x and y carry tangents for the same rows.
template <ValueLike X>
void check_same_tangents(const char* operation, const X& x, const X& y) {
  if (tangent_rows(x) != tangent_rows(y))
    throw ShapeError(std::string(operation) + ": one operand has " +
                     std::to_string(tangent_rows(x)) + " tangent rows, the other " +
                     std::to_string(tangent_rows(y)));
}

/// The result of an operation on `inputs`: recorded with its backward rule if any input or
/// parameter is differentiated, a constant otherwise. `backward(tape, g)` gets the gradient g of
/// the result.
template <class X, class Backward>
[[nodiscard]] Var<X> recorded(typename Var<X>::Tape& tape, X value, bool differentiated,
                              Backward backward) {
  if (!differentiated) return {tape, std::move(value)};
  const std::size_t node = tape.new_node();
  tape.record([node, backward = std::move(backward)](typename Var<X>::Tape& t) mutable {
    auto gradient = t.take_gradient(node);
    if (!gradient.empty()) backward(t, std::move(gradient));
  });
  return {tape, std::move(value), node};
}

}  // namespace detail

/// x without its tangents: the same values and the same gradient.
template <class T, class Device>
[[nodiscard]] Var<Tensor<T, Device>> without_tangent(const Var<DualTensor<T, Device>>& x) {
  return {x.tape(), x.value().primal(), x.node()};
}
template <class T, class Device>
[[nodiscard]] Tensor<T, Device> without_tangent(const DualTensor<T, Device>& x) {
  return x.primal();
}
template <class X>
  requires(!detail::is_dual_tensor<X>)
[[nodiscard]] const X& without_tangent(const X& x) {
  return x;
}

}  // namespace meanflow
