// SPDX-License-Identifier: MIT
/// \file
/// Improved Mean Flows as published (arXiv 2512.02012): a head for the velocity v, whose guided
/// velocity is the target and whose velocity the tangent, and guidance as an input of the net.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <meanflow/config.hpp>
#include <meanflow/flow/condition_dropout.hpp>
#include <meanflow/flow/guidance_input.hpp>
#include <meanflow/flow/mean_flow.hpp>
#include <meanflow/flow/squared_error.hpp>
#include <meanflow/flow/tangents.hpp>
#include <meanflow/nn/imf_net.hpp>
#include <meanflow/nn/net.hpp>

namespace meanflow {

namespace detail {

/// The scale that guides a row's target: omega within the interval, and 1 outside. Rows with r = t
/// are guided at any time.
template <class T>
struct EffectiveScale {
  const T *r, *t, *t_min, *t_max, *omega;
  T* scale;
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row) const {
    const bool guides = r[row] == t[row] || (t_min[row] <= t[row] && t[row] <= t_max[row]);
    scale[row] = guides ? omega[row] : T(1);
  }
};

/// v + (1 - 1 / w) (v_c - v_null), and v where the row says nothing.
template <class T>
struct GuideRows {
  using value_type = T;
  const T* scale;
  const std::uint8_t* is_null;
  const T *v, *of_condition, *of_null;
  T* guided;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At /*column*/) const {
    const T share = is_null[row] ? T(0) : 1 - 1 / scale[row];
    at.store(guided, at.load(v) + share * (at.load(of_condition) - at.load(of_null)));
  }
};

/// is_null[row] = 1 in rows that lose their condition.
struct MarkDropped {
  DroppedRows rule;
  const std::uint64_t *step, *numbers;
  std::uint8_t* is_null;
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row) const {
    if (rule(numbers[row], *step)) is_null[row] = 1;
  }
};

/// part[row] = null where is_null[row]
template <class Element>
struct NullWhere {
  std::size_t columns;
  const std::uint8_t* is_null;
  const Element* null;
  Element* part;
  MEANFLOW_HOST_DEVICE void operator()(std::size_t i) const {
    if (is_null[i / columns]) part[i] = null[i % columns];
  }
};

/// The condition with the null condition in the marked rows.
template <class Device, Condition C>
[[nodiscard]] C with_null_where(C condition, const C& null,
                                const Tensor<std::uint8_t, Device>& is_null) {
  for_each_null(condition, null, [&](auto& part, const auto& nothing) {
    using Element = typename std::remove_cvref_t<decltype(part)>::value_type;
    part = part.clone();
    for_each_index(Device{}, part.size(),
                   NullWhere<Element>{nothing.size(), is_null.data(), nothing.data(), part.data()});
  });
  return condition;
}

}  // namespace detail

/// What guidance makes of a batch.
template <class T, class Device>
struct ImfVelocities {
  Tensor<T, Device> guided;   ///< the target of both heads (B, ...)
  Tensor<T, Device> tangent;  ///< v_c, the direction of the derivative where r < t (B, ...)
};

/// The velocities of the v head at r = t: with w = omega where t is in [t_min, t_max] or r = t, and
/// 1 elsewhere,
///   tangent v_c = v(z, t | condition, w),   guided = v + (1 - 1 / w) (v_c - v(z, t | null, 1)),
/// and guided = v in rows for which `is_null` is not 0. The condition must hold guidance. Nothing
/// is recorded.
template <ImfNet N>
[[nodiscard]] auto imf_velocities(const N& net, const FlowBatchOf<N>& batch,
                                  const Tensor<std::uint8_t, typename N::device_type>& is_null) {
  using T = typename N::value_type;
  using Device = typename N::device_type;
  using Values = Tensor<T, Device>;
  const std::size_t rows = batch.z.rows();
  const ConditionOf<N>& given = batch.condition;
  if (given.omega.empty() || given.t_min.empty() || given.t_max.empty())
    throw ShapeError("imf_velocities: the condition holds no guidance, which with_guidance gives");
  Values scale({rows, 1});
  for_each_index(Device{}, rows,
                 detail::EffectiveScale<T>{batch.r.data(), batch.t.data(), given.t_min.data(),
                                           given.t_max.data(), given.omega.data(), scale.data()});
  const ConditionOf<N> plain = with_guidance(given, {}, rows);
  ConditionOf<N> scaled = plain;
  scaled.omega = scale;
  const Values of_null = net.velocity(
      batch.z, batch.t, with_null<Device>(plain, null_condition_of(net, "ImfObjective"), rows));
  ImfVelocities<T, Device> result{Values(batch.z.shape()), net.velocity(batch.z, batch.t, scaled)};
  for_each_in_rows(
      Device{}, rows, batch.z.row_size(),
      detail::GuideRows<T>{scale.data(), is_null.data(), batch.v.data(), result.tangent.data(),
                           of_null.data(), result.guided.data()});
  return result;
}

/// The losses of both heads towards the guided velocity: V = u + (t - r) sg(du/dt) with du/dt along
/// (v_c, 0, 1), and v. Rows for which `is_null` is not 0 are told nothing and not guided. Metrics:
/// those of Mean Flows, and |v - guided|^2.
template <ImfNet N, class W>
[[nodiscard]] auto imf_losses(const N& net, const FlowBatchOf<N>& batch,
                              const Tensor<std::uint8_t, typename N::device_type>& is_null,
                              const StepContext<N, W>& context) {
  using T = typename N::value_type;
  using Device = typename N::device_type;
  const auto velocities = imf_velocities(net, batch, is_null);
  FlowBatchOf<N> told = batch;
  told.v = velocities.guided;
  told.unguided = batch.path_velocity();
  told.condition = detail::with_null_where<Device>(batch.condition,
                                                   null_condition_of(net, "ImfObjective"), is_null);
  const auto [z, r, t] =
      inputs_along(told, velocities.tangent.rows(0, told.jump_rows), context.tape);
  const auto heads = net.heads(z, r, t, told.condition);
  auto of_u = mean_flow_losses(context, told, velocity_and_jvp(heads.u));
  auto of_v = squared_error(context, heads.v, told.v);
  accumulate(Device{}, of_u.loss.size(), of_v.loss.data(), of_u.loss.data());
  return RowLosses<T, Device, 2, 4>{
      of_u.loss,
      {of_u.outputs[0], of_v.output},
      {of_u.metrics[0], of_u.metrics[1], of_u.metrics[2], of_v.squared_error}};
}

/// Improved Mean Flows with two heads, as published: `imf_losses` with guidance drawn for every row
/// and told to the net, which `ImfNet` describes.
///
/// Conditions are dropped here, after the velocities are computed, so leave the trainer's
/// `condition_dropout` at 0; rows that come with the null condition are not guided either.
struct ImfObjective {
  static constexpr std::array metrics{Metric{"squared_error"}, Metric{"velocity_error"},
                                      Metric{"jvp_norm", MetricRows::jumping}, Metric{"v_error"}};
  GuidanceDraw guidance{};
  ConditionDropout dropout{.rate = 0.1};

  static constexpr void fields(auto f, auto&... o) {
    f("guidance", o.guidance...);
    f("dropout", o.dropout...);
  }
  /// Throws SettingError if a number is out of range.
  void check() const {
    guidance.check();
    dropout.check();
  }

  template <ImfNet N, class W>
  [[nodiscard]] auto operator()(const N& net, const FlowBatchOf<N>& batch,
                                const StepContext<N, W>& context) const {
    using Device = typename N::device_type;
    const std::size_t rows = batch.z.rows();
    const ConditionOf<N> null = null_condition_of(net, "ImfObjective");
    detail::check_given("ImfObjective: the batch comes without the condition that guides",
                        batch.condition, null);
    FlowBatchOf<N> told = batch;
    told.condition = with_drawn_guidance(batch.condition, guidance, batch.draws, batch.r, batch.t);
    auto is_null = null_rows<Device>(told.condition, null, rows);
    for_each_index(
        Device{}, dropout.rate > 0 ? rows : 0,
        detail::MarkDropped{dropout.rule(context.batch, batch.draws.seed), batch.draws.step.data(),
                            batch.draws.rows.data(), is_null.data()});
    return imf_losses(net, told, is_null, context);
  }
};

}  // namespace meanflow
