// SPDX-License-Identifier: MIT
/// \file
/// Training towards the velocity of another net.
#pragma once

#include <cmath>
#include <string>

#include <meanflow/flow/guidance.hpp>
#include <meanflow/flow/objective.hpp>
#include <meanflow/nn/net.hpp>

namespace meanflow {

/// An objective whose v is a teacher's velocity u_T(z, t, t | condition), guided by
///   u_T(null) + omega (u_T(condition) - u_T(null))
/// if omega is not 1: the student learns the flow of a net that was trained by flow matching, whose
/// velocity has no noise, in place of the data's. The teacher may be a net of another kind, with
/// the same condition; it must outlive the training run and is not saved with it.
template <class O, Net T>
struct Distilled {
  const T* teacher = nullptr;
  double omega = 1;
  O objective{};

  static constexpr auto metrics = detail::metrics_of<O>();
  [[nodiscard]] constexpr bool needs_jumps() const { return meanflow::needs_jumps(objective); }
  [[nodiscard]] constexpr bool instantaneous() const { return meanflow::instantaneous(objective); }
  [[nodiscard]] constexpr bool changes_with_step() const {
    return meanflow::changes_with_step(objective);
  }
  static constexpr void fields(auto f, auto&... o) {
    f("omega", o.omega...);
    f("objective", o.objective...);
  }
  /// Throws SettingError if there is no teacher or a number is out of range.
  void check() const {
    if (!teacher) throw SettingError("Distilled: there is no teacher");
    if (!std::isfinite(omega))
      throw SettingError("Distilled: omega is " + std::to_string(omega) + ", but must be finite");
    if constexpr (requires { objective.check(); }) objective.check();
  }

  template <class N, class W>
  [[nodiscard]] auto operator()(const N& net, const FlowBatchOf<N>& batch,
                                const StepContext<N, W>& context) const {
    static_assert(std::is_same_v<ConditionOf<N>, ConditionOf<T>>,
                  "Distilled: teacher and student must have the same condition_type");
    if (!teacher) throw SettingError("Distilled: there is no teacher");
    const auto condition = without_dropout(batch.condition);
    FlowBatchOf<N> taught = batch;
    taught.unguided = batch.path_velocity();
    if (omega == 1)
      taught.v = evaluate(*teacher, batch.z, batch.t, batch.t, condition);
    else
      taught.v = evaluate(GuidedSampling<T>(*teacher, omega), batch.z, batch.t, batch.t, condition);
    return objective(net, taught, context);
  }
};

}  // namespace meanflow
