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
/// to `to` while training goes from the share `begin` of its steps to the share `end`. A training
/// run that is given more steps later opens the gap again. A sigmoid comes within
/// (from - to) / (1 + e^(steepness / 2)) of its ends.
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
    if (!(steepness > 0) || !std::isfinite(steepness))
      throw SettingError("GapSchedule: steepness is " + std::to_string(steepness) +
                         ", but must be finite and above 0");
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

/// The share of each row's interval that is walked: a, but at least `least` in time; 1 of intervals
/// that are no longer than that.
template <class T>
struct WalkedShares {
  T gap, least;
  std::size_t jump_rows;
  const T *r, *t;
  T* shares;
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row) const {
    const T length = t[row] - r[row];
    const bool jumps = row < jump_rows && length > least;
    const T share = gap * length < least ? least / length : gap;
    shares[row] = jumps ? share : T(1);
  }
};

/// With s = t - share (t - r): z_s = z - (t - s) v, and s.
template <class T>
struct WalkAlong {
  using value_type = T;
  const T *shares, *r, *t, *z, *v;
  T *z_s, *s;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At /*column*/) const {
    const T walked = shares[row] * (t[row] - r[row]);
    s[row] = t[row] - walked;
    at.store(z_s, at.load(z) - walked * at.load(v));
  }
};

/// target = share v + (1 - share) u_s, which is v where the share is 1.
template <class T>
struct MixTargets {
  using value_type = T;
  std::size_t jump_rows;
  const T *shares, *v, *u_s;
  T* target;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At /*column*/) const {
    const T share = shares[row];
    const auto value = at.load(v);
    if (row < jump_rows && share < T(1))
      at.store(target, share * value + (1 - share) * at.load(u_s));
    else
      at.store(target, value);
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
/// The gap is at least `least_gap` in time. Small gaps are differences of nearly equal numbers:
/// train in float32.
///
/// w is the recipe's weight of that squared error; both publications weigh by 1 / (mean^2 + c)^p:
/// `AdaptiveWeighting` with `Reduction::mean`.
struct AlphaFlow {
  static constexpr std::array metrics = flow_metrics;
  [[nodiscard]] static constexpr bool changes_with_step() { return true; }
  GapSchedule gap{};
  bool divided = false;  ///< by the gap, as SoFlow does
  /// Below this gap Mean Flows takes over, and above 1 minus this the gap counts as 1; 0 for
  /// neither.
  double derivative_below = 0.005;
  double least_gap = 1e-4;        ///< in time, whatever the share
  JvpMode mode = JvpMode::joint;  ///< of Mean Flows

  static constexpr void fields(auto f, auto&... o) {
    f("gap", o.gap...);
    f("divided", o.divided...);
    f("derivative_below", o.derivative_below...);
    f("least_gap", o.least_gap...);
    f("mode", o.mode...);
  }
  /// Throws SettingError if a number is out of range.
  void check() const {
    gap.check();
    if (!(derivative_below >= 0 && derivative_below <= 0.5))
      throw SettingError("AlphaFlow: derivative_below is " + std::to_string(derivative_below) +
                         ", but must be in [0, 0.5]");
    if (!(least_gap > 0 && least_gap <= 1))
      throw SettingError("AlphaFlow: least_gap is " + std::to_string(least_gap) +
                         ", but must be in (0, 1]");
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
    const std::size_t jumps = batch.jump_rows, rows = batch.v.rows();
    Tensor<T, Device> shares({rows}), target(batch.v.shape()), u_s;
    for_each_index(Device{}, rows,
                   detail::WalkedShares<T>{static_cast<T>(a), static_cast<T>(least_gap), jumps,
                                           batch.r.data(), batch.t.data(), shares.data()});
    if (a < 1 && jumps > 0) u_s = earlier(net, batch, shares);
    for_each_in_rows(Device{}, rows, target.row_size(),
                     detail::MixTargets<T>{u_s.empty() ? 0 : jumps, shares.data(), batch.v.data(),
                                           u_s.data(), target.data()});
    const auto [z, r, t] = inputs(batch, context.tape);
    const auto u = evaluate(net, z, r, t, batch.condition);
    return regression_losses(context, batch, u, target, TargetGap<T, Device>{shares, divided});
  }

  /// u(z_s, r, s) of the rows that jump, with the same dropout as u(z, r, t): as published.
  template <class N, class T, class Device>
  [[nodiscard]] static Tensor<T, Device> earlier(const N& net, const FlowBatchOf<N>& batch,
                                                 const Tensor<T, Device>& shares) {
    const std::size_t jumps = batch.jump_rows;
    const auto z = batch.z.rows(0, jumps), r = batch.r.rows(0, jumps), t = batch.t.rows(0, jumps);
    Tensor<T, Device> z_s(z.shape()), s(t.shape());
    for_each_in_rows(Device{}, jumps, z.row_size(),
                     detail::WalkAlong<T>{shares.data(), r.data(), t.data(), z.data(),
                                          batch.v.data(), z_s.data(), s.data()});
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
