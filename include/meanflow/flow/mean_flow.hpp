// SPDX-License-Identifier: MIT
/// \file
/// Flow matching, Mean Flows and improved Mean Flows.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <variant>

#include <meanflow/flow/regression.hpp>
#include <meanflow/flow/squared_error.hpp>
#include <meanflow/flow/tangent_options.hpp>
#include <meanflow/flow/tangents.hpp>

namespace meanflow {

namespace detail {

/// error = u - (v - (t - r) du/dt), with du/dt = 0 beyond the first `jump_rows` rows.
template <class W, class T>
struct FlowError {
  using value_type = T;
  static constexpr std::size_t sums = 3;
  WeighRow<W, T> weigh;
  std::size_t jump_rows;
  const T *u, *dudt, *v, *path_velocity, *r, *t;
  T *error, *velocity_errors, *jvp_norms;
  template <class At>
  [[nodiscard]] MEANFLOW_HOST_DEVICE auto term(std::size_t row, At at, At /*column*/) const {
    const auto difference = at.load(u) - at.load(path_velocity);
    auto e = at.load(u) - at.load(v);
    auto slope = e;  // the sum of slopes is read where rows jump
    if (row < jump_rows) {
      slope = at.load(dudt);
      e = e + (t[row] - r[row]) * slope;
    }
    at.store(error, e);
    using V = decltype(e * e);
    return Sums<V, 3>{e * e, difference * difference, slope * slope};
  }
  MEANFLOW_HOST_DEVICE void finish(std::size_t row, const Sums<T, 3>& sum) const {
    using std::sqrt;
    weigh(row, sum.of[0]);
    velocity_errors[row] = sum.of[1];
    jvp_norms[row] = row < jump_rows ? sqrt(sum.of[2]) : T(0);
  }
};

}  // namespace detail

/// The losses of u towards v - (t - r) du/dt, which is a constant to the gradient, with
/// `flow_metrics`.
template <class N, class W, class T, class Device>
[[nodiscard]] RowLosses<T, Device, 1, 3> mean_flow_losses(const StepContext<N, W>& context,
                                                          const FlowBatchOf<N>& batch,
                                                          const VelocityAndJvp<T, Device>& net) {
  const std::size_t rows = batch.z.rows(), columns = batch.z.row_size();
  if (!(net.u.shape() == batch.z.shape()))
    throw_shape_error("objective", net.u.shape(), batch.z.shape(),
                      "the net must return the shape of z");
  using Values = Tensor<T, Device>;
  RowLosses<T, Device, 1, 3> result{Tensor<double, Device>({rows}),
                                    {{{net.node, Values(batch.z.shape())}}},
                                    {Values({rows}), Values({rows}), Values({rows})}};
  Values& error = result.outputs[0].gradient;
  auto& [squared_error, velocity_error, jvp_norm] = result.metrics;
  Values scales({rows});
  const detail::WeighRow<W, T> weigh{context.weighting,  columns,       context.batch,
                                     result.loss.data(), scales.data(), squared_error.data()};
  reduce_rows(Device{}, rows, columns,
              detail::FlowError<W, T>{weigh, net.dudt.empty() ? 0 : net.dudt.rows(), net.u.data(),
                                      net.dudt.data(), batch.v.data(), batch.path_velocity().data(),
                                      batch.r.data(), batch.t.data(), error.data(),
                                      velocity_error.data(), jvp_norm.data()});
  for_each_in_rows(Device{}, rows, columns,
                   detail::ScaleRows<T>{scales.data(), error.data(), error.data()});
  return result;
}

/// Flow matching: u(z, t, t) towards v. The baseline that Mean Flows grow from.
struct FlowMatching {
  static constexpr std::array metrics = flow_metrics;
  [[nodiscard]] static constexpr bool needs_jumps() { return false; }
  [[nodiscard]] static constexpr bool instantaneous() { return true; }

  template <class N, class W>
  [[nodiscard]] auto operator()(const N& net, const FlowBatchOf<N>& batch,
                                const StepContext<N, W>& context) const {
    const auto [z, r, t] = inputs(batch, context.tape);
    const auto u = evaluate(net, z, t, t, batch.condition);
    using T = typename N::value_type;
    return mean_flow_losses(context, batch,
                            VelocityAndJvp<T, typename N::device_type>{u.node(), u.value(), {}});
  }
};

/// Mean Flows (arXiv 2505.13447): u(z, r, t) towards sg(v - (t - r) du/dt), with du/dt the
/// derivative of u along (v, 0, 1), unless `tangent` changes it.
struct MeanFlow {
  static constexpr std::array metrics = flow_metrics;
  JvpDirection direction{};
  JvpMode mode = JvpMode::joint;
  TangentOptions tangent{};

  static constexpr void fields(auto f, auto&... o) {
    f("direction", o.direction...);
    f("mode", o.mode...);
    f("tangent", o.tangent...);
  }
  /// Throws SettingError if an option of the tangent is out of range.
  void check() const { tangent.check(); }

  template <class N, class W>
  [[nodiscard]] auto operator()(const N& net, const FlowBatchOf<N>& batch,
                                const StepContext<N, W>& context) const {
    const auto dz = mixed_direction(net, batch, tangent);
    auto found = tangent.apart()
                     ? velocity_and_difference(net, batch, dz, context.tape, tangent, direction)
                     : velocity_and_jvp(net, batch, dz, context.tape, mode, direction);
    if (batch.jump_rows > 0) found.dudt = shaped_tangents(found.dudt, tangent, batch.draws);
    return mean_flow_losses(context, batch, found);
  }
};

/// Improved Mean Flows with the boundary velocity (arXiv 2512.02012): V = u + (t - r) sg(du/dt)
/// towards v, with du/dt along (u(z, t, t), 0, 1): the net's own velocity, which depends on z
/// alone, takes the place of the conditional one.
struct ImprovedMeanFlow {
  static constexpr std::array metrics = flow_metrics;
  JvpMode mode = JvpMode::joint;
  bool net_dropout = false;  ///< whether the net's dropout is active in the boundary velocity

  static constexpr void fields(auto f, auto&... o) {
    f("mode", o.mode...);
    f("net_dropout", o.net_dropout...);
  }

  template <class N, class W>
  [[nodiscard]] auto operator()(const N& net, const FlowBatchOf<N>& batch,
                                const StepContext<N, W>& context) const {
    const std::size_t jumps = batch.jump_rows;
    Tensor<typename N::value_type, typename N::device_type> velocity;
    if (jumps > 0) {
      const auto t = batch.t.rows(0, jumps);
      const auto given = condition_rows(batch.condition, 0, jumps);
      velocity =
          evaluate(net, batch.z.rows(0, jumps), t, t, net_dropout ? given : without_dropout(given));
    }
    return mean_flow_losses(context, batch,
                            velocity_and_jvp(net, batch, velocity, context.tape, mode));
  }
};

}  // namespace meanflow
