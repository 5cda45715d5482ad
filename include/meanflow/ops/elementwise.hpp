// SPDX-License-Identifier: MIT
/// \file
/// Element-wise operations. The rules of scalar functions come from `Dual`: a value and its
/// derivative are one evaluation, f(Dual{x, 1}) = {f(x), f'(x)}, and
///   tangent   dy = f'(x) dx
///   backward  gx = f'(x) g
/// Operands of a binary operation are broadcast as in NumPy.
#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include <meanflow/autodiff/differentiable.hpp>
#include <meanflow/kernels/broadcast.hpp>
#include <meanflow/scalar/functors.hpp>

namespace meanflow {

// ------------------------------------------------------------------------------- unary

/// y = f(x), where f is a function object over any scalar (`scalar/functors.hpp`, or your own).
template <class F, ValueLike X>
[[nodiscard]] X unary(F f, const X& x) {
  X y = detail::make_like(x, x.shape());
  unary(typename X::device_type{}, f, detail::value_size(x), detail::tangent_size(x),
        detail::buffer(x), detail::buffer(y), nullptr);
  return y;
}

template <class F, ValueLike X>
[[nodiscard]] Var<X> unary(F f, const Var<X>& x) {
  using T = typename X::value_type;
  using Device = typename X::device_type;
  if (x.constant()) return {x.tape(), unary(f, x.value())};
  X y = detail::make_like(x.value(), x.shape());
  Tensor<T, Device> slope(x.shape());  // f'(x)
  unary(Device{}, f, detail::value_size(y), detail::tangent_size(y), detail::buffer(x.value()),
        detail::buffer(y), slope.data());
  return detail::recorded(x.tape(), std::move(y), true,
                          [slope, node = x.node()](auto& tape, Tensor<T, Device> g) mutable {
                            multiply(Device{}, g.size(), slope.data(), g.data(), slope.data());
                            tape.add_gradient(node, slope);
                          });
}

template <Differentiable X>
[[nodiscard]] X exp(const X& x) {
  return unary(Exp{}, x);
}
template <Differentiable X>
[[nodiscard]] X log(const X& x) {
  return unary(Log{}, x);
}
template <Differentiable X>
[[nodiscard]] X sqrt(const X& x) {
  return unary(Sqrt{}, x);
}
template <Differentiable X>
[[nodiscard]] X square(const X& x) {
  return unary(Square{}, x);
}
template <Differentiable X>
[[nodiscard]] X sin(const X& x) {
  return unary(Sin{}, x);
}
template <Differentiable X>
[[nodiscard]] X cos(const X& x) {
  return unary(Cos{}, x);
}
template <Differentiable X>
[[nodiscard]] X tanh(const X& x) {
  return unary(Tanh{}, x);
}
template <Differentiable X>
[[nodiscard]] X erf(const X& x) {
  return unary(Erf{}, x);
}
template <Differentiable X>
[[nodiscard]] X abs(const X& x) {
  return unary(Abs{}, x);
}
template <Differentiable X>
[[nodiscard]] X sigmoid(const X& x) {
  return unary(Sigmoid{}, x);
}
template <Differentiable X>
[[nodiscard]] X silu(const X& x) {
  return unary(Silu{}, x);
}
template <Differentiable X>
[[nodiscard]] X gelu(const X& x) {
  return unary(Gelu{}, x);
}
template <Differentiable X>
[[nodiscard]] X gelu_tanh(const X& x) {
  return unary(GeluTanh{}, x);
}
template <Differentiable X>
[[nodiscard]] X softplus(const X& x) {
  return unary(Softplus{}, x);
}
template <Differentiable X>
[[nodiscard]] X relu(const X& x) {
  return unary(Relu{}, x);
}

/// The same values; the backward pass and the tangents end here: dy = 0, gx = 0.
template <class T, class Device>
[[nodiscard]] Tensor<T, Device> stop_gradient(const Tensor<T, Device>& x) {
  return x;
}
template <class T, class Device>
[[nodiscard]] DualTensor<T, Device> stop_gradient(const DualTensor<T, Device>& x) {
  DualTensor<T, Device> y(x.shape(), x.tangent_rows());
  const std::size_t values = detail::value_size(x);
  copy(Device{}, values, detail::buffer(x), detail::buffer(y));
  fill(Device{}, detail::tangent_size(x), T(0), detail::buffer(y) + values);
  return y;
}
template <ValueLike X>
[[nodiscard]] Var<X> stop_gradient(const Var<X>& x) {
  return {x.tape(), stop_gradient(x.value())};
}

// ------------------------------------------------------------------- with plain numbers

/// y = a x + b; dy = a dx; gx = a g.
template <ValueLike X>
[[nodiscard]] X affine(const X& x, typename X::value_type a, typename X::value_type b) {
  X y = detail::make_like(x, x.shape());
  affine(typename X::device_type{}, detail::value_size(x), detail::tangent_size(x), a, b,
         detail::buffer(x), detail::buffer(y));
  return y;
}

template <ValueLike X>
[[nodiscard]] Var<X> affine(const Var<X>& x, typename X::value_type a, typename X::value_type b) {
  using T = typename X::value_type;
  using Device = typename X::device_type;
  return detail::recorded(x.tape(), affine(x.value(), a, b), !x.constant(),
                          [a, node = x.node()](auto& tape, Tensor<T, Device> g) {
                            if (a != T(1)) g = affine(g, a, T(0));
                            tape.add_gradient(node, std::move(g));
                          });
}

namespace detail {
template <class S, class X>
concept NumberFor = Differentiable<X> && std::is_arithmetic_v<S>;
}

template <class X, detail::NumberFor<X> S>
[[nodiscard]] X operator*(const X& x, S a) {
  return affine(x, static_cast<typename X::value_type>(a), 0);
}
template <class X, detail::NumberFor<X> S>
[[nodiscard]] X operator*(S a, const X& x) {
  return affine(x, static_cast<typename X::value_type>(a), 0);
}
template <class X, detail::NumberFor<X> S>
[[nodiscard]] X operator/(const X& x, S a) {
  return affine(x, typename X::value_type(1) / static_cast<typename X::value_type>(a), 0);
}
template <class X, detail::NumberFor<X> S>
[[nodiscard]] X operator+(const X& x, S b) {
  return affine(x, 1, static_cast<typename X::value_type>(b));
}
template <class X, detail::NumberFor<X> S>
[[nodiscard]] X operator+(S b, const X& x) {
  return affine(x, 1, static_cast<typename X::value_type>(b));
}
template <class X, detail::NumberFor<X> S>
[[nodiscard]] X operator-(const X& x, S b) {
  return affine(x, 1, -static_cast<typename X::value_type>(b));
}
template <class X, detail::NumberFor<X> S>
[[nodiscard]] X operator-(S b, const X& x) {
  return affine(x, -1, static_cast<typename X::value_type>(b));
}
template <Differentiable X>
[[nodiscard]] X operator-(const X& x) {
  return affine(x, -1, 0);
}

// ------------------------------------------------------------------------------ binary

namespace detail {

/// f(a, b) = p a + q b
template <class F>
concept LinearFunction = requires { requires F::linear; };

}  // namespace detail

/// z = f(x, y), broadcast; dz = df/dx dx + df/dy dy.
template <class F, ValueLike X>
[[nodiscard]] X binary(F f, const X& x, const X& y) {
  using T = typename X::value_type;
  using Device = typename X::device_type;
  const Broadcast shape = broadcast(F::name, x.shape(), y.shape());
  detail::check_same_tangents(F::name, x, y);
  const std::size_t tangents = detail::tangent_rows(x);
  X z = detail::make_like(x, shape.shape);
  const T *px = detail::buffer(x), *py = detail::buffer(y);
  if constexpr (detail::LinearFunction<F>)
    if (x.shape() == y.shape()) {  // values and tangents are computed alike
      const Shape all{detail::value_size(x) + detail::tangent_size(x)};
      binary(Device{}, f, broadcast(F::name, all, all), px, py, detail::buffer(z));
      return z;
    }
  binary(Device{}, f, shape, px, py, detail::buffer(z));
  if (tangents > 0) {
    if (x.rows() != y.rows() || x.shape().rank() != y.shape().rank())
      throw_shape_error(F::name, x.shape(), y.shape(), "with tangents the batches must be equal");
    const Broadcast part =
        broadcast(F::name, x.shape().with_rows(tangents), y.shape().with_rows(tangents));
    binary_tangent(Device{}, f, part, px, px + detail::value_size(x), py,
                   py + detail::value_size(y), detail::buffer(z) + detail::value_size(z));
  }
  return z;
}

namespace detail {

/// gx = p g or gy = q g of a linear function, summed over the axes that the operand of `shape` was
/// repeated on; g itself where it can be.
template <class F, class T, class Device>
[[nodiscard]] Tensor<T, Device> linear_gradient(F f, const Broadcast& together, bool first,
                                                const Shape& shape, const Tensor<T, Device>& g) {
  const T factor = f(Dual<T>(T(0), T(first ? 1 : 0)), Dual<T>(T(0), T(first ? 0 : 1))).tangent;
  if (shape == g.shape()) return factor == T(1) ? g : affine(g, factor, T(0));
  auto sum = Tensor<T, Device>::zeros(shape);
  T* const nothing = nullptr;
  // The derivatives do not depend on the operands: what stands in for them does not matter.
  binary_backward(Device{}, f, together, g.data(), g.data(), g.data(), first ? sum.data() : nothing,
                  first ? nothing : sum.data());
  return sum;
}

}  // namespace detail

/// gx = g df/dx and gy = g df/dy, summed over the axes that were repeated.
template <class F, ValueLike X>
[[nodiscard]] Var<X> binary(F f, const Var<X>& x, const Var<X>& y) {
  using T = typename X::value_type;
  using Device = typename X::device_type;
  if constexpr (detail::LinearFunction<F>)
    return detail::recorded(
        x.tape(), binary(f, x.value(), y.value()), !x.constant() || !y.constant(),
        [f, sx = x.shape(), sy = y.shape(), nx = x.node(), ny = y.node()](auto& tape,
                                                                          Tensor<T, Device> g) {
          constexpr std::size_t none = Tape<T, Device>::no_node;
          const Broadcast together = broadcast(F::name, sx, sy);
          if (nx != none) tape.add_gradient(nx, detail::linear_gradient(f, together, true, sx, g));
          if (ny != none) tape.add_gradient(ny, detail::linear_gradient(f, together, false, sy, g));
        });
  else
    return detail::recorded(
        x.tape(), binary(f, x.value(), y.value()), !x.constant() || !y.constant(),
        [f, xs = Tensor<T, Device>(primal(x)), ys = Tensor<T, Device>(primal(y)), nx = x.node(),
         ny = y.node()](auto& tape, Tensor<T, Device> g) {
          constexpr std::size_t none = Tape<T, Device>::no_node;
          Tensor<T, Device> gx, gy;
          if (nx != none) gx = Tensor<T, Device>::zeros(xs.shape());
          if (ny != none) gy = Tensor<T, Device>::zeros(ys.shape());
          binary_backward(Device{}, f, broadcast(F::name, xs.shape(), ys.shape()), xs.data(),
                          ys.data(), g.data(), gx.data(), gy.data());
          if (nx != none) tape.add_gradient(nx, std::move(gx));
          if (ny != none) tape.add_gradient(ny, std::move(gy));
        });
}

template <Differentiable X>
[[nodiscard]] X operator+(const X& x, const X& y) {
  return binary(Add{}, x, y);
}
template <Differentiable X>
[[nodiscard]] X operator-(const X& x, const X& y) {
  return binary(Subtract{}, x, y);
}
template <Differentiable X>
[[nodiscard]] X operator*(const X& x, const X& y) {
  return binary(Multiply{}, x, y);
}
template <Differentiable X>
[[nodiscard]] X operator/(const X& x, const X& y) {
  return binary(Divide{}, x, y);
}
template <Differentiable X>
[[nodiscard]] X max(const X& x, const X& y) {
  return binary(Maximum{}, x, y);
}
template <Differentiable X>
[[nodiscard]] X min(const X& x, const X& y) {
  return binary(Minimum{}, x, y);
}
/// silu(a) b
template <Differentiable X>
[[nodiscard]] X swiglu(const X& a, const X& b) {
  return binary(Swiglu{}, a, b);
}

}  // namespace meanflow
