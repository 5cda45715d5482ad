// SPDX-License-Identifier: MIT
/// \file
/// Classifier-free guidance: in the target, so that one evaluation per step is still enough, or at
/// sampling.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <meanflow/config.hpp>
#include <meanflow/flow/condition_dropout.hpp>
#include <meanflow/flow/objective.hpp>
#include <meanflow/flow/squared_error.hpp>
#include <meanflow/nn/net.hpp>
#include <meanflow/ops/elementwise.hpp>

namespace meanflow {

/// Guidance in the target (arXiv 2505.13447, section 4.2 and appendix): the velocity v is replaced
/// by
///   omega v + (1 - omega - kappa) u(z, t, t | null) + kappa u(z, t, t | condition)
/// where t_start <= t <= t_end; v stays elsewhere and in rows that are told nothing. The effective
/// scale is omega / (1 - kappa).
struct Guidance {
  double omega = 1;
  double kappa = 0;
  double t_start = 0, t_end = 1;
  /// Whether the net's dropout is active in the velocities that guidance asks the net for. They are
  /// targets, so the published code leaves it out.
  bool net_dropout = false;

  static constexpr void fields(auto f, auto&... g) {
    f("omega", g.omega...);
    f("kappa", g.kappa...);
    f("t_start", g.t_start...);
    f("t_end", g.t_end...);
    f("net_dropout", g.net_dropout...);
  }

  /// Whether it changes anything.
  [[nodiscard]] bool active() const { return omega != 1 || kappa != 0; }

  /// Throws SettingError if kappa is not in [0, 1), omega is not finite, or the interval is empty.
  void check() const {
    if (!std::isfinite(omega))
      throw SettingError("Guidance: omega is " + std::to_string(omega) + ", but must be finite");
    if (!(kappa >= 0 && kappa < 1))
      throw SettingError("Guidance: kappa is " + std::to_string(kappa) + ", but must be in [0, 1)");
    if (!(t_start <= t_end))
      throw SettingError("Guidance: t_start is " + std::to_string(t_start) +
                         ", but must be at most t_end, which is " + std::to_string(t_end));
  }
};

namespace detail {

/// What a row's guided velocity is made of.
template <class T>
struct GuidanceShares {
  Guidance guidance;
  const T* t;
  const std::uint8_t* is_null;
  T *of_data, *of_null, *of_condition;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t row) const {
    const double time = static_cast<double>(t[row]);
    const bool guides = guidance.t_start <= time && time <= guidance.t_end && !is_null[row];
    of_data[row] = guides ? static_cast<T>(guidance.omega) : T(1);
    of_null[row] = guides ? static_cast<T>(1 - guidance.omega - guidance.kappa) : T(0);
    of_condition[row] = guides ? static_cast<T>(guidance.kappa) : T(0);
  }
};

template <class T, class Device>
[[nodiscard]] Tensor<T, Device> scale_rows(const Tensor<T, Device>& scales,
                                           const Tensor<T, Device>& x) {
  Tensor<T, Device> y(x.shape());
  for_each_in_rows(Device{}, x.rows(), x.row_size(),
                   ScaleRows<T>{scales.data(), x.data(), y.data()});
  return y;
}

}  // namespace detail

/// The guided velocity of a batch's v, (B, ...). Throws SettingError if the net has no
/// null condition.
template <class N>
[[nodiscard]] Tensor<typename N::value_type, typename N::device_type> guided_velocity(
    const Guidance& guidance, const N& net, const FlowBatchOf<N>& batch) {
  using T = typename N::value_type;
  using Device = typename N::device_type;
  guidance.check();
  const std::size_t rows = batch.z.rows();
  const ConditionOf<N> null = null_condition_of(net, "guidance");
  detail::check_given("guidance: the batch comes without the condition that the net is guided by",
                      batch.condition, null);
  detail::check_null("guidance", batch.condition, null);
  const auto is_null = null_rows<Device>(batch.condition, null, rows);
  Tensor<T, Device> of_data({rows}), of_null({rows}), of_condition({rows});
  for_each_index(Device{}, rows,
                 detail::GuidanceShares<T>{guidance, batch.t.data(), is_null.data(), of_data.data(),
                                           of_null.data(), of_condition.data()});
  const ConditionOf<N> given =
      guidance.net_dropout ? batch.condition : without_dropout(batch.condition);
  Tensor<T, Device> v = detail::scale_rows(of_data, batch.v);
  const auto add = [&](const Tensor<T, Device>& shares, const ConditionOf<N>& condition) {
    const auto u = evaluate(net, batch.z, batch.t, batch.t, condition);
    if (!(u.shape() == v.shape()))
      throw_shape_error("guidance", u.shape(), v.shape(), "the net must return the shape of z");
    const auto part = detail::scale_rows(shares, u);
    accumulate(Device{}, v.size(), part.data(), v.data());
  };
  add(of_null, with_null<Device>(given, null, rows));
  if (guidance.kappa != 0) add(of_condition, given);
  return v;
}

/// An objective that regresses towards the batch's v, given the guided one.
template <class O>
struct Guided {
  Guidance guidance{};
  O objective{};

  static constexpr auto metrics = detail::metrics_of<O>();
  [[nodiscard]] constexpr bool needs_jumps() const { return meanflow::needs_jumps(objective); }
  [[nodiscard]] constexpr bool instantaneous() const { return meanflow::instantaneous(objective); }
  static constexpr void fields(auto f, auto&... o) {
    f("guidance", o.guidance...);
    f("objective", o.objective...);
  }
  [[nodiscard]] constexpr bool changes_with_step() const {
    return meanflow::changes_with_step(objective);
  }
  void check() const {
    guidance.check();
    if constexpr (requires { objective.check(); }) objective.check();
  }

  template <class N, class W>
  [[nodiscard]] auto operator()(const N& net, const FlowBatchOf<N>& batch,
                                const StepContext<N, W>& context) const {
    if (!guidance.active()) return objective(net, batch, context);
    FlowBatchOf<N> guided = batch;
    guided.v = guided_velocity(guidance, net, batch);
    guided.unguided = batch.path_velocity();
    return objective(net, guided, context);
  }
};

/// A net guided at sampling: u(null) + scale (u(condition) - u(null)), two evaluations in each
/// step. For nets that were trained without guidance in the target, but with `ConditionDropout`.
template <Net N>
class GuidedSampling {
 public:
  using value_type = typename N::value_type;
  using device_type = typename N::device_type;
  using condition_type = ConditionOf<N>;

  /// The net must outlive this. Throws SettingError if it has no null condition.
  GuidedSampling(const N& net, double scale)
      : net_(net), scale_(scale), null_(null_condition_of(net, "guidance at sampling")) {}

  [[nodiscard]] decltype(auto) parameters() const { return net_.parameters(); }
  [[nodiscard]] const condition_type& null_condition() const { return null_; }
  [[nodiscard]] Shape row_shape() const
    requires requires(const N& net) { net.row_shape(); }
  {
    return net_.row_shape();
  }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t,
                             const condition_type& condition) const {
    detail::check_given(
        "guidance at sampling: there is no condition to guide towards; give one to sample",
        condition, null_);
    detail::check_null("guidance at sampling", condition, null_);
    const X null = evaluate(net_, z, r, t, with_null<device_type>(condition, null_, z.rows()));
    return null + (evaluate(net_, z, r, t, condition) - null) * scale_;
  }

 private:
  const N& net_;
  double scale_;
  condition_type null_;
};

}  // namespace meanflow
