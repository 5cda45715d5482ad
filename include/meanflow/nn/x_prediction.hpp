// SPDX-License-Identifier: MIT
/// \file
/// A net that predicts clean data, seen as one of velocities.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <meanflow/error.hpp>
#include <meanflow/nn/net.hpp>
#include <meanflow/ops/broadcast.hpp>
#include <meanflow/ops/elementwise.hpp>
#include <meanflow/ops/reshape.hpp>

namespace meanflow {

/// u(z, r, t) = (z - x(z, r, t)) / max(t, t_min), where x is what another net computes: data lie on
/// a manifold of few dimensions and velocities do not, which matters for large patches of pixels
/// (arXiv 2601.22158). On a linear path x = z - t u is the data that u leads to. Parameters, names
/// and conditions are those of the net within.
template <Net N>
class XPrediction {
 public:
  using value_type = typename N::value_type;
  using device_type = typename N::device_type;
  using condition_type = ConditionOf<N>;

  /// Throws SettingError unless t_min is in (0, 1].
  explicit XPrediction(N net, double t_min = 0.05) : net_(std::move(net)), t_min_(t_min) {
    if (!(t_min > 0 && t_min <= 1))
      throw SettingError("XPrediction: t_min is " + std::to_string(t_min) +
                         ", but must be in (0, 1]");
  }

  [[nodiscard]] const N& net() const { return net_; }
  [[nodiscard]] decltype(auto) parameters() const { return net_.parameters(); }
  [[nodiscard]] auto null_condition() const
    requires requires(const N& net) { net.null_condition(); }
  {
    return net_.null_condition();
  }
  [[nodiscard]] auto null_class() const
    requires requires(const N& net) { net.null_class(); }
  {
    return net_.null_class();
  }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t,
                             const condition_type& condition) const {
    return velocity_of(z, t, evaluate(net_, z, r, t, condition));
  }

  /// Both heads of a net that has two.
  template <Differentiable X>
    requires requires(const N& net, const X& x, const condition_type& c) { net.heads(x, x, x, c); }
  [[nodiscard]] auto heads(const X& z, const X& r, const X& t,
                           const condition_type& condition) const {
    auto heads = net_.heads(z, r, t, condition);
    heads.u = velocity_of(z, t, heads.u);
    heads.v = velocity_of(without_tangent(z), without_tangent(t), heads.v);
    return heads;
  }
  template <Differentiable X>
    requires requires(const N& net, const X& x, const condition_type& c) { net.velocity(x, x, c); }
  [[nodiscard]] X velocity(const X& z, const X& t, const condition_type& condition) const {
    return velocity_of(z, t, net_.velocity(z, t, condition));
  }

 private:
  template <class X>
  [[nodiscard]] X velocity_of(const X& z, const X& t, const X& x) const {
    using Values = Tensor<value_type, device_type>;
    const X least = constant_like(t, Values::full({t.rows(), 1}, static_cast<value_type>(t_min_)));
    Shape column{z.rows()};
    while (column.rank() < z.shape().rank()) column.push_back(1);
    return (z - x) / reshape(max(t, least), column);
  }

  N net_;
  double t_min_;
};

}  // namespace meanflow
