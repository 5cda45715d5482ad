// SPDX-License-Identifier: MIT
/// \file
/// SplitMeanFlow and Shortcut: the average velocity of an interval from those of its two parts.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <meanflow/autodiff/parameters.hpp>
#include <meanflow/config.hpp>
#include <meanflow/flow/objective.hpp>
#include <meanflow/flow/regression.hpp>
#include <meanflow/flow/time_sampler.hpp>
#include <meanflow/random/philox.hpp>

namespace meanflow {

namespace detail {

/// s between r and t: in the middle, or anywhere with equal probability.
template <class T>
struct SplitTimes {
  bool halves;
  std::uint64_t seed;
  const std::uint64_t *step, *numbers;
  const T *r, *t;
  T *s, *share;
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row) const {
    share[row] =
        halves ? T(0.5)
               : RandomStream(seed, Purpose::objective, *step, numbers[row]).template uniform<T>();
    s[row] = t[row] - share[row] * (t[row] - r[row]);
  }
};

/// z_s = z - (t - s) u
template <class T>
struct WalkTo {
  using value_type = T;
  const T *s, *t, *z, *u;
  T* z_s;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At /*column*/) const {
    at.store(z_s, at.load(z) - (t[row] - s[row]) * at.load(u));
  }
};

/// target = share u_2 + (1 - share) u_1 where r < t, v elsewhere.
template <class T>
struct JoinParts {
  using value_type = T;
  std::size_t jump_rows;
  const T *r, *t, *share, *v, *u_1, *u_2;
  T* target;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(std::size_t row, At at, At /*column*/) const {
    if (row >= jump_rows || !(r[row] < t[row])) return at.store(target, at.load(v));
    at.store(target, share[row] * at.load(u_2) + (1 - share[row]) * at.load(u_1));
  }
};

}  // namespace detail

/// The average velocity u(z, r, t) from those of two parts: with s = t - l (t - r),
///   u_2 = u(z, s, t),  u_1 = u(z - (t - s) u_2, r, s),  target = sg[l u_2 + (1 - l) u_1];
/// rows with r = t learn v. The parts are targets, so that the net's dropout is left out of them.
/// Neither a derivative nor the data's velocity enters where r < t.
///
/// - SplitMeanFlow (arXiv 2507.16884): l ~ U(0, 1). `SplitMeanFlow{}`. Weigh with p <= 1/2: above
///   that a row's gradient shrinks as its error grows, and training may diverge
///   (docs/objectives.md).
/// - Shortcut (arXiv 2410.12557): l = 1/2, the parts from an average of the parameters, and
///   intervals of length 2^-k, which `DyadicTimes` draws. `shortcut()`.
struct SplitMeanFlow {
  static constexpr std::array metrics = flow_metrics;
  bool halves = false;                   ///< l = 1/2
  std::optional<std::size_t> average{};  ///< which average of the settings gives the parts

  static constexpr void fields(auto f, auto&... o) {
    f("halves", o.halves...);
    f("average", o.average...);
  }

  template <class N, class W>
  [[nodiscard]] auto operator()(const N& net, const FlowBatchOf<N>& batch,
                                const StepContext<N, W>& context) const {
    using T = typename N::value_type;
    using Device = typename N::device_type;
    Tensor<T, Device> target = batch.v;
    if (batch.jump_rows > 0) target = joined(net, batch, context);
    const auto [z, r, t] = inputs(batch, context.tape);
    return regression_losses(context, batch, evaluate(net, z, r, t, batch.condition), target);
  }

 private:
  template <class N, class W>
  [[nodiscard]] auto joined(const N& net, const FlowBatchOf<N>& batch,
                            const StepContext<N, W>& context) const {
    using T = typename N::value_type;
    using Device = typename N::device_type;
    using Values = Tensor<T, Device>;
    if (!halves) detail::check_draws("SplitMeanFlow", batch.draws);
    std::optional<Teacher<T, Device>> teacher;
    if (average) {
      if (*average >= context.averages.size())
        throw SettingError("SplitMeanFlow: average is " + std::to_string(*average) +
                           ", but must be below the number of averages, which is " +
                           std::to_string(context.averages.size()));
      teacher.emplace(net.parameters(), context.averages[*average]);
    }
    const std::size_t jumps = batch.jump_rows;
    const Values z = batch.z.rows(0, jumps), r = batch.r.rows(0, jumps), t = batch.t.rows(0, jumps);
    const auto condition = without_dropout(condition_rows(batch.condition, 0, jumps));
    Values s(t.shape()), share(t.shape()), z_s(z.shape()), target(batch.v.shape());
    for_each_index(
        Device{}, jumps,
        detail::SplitTimes<T>{halves, batch.draws.seed, batch.draws.step.data(),
                              batch.draws.rows.data(), r.data(), t.data(), s.data(), share.data()});
    const Values u_2 = evaluate(net, z, s, t, condition);
    for_each_in_rows(Device{}, jumps, z.row_size(),
                     detail::WalkTo<T>{s.data(), t.data(), z.data(), u_2.data(), z_s.data()});
    const Values u_1 = evaluate(net, z_s, r, s, condition);
    for_each_in_rows(Device{}, target.rows(), target.row_size(),
                     detail::JoinParts<T>{jumps, r.data(), t.data(), share.data(), batch.v.data(),
                                          u_1.data(), u_2.data(), target.data()});
    return target;
  }
};

/// Shortcut models: halves, from the average of that number in the trainer's settings.
[[nodiscard]] constexpr SplitMeanFlow shortcut(std::size_t average = 0) {
  return {.halves = true, .average = average};
}

/// Intervals [j d, (j + 1) d] of length d = 2^-k, every k from 0 to `levels` - 1 and every j being
/// equally likely; rows that do not jump have t ~ U(0, 1).
struct DyadicTimes {
  std::size_t levels = 7;
  double jump_fraction = 0.25;  ///< share of the rows with r < t, in [0, 1]

  static constexpr void fields(auto f, auto&... p) {
    f("levels", p.levels...);
    f("jump_fraction", p.jump_fraction...);
  }

  /// Throws SettingError if a number is out of range.
  [[nodiscard]] std::size_t jump_rows(std::size_t batch, RandomStream& stream) const {
    if (!(jump_fraction >= 0 && jump_fraction <= 1))
      throw SettingError("jump_fraction is " + std::to_string(jump_fraction) +
                         ", but must be in [0, 1]");
    if (levels < 1 || levels > 24)
      throw SettingError("DyadicTimes: levels is " + std::to_string(levels) +
                         ", but must be from 1 to 24");
    return stream.round_by_chance(jump_fraction * static_cast<double>(batch));
  }

  [[nodiscard]] MEANFLOW_HOST_DEVICE TimePair<float> sample(RandomStream& stream, bool jump) const {
    if (!jump) {
      const float t = stream.uniform_open<float>();
      return {t, t};
    }
    const std::uint64_t count = std::uint64_t{1} << stream.below(levels);
    const float width = 1 / static_cast<float>(count);
    const std::uint64_t place = stream.below(count);
    return {static_cast<float>(place) * width, static_cast<float>(place + 1) * width};
  }
};

}  // namespace meanflow
