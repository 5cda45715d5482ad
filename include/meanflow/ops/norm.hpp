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

[[nodiscard]] inline NormShape norm_shape(const Shape& s, std::size_t groups) {
  if (groups == 0 || s.rank() < 2 || s.last() % groups != 0)
    throw ShapeError("group_norm: the channels of shape " + to_string(s) + " cannot be cut into " +
                     std::to_string(groups) + " equal groups");
  return {s.rows(), s.row_size() / s.last(), s.last(), groups};
}

/// Throws unless `given` (B, C) fits the channels of x.
template <ValueLike X>
void check_norm_term(const X& x, const X& given, const char* what) {
  const Shape s = x.shape();
  if (!(given.shape() == Shape{s.rows(), s.last()}))
    throw_shape_error("group_norm", given.shape(), s, what);
  check_same_tangents("group_norm", x, given);
}

template <ValueLike X>
[[nodiscard]] NormTerms<typename X::value_type> norm_terms(const X& x, const X& scale,
                                                           const X& shift) {
  check_norm_term(x, scale, "scale and shift must be (B, C)");
  check_norm_term(x, shift, "scale and shift must be (B, C)");
  return {buffer(scale), buffer(shift), false, nullptr};
}

template <ValueLike X, class T, class Device>
[[nodiscard]] NormTerms<T> norm_terms(const X& x, const Parameter<T, Device>& scale,
                                      const Parameter<T, Device>& shift) {
  for (const auto* parameter : {&scale, &shift})
    if (parameter->size() != x.shape().last())
      throw_shape_error("group_norm", parameter->shape(), x.shape(),
                        "scale and shift must have a number for each channel");
  return {scale.data(), shift.data(), true, nullptr};
}

/// The result, and the statistics that the backward pass needs.
template <class X>
struct NormResult {
  X y;
  Tensor<typename X::value_type, typename X::device_type> mean, inv_std;
};

template <class F, ValueLike X>
[[nodiscard]] NormResult<X> group_norm_forward(F f, const X& x,
                                               const NormTerms<typename X::value_type>& terms,
                                               std::size_t groups, double epsilon) {
  using T = typename X::value_type;
  using Device = typename X::device_type;
  const NormShape n = norm_shape(x.shape(), groups);
  NormResult<X> result{make_like(x, x.shape()), Tensor<T, Device>({n.rows, groups}),
                       Tensor<T, Device>({n.rows, groups})};
  group_norm(Device{}, f, n, tangent_rows(x), static_cast<T>(epsilon), buffer(x), terms,
             buffer(result.y), result.mean.data(), result.inv_std.data());
  return result;
}

/// f(norm(x + added) scale + shift) with parameters; `added` may be empty.
template <class F, ValueLike X, class T, class Device>
[[nodiscard]] NormResult<X> group_norm_forward(F f, const X& x, const X* added,
                                               const Parameter<T, Device>& scale,
                                               const Parameter<T, Device>& shift,
                                               std::size_t groups, double epsilon) {
  auto terms = norm_terms(x, scale, shift);
  if (added) {
    check_norm_term(x, *added, "what is added must be (B, C)");
    terms.added = buffer(*added);
  }
  return group_norm_forward(f, x, terms, groups, epsilon);
}

template <class F, ValueLike X, class T, class Device>
[[nodiscard]] Var<X> recorded_group_norm(F f, const Var<X>& x, const Var<X>* added,
                                         const Parameter<T, Device>& scale,
                                         const Parameter<T, Device>& shift, std::size_t groups,
                                         double epsilon) {
  using Values = Tensor<T, Device>;
  auto& tape = x.tape();
  T *const ga = tape.gradient_of(scale), *const gb = tape.gradient_of(shift);
  auto result = group_norm_forward(f, x.value(), added ? &added->value() : nullptr, scale, shift,
                                   groups, epsilon);
  const bool moves = added && !added->constant();
  return recorded(
      tape, std::move(result.y), !x.constant() || moves || ga || gb,
      [f, n = norm_shape(x.shape(), groups), mean = result.mean, inv_std = result.inv_std,
       input = Values(primal(x)), scale, shift, ga, gb, moves,
       c = added ? Values(primal(*added)) : Values(), node = x.node(),
       added_node = added ? added->node() : Tape<T, Device>::no_node](auto& t, Values g) {
        Values gx(input.shape()), modulation({2 * n.rows, n.channels});  // of scale, then of shift
        Values gc = moves ? Values(c.shape()) : Values();
        const Values before = t.take_own_gradient(node);
        const NormTerms<T> terms{scale.data(), shift.data(), true, c.data()};
        T* const of_scale = modulation.data();
        group_norm_backward(Device{}, f, n, input.data(), terms, mean.data(), inv_std.data(),
                            g.data(), gx.data(), of_scale, of_scale + n.rows * n.channels,
                            gc.data(), static_cast<const T*>(before.data()));
        if (ga || gb) add_column_sums(Device{}, n.rows, n.channels, of_scale, ga, gb);
        t.add_gradient(node, std::move(gx));
        if (moves) t.add_gradient(added_node, std::move(gc));
      });
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
  return detail::group_norm_forward(f, x, detail::norm_terms(x, scale, shift), groups, epsilon).y;
}

template <class F = Identity, ValueLike X>
[[nodiscard]] Var<X> group_norm(const Var<X>& x, const Var<X>& scale, const Var<X>& shift,
                                std::size_t groups, double epsilon = 1e-5, F f = {}) {
  using T = typename X::value_type;
  using Device = typename X::device_type;
  using Values = Tensor<T, Device>;
  auto result = detail::group_norm_forward(
      f, x.value(), detail::norm_terms(x.value(), scale.value(), shift.value()), groups, epsilon);
  return detail::recorded(
      x.tape(), std::move(result.y), !x.constant() || !scale.constant() || !shift.constant(),
      [f, n = detail::norm_shape(x.shape(), groups), mean = result.mean, inv_std = result.inv_std,
       input = Values(primal(x)), a = Values(primal(scale)), b = Values(primal(shift)),
       node = x.node(), scale_node = scale.node(),
       shift_node = shift.node()](auto& tape, Values g) {
        Values gx(input.shape()), ga(a.shape()), gb(b.shape());
        const Values before = tape.take_own_gradient(node);
        group_norm_backward(Device{}, f, n, input.data(), NormTerms<T>{a.data(), b.data()},
                            mean.data(), inv_std.data(), g.data(), gx.data(), ga.data(), gb.data(),
                            static_cast<T*>(nullptr), static_cast<const T*>(before.data()));
        tape.add_gradient(node, std::move(gx));
        tape.add_gradient(scale_node, std::move(ga));
        tape.add_gradient(shift_node, std::move(gb));
      });
}

/// The same with parameters a and b (C) for all rows: ga and gb are summed over rows as well.
template <class F = Identity, ValueLike X, class T, class Device>
[[nodiscard]] X group_norm(const X& x, const Parameter<T, Device>& scale,
                           const Parameter<T, Device>& shift, std::size_t groups,
                           double epsilon = 1e-5, F f = {}) {
  const X* const nothing = nullptr;
  return detail::group_norm_forward(f, x, nothing, scale, shift, groups, epsilon).y;
}

template <class F = Identity, ValueLike X, class T, class Device>
[[nodiscard]] Var<X> group_norm(const Var<X>& x, const Parameter<T, Device>& scale,
                                const Parameter<T, Device>& shift, std::size_t groups,
                                double epsilon = 1e-5, F f = {}) {
  const Var<X>* const nothing = nullptr;
  return detail::recorded_group_norm(f, x, nothing, scale, shift, groups, epsilon);
}

/// group_norm(x + added, ...) without a sum in memory: `added` (B, C) is one number for all pixels
/// of a channel, and its gradient the sum of gx over pixels.
template <class F = Identity, ValueLike X, class T, class Device>
[[nodiscard]] X group_norm_of_sum(const X& x, const X& added, const Parameter<T, Device>& scale,
                                  const Parameter<T, Device>& shift, std::size_t groups,
                                  double epsilon = 1e-5, F f = {}) {
  return detail::group_norm_forward(f, x, &added, scale, shift, groups, epsilon).y;
}

template <class F = Identity, ValueLike X, class T, class Device>
[[nodiscard]] Var<X> group_norm_of_sum(const Var<X>& x, const Var<X>& added,
                                       const Parameter<T, Device>& scale,
                                       const Parameter<T, Device>& shift, std::size_t groups,
                                       double epsilon = 1e-5, F f = {}) {
  return detail::recorded_group_norm(f, x, &added, scale, shift, groups, epsilon);
}

}  // namespace meanflow
