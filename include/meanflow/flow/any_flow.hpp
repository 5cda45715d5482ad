// SPDX-License-Identifier: MIT
/// \file
/// An objective that is chosen at run time.
#pragma once

#include <variant>

#include <meanflow/flow/alpha_flow.hpp>
#include <meanflow/flow/mean_flow.hpp>
#include <meanflow/flow/objective.hpp>
#include <meanflow/flow/split_mean_flow.hpp>

namespace meanflow {

/// Any of the objectives of one output.
struct AnyFlow {
  static constexpr std::array metrics = flow_metrics;
  std::variant<MeanFlow, ImprovedMeanFlow, FlowMatching, AlphaFlow, SplitMeanFlow> objective{};

  [[nodiscard]] bool needs_jumps() const {
    return !std::holds_alternative<FlowMatching>(objective);
  }
  [[nodiscard]] bool instantaneous() const { return !needs_jumps(); }
  [[nodiscard]] bool changes_with_step() const {
    return std::holds_alternative<AlphaFlow>(objective);
  }
  static constexpr void fields(auto f, auto&... o) { f("objective", o.objective...); }
  /// Throws SettingError if a setting of the chosen objective is out of range.
  void check() const {
    std::visit(
        [](const auto& chosen) {
          if constexpr (requires { chosen.check(); }) chosen.check();
        },
        objective);
  }

  template <class N, class W>
  [[nodiscard]] auto operator()(const N& net, const FlowBatchOf<N>& batch,
                                const StepContext<N, W>& context) const {
    return std::visit([&](const auto& chosen) { return chosen(net, batch, context); }, objective);
  }
};

}  // namespace meanflow
