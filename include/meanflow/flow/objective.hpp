// SPDX-License-Identifier: MIT
/// \file
/// The contract of what a net is trained towards.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include <meanflow/autodiff/tape.hpp>
#include <meanflow/flow/batch.hpp>
#include <meanflow/flow/loss_weighting.hpp>
#include <meanflow/flow/row_losses.hpp>
#include <meanflow/nn/net.hpp>

namespace meanflow {

/// What an objective knows about the current step, besides the net and the batch.
template <class N, LossWeighting W>
struct StepContext {
  using T = typename N::value_type;
  using Device = typename N::device_type;

  Tape<T, Device>& tape;    ///< records what is to be differentiated
  const W& weighting;       ///< the weight of a row
  std::size_t batch;        ///< rows that the mean loss is over: the batch's may be a part of them
  std::uint64_t step = 0;   ///< number of the step, from 0; see `changes_with_step`
  std::uint64_t steps = 0;  ///< of the whole training run
  /// The averages of the parameters, flat, in the order of the settings: teachers for `Teacher`.
  std::span<const Tensor<T, Device>> averages{};
};

/// An objective is called with a net, a batch (`FlowBatchOf<N>`) and a `StepContext`, and gives
/// `RowLosses`: losses, and the gradient of their mean over `context.batch` rows by each output.
///
/// Semantics: nodes are those of outputs that the net has computed from values on the tape, of
/// which at least one depends on the parameters; a row's numbers depend on that row alone.
/// Optional:
///  - `static constexpr std::array metrics{Metric{"name"}, ...}` names the metrics that it reports,
///    which appear in `StepReport`;
///  - `needs_jumps()`, false if it has no use for rows with r < t, so that the batch gets none;
///  - `instantaneous()`, true if the net learns u(z, t, t) alone, so that samples are a solver's;
///  - `changes_with_step()`, true if what it does depends on `context.step`, so that no device may
///    record a step and replay it;
///  - `check()`, which throws SettingError.
template <class O, class N, class W = ConstantWeighting>
concept RowObjective = requires(const O& objective, const N& net, const FlowBatchOf<N>& batch,
                                const StepContext<N, W>& context) {
  requires detail::is_row_losses<decltype(objective(net, batch, context))>;
};

/// An objective whose losses couple the rows of a batch. It is called in two parts: for every tile
/// `objective.output(net, batch, tape)` gives the `Var` of an output (B, ...), recorded; then, for
/// the whole batch, `objective.losses(outputs, data)` returns `RowLosses` of one output, from which
/// the tiles are differentiated. The optional members are those of `Objective`. With several
/// processes, each sees its own rows.
template <class O, class N>
concept BatchObjective =
    requires(const O& objective, const N& net, const FlowBatchOf<N>& batch,
             Tape<typename N::value_type, typename N::device_type>& tape,
             const Tensor<typename N::value_type, typename N::device_type>& values) {
      {
        objective.output(net, batch, tape)
      } -> std::same_as<Var<Tensor<typename N::value_type, typename N::device_type>>>;
      requires detail::is_row_losses<decltype(objective.losses(values, values))>;
    };

/// What a net is trained towards.
template <class O, class N, class W = ConstantWeighting>
concept Objective = RowObjective<O, N, W> || BatchObjective<O, N>;

/// Whether an objective wants rows with r < t, as all do that do not say otherwise.
template <class O>
[[nodiscard]] constexpr bool needs_jumps(const O& objective) {
  if constexpr (requires { objective.needs_jumps(); })
    return objective.needs_jumps();
  else
    return true;
}

/// Whether what an objective does depends on the number of the step.
template <class O>
[[nodiscard]] constexpr bool changes_with_step(const O& objective) {
  if constexpr (requires { objective.changes_with_step(); }) {
    return objective.changes_with_step();
  } else {
    static_assert(
        !requires { O::changes_with_step; },
        "changes_with_step of an objective must be a function without arguments");
    return false;
  }
}

/// Whether the net learns the instantaneous velocity u(z, t, t) alone.
template <class O>
[[nodiscard]] constexpr bool instantaneous(const O& objective) {
  if constexpr (requires { objective.instantaneous(); })
    return objective.instantaneous();
  else
    return false;
}

}  // namespace meanflow
