// SPDX-License-Identifier: MIT
/// \file
/// alpha-Flow and SoFlow: the average velocity of an interval from that of its earlier part,
/// without a derivative, and with a gap that closes in the course of training.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include <meanflow/config.hpp>
#include <meanflow/flow/mean_flow.hpp>
#include <meanflow/flow/objective.hpp>
#include <meanflow/flow/regression.hpp>

namespace meanflow {

/// How the share a of an interval [r, t] that is walked along the data's velocity falls from `from`
/// to `to` while training goes from the share `begin` of its steps to the share `end`.
struct GapSchedule {
  enum class Shape { sigmoid, exponential };
  Shape shape = Shape::sigmoid;
  double from = 1, to = 0;
  double begin = 0, end = 1;
  double steepness = 25;  ///< of the sigmoid

  static constexpr void fields(auto f, auto&... g) {
    f("shape", g.shape...);
    f("from", g.from...);
    f("to", g.to...);
    f("begin", g.begin...);
    f("end", g.end...);
    f("steepness", g.steepness...);
  }

  /// Throws SettingError if a number is out of range.
  void check() const {
    const auto share = [](double x) { return x >= 0 && x <= 1; };
    if (!share(from) || !share(to) || !(to <= from) || (shape == Shape::exponential && !(to > 0)))
      throw SettingError("GapSchedule: it goes from " + std::to_string(from) + " to " +
                         std::to_string(to) +
                         ", but must fall within [0, 1], and an exponential one not to 0");
    if (!share(begin) || !share(end) || !(begin < end))
      throw SettingError("GapSchedule: begin is " + std::to_string(begin) + " and end " +
                         std::to_string(end) + ", but must be in order and within [0, 1]");
  }

  /// a at a step of `steps`.
  [[nodiscard]] double operator()(std::uint64_t step, std::uint64_t steps) const {
    const double done = steps == 0 ? 0 : static_cast<double>(step) / static_cast<double>(steps);
    const double x = std::clamp((done - begin) / (end - begin), 0.0, 1.0);
    if (shape == Shape::exponential) return from * std::pow(to / from, x);
    return to + (from - to) / (1 + std::exp(steepness * (x - 0.5)));
  }
};

namespace detail {

/// With s = t - a (t - r) in the rows that jump: z_s = z - (t - s) v, and s.
template <class T>
struct WalkAlong {
  using value_type = T;
  T gap;
  const T *r, *t, *z, *v;
  T *z_s, *s;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At /*column*/) const {
    const T walked = gap * (t[row] - r[row]);
    s[row] = t[row] - walked;
    at.store(z_s, at.load(z) - walked * at.load(v));
  }
};

/// target = a v + (1 - a) u_s in the rows that jump, v in the others.
template <class T>
struct MixTargets {
  using value_type = T;
  T gap;
  std::size_t jump_rows;
  const T *v, *u_s;
  T* target;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At /*column*/) const {
    const auto value = at.load(v);
    at.store(target, row < jump_rows ? gap * value + (1 - gap) * at.load(u_s) : value);
  }
};

}  // namespace detail

/// The average velocity u(z, r, t) from that of the earlier part of the interval: with
/// s = t - a (t - r),
///   target = a v + (1 - a) sg u(z - (t - s) v, r, s),
/// where the gap a falls in the course of training; rows with r = t learn v. At a = 1 it is flow
/// matching on whole trajectories; for a -> 0 it becomes Mean Flows, since
/// (u - target) / a -> u - v + (t - r) du/dt.
///
/// - alpha-Flow (arXiv 2510.20771): the loss of a row is a w |u - target|^2, and once a falls below
///   `derivative_below` Mean Flows takes over. `alpha_flow()`.
/// - SoFlow (arXiv 2512.15657): the error is divided by the gap, q = (u - target) / a; the loss is
///   w |q|^2 and its gradient by u is 2 w q. `so_flow()`.
///
/// w is the recipe's weight of that squared error; both publications weigh by 1 / (mean^2 + c)^p:
/// `AdaptiveWeighting` with `Reduction::mean`.
struct AlphaFlow {
  static constexpr std::array metrics = flow_metrics;
  [[nodiscard]] static constexpr bool changes_with_step() { return true; }
  GapSchedule gap{};
  bool divided = false;             ///< by the gap, as SoFlow does
  double derivative_below = 0.005;  ///< gaps that Mean Flows takes the place of; 0 for never
  JvpMode mode = JvpMode::joint;    ///< of Mean Flows

  static constexpr void fields(auto f, auto&... o) {
    f("gap", o.gap...);
    f("divided", o.divided...);
    f("derivative_below", o.derivative_below...);
    f("mode", o.mode...);
  }
  /// Throws SettingError if a number is out of range.
  void check() const {
    gap.check();
    if (!(derivative_below >= 0 && derivative_below < 1))
      throw SettingError("AlphaFlow: derivative_below is " + std::to_string(derivative_below) +
                         ", but must be in [0, 1)");
    if (derivative_below == 0 && gap.to == 0)
      throw SettingError(
          "AlphaFlow: the gap falls to 0, where there is nothing to learn from: set "
          "derivative_below above 0");
  }

  template <class N, class W>
  [[nodiscard]] auto operator()(const N& net, const FlowBatchOf<N>& batch,
                                const StepContext<N, W>& context) const {
    const double a = gap(context.step, context.steps);
    if (a < derivative_below) return MeanFlow{.mode = mode}(net, batch, context);
    return towards_mixture(net, batch, context, a > 1 - derivative_below ? 1 : a);
  }

 private:
  template <class N, class W>
  [[nodiscard]] auto towards_mixture(const N& net, const FlowBatchOf<N>& batch,
                                     const StepContext<N, W>& context, double a) const {
    using T = typename N::value_type;
    using Device = typename N::device_type;
    const std::size_t jumps = a < 1 ? batch.jump_rows : 0;
    Tensor<T, Device> target(batch.v.shape());
    const auto u_s = jumps == 0 ? Tensor<T, Device>() : earlier(net, batch, static_cast<T>(a));
    for_each_in_rows(
        Device{}, target.rows(), target.row_size(),
        detail::MixTargets<T>{static_cast<T>(a), jumps, batch.v.data(), u_s.data(), target.data()});
    const auto [z, r, t] = inputs(batch, context.tape);
    const auto u = evaluate(net, z, r, t, batch.condition);
    return regression_losses(context, batch, u, target, TargetGap{a, divided});
  }

  /// u(z_s, r, s) of the rows that jump.
  template <class N, class T>
  [[nodiscard]] static auto earlier(const N& net, const FlowBatchOf<N>& batch, T a) {
    using Device = typename N::device_type;
    const std::size_t jumps = batch.jump_rows;
    const auto z = batch.z.rows(0, jumps), r = batch.r.rows(0, jumps), t = batch.t.rows(0, jumps);
    Tensor<T, Device> z_s(z.shape()), s(t.shape());
    for_each_in_rows(Device{}, jumps, z.row_size(),
                     detail::WalkAlong<T>{a, r.data(), t.data(), z.data(), batch.v.data(),
                                          z_s.data(), s.data()});
    return evaluate(net, z_s, r, s, condition_rows(batch.condition, 0, jumps));
  }
};

/// alpha-Flow as published: a sigmoid from 1 to 0, then Mean Flows.
[[nodiscard]] constexpr AlphaFlow alpha_flow() { return {}; }

/// SoFlow as published for CIFAR-10: a gap that falls exponentially from 1 to 3.125e-4.
[[nodiscard]] constexpr AlphaFlow so_flow() {
  return {.gap = {.shape = GapSchedule::Shape::exponential, .from = 1, .to = 3.125e-4},
          .divided = true,
          .derivative_below = 0};
}

}  // namespace meanflow
