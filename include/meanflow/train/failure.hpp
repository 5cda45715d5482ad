// SPDX-License-Identifier: MIT
/// \file
/// How a training run reports what went wrong.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/nn/net.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/train/report.hpp>
#include <meanflow/train/state.hpp>
#include <meanflow/train/step_engine.hpp>

namespace meanflow::detail {

/// Throws ShapeError unless a state has the parts of another, each of them whole.
template <class T, class Place, class Device>
void check_same_parts(const TrainingState<T, Place>& state, const TrainingState<T, Device>& own,
                      std::size_t flat_size) {
  if (state.averages.size() != own.averages.size())
    throw ShapeError("MeanFlowTrainer::restore: the state has " +
                     std::to_string(state.averages.size()) + " averages, the settings have " +
                     std::to_string(own.averages.size()));
  if (state.optimizer.size() != own.optimizer.size())
    throw ShapeError("MeanFlowTrainer::restore: the state has " +
                     std::to_string(state.optimizer.size()) + " buffers of the optimizer, but " +
                     std::to_string(own.optimizer.size()) + " are expected");
  const auto check = [&](const Tensor<T, Place>& from) {
    if (from.size() != flat_size)
      throw_shape_error("MeanFlowTrainer::restore", from.shape(), Shape{flat_size},
                        "the state is that of another net, or a process's part of one");
  };
  check(state.parameters);
  for (const auto& values : state.optimizer) check(values);
  for (const auto& values : state.averages) check(values);
}

/// Throws ShapeError on a class that the net does not have, while labels can still be seen.
template <class N, class C>
void check_labels(const N& net, const C& condition) {
  if constexpr (requires {
                  condition.labels[0];
                  { net.null_class() } -> std::convertible_to<std::optional<std::int32_t>>;
                }) {
    const std::optional<std::int32_t> null = net.null_class();
    for (std::size_t row = 0; null && row < condition.labels.size(); ++row)
      if (condition.labels[row] < 0 || condition.labels[row] > *null)
        throw ShapeError("trainer: label " + std::to_string(condition.labels[row]) + " of row " +
                         std::to_string(row) + " is not in [0, " + std::to_string(*null) + "]");
  }
}

/// What the time sampler has drawn for a row, if that breaks its contract.
template <class Times>
[[nodiscard]] std::string broken_times(const Times& times, std::uint64_t seed, const StepPlan& plan,
                                       std::size_t row) {
  const std::uint64_t number = plan.all.place_of(plan.first_row + row);
  RandomStream stream(seed, Purpose::times, plan.step, number);
  const bool jumps = number < plan.all.jumps;
  const auto pair = times.sample(stream, jumps);
  if (0 <= pair.r && pair.r <= pair.t && pair.t <= 1 && (jumps || pair.r == pair.t)) return {};
  return "the time sampler drew r = " + std::to_string(pair.r) +
         " and t = " + std::to_string(pair.t) + " for row " + std::to_string(row) +
         ", but must draw 0 <= r <= t <= 1, and r = t in rows that do not jump";
}

/// What the weighting has given for a row, if that breaks its contract.
template <class Weighting>
[[nodiscard]] std::string broken_weight(const Weighting& weighting, const RowReports& rows,
                                        std::size_t elements, std::size_t row) {
  if (!rows.has("squared_error") || !std::isfinite(rows["squared_error"][row])) return {};
  const double square = rows["squared_error"][row];
  const double weight = weighting(square, elements);
  if (weight >= 0 && std::isfinite(weight)) return {};
  return "the weight of row " + std::to_string(row) + ", whose squared error is " +
         std::to_string(square) + ", is " + std::to_string(weight) +
         ", but must be finite and at least 0";
}

/// Says which rows are not finite, and why if a slot has broken its contract.
template <class R>
[[noreturn]] void throw_non_finite(const R& recipe, std::uint64_t seed, const StepPlan& plan,
                                   const RowReports& rows, std::size_t elements,
                                   std::vector<std::size_t> bad) {
  std::string message = "training stopped at step " + std::to_string(plan.step) + ": ";
  std::string reason;
  for (std::size_t i = 0; i < bad.size() && reason.empty(); ++i) {
    reason = broken_times(recipe.times, seed, plan, bad[i]);
    if (reason.empty()) reason = broken_weight(recipe.weighting, rows, elements, bad[i]);
  }
  if (!reason.empty()) {
    message += reason;
  } else if (bad.empty()) {
    message += "the gradient is not finite";
  } else {
    message += "the loss is not finite in " + std::to_string(bad.size()) + " of " +
               std::to_string(rows.size()) + " rows (";
    for (std::size_t i = 0; i < std::min<std::size_t>(bad.size(), 8); ++i)
      message += (i ? ", " : "") + std::to_string(bad[i]);
    message += bad.size() > 8 ? ", ...)" : ")";
  }
  throw NonFiniteError(message + "; the parameters are those of the step before", plan.step,
                       std::move(bad));
}

}  // namespace meanflow::detail
