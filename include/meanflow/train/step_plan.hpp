// SPDX-License-Identifier: MIT
/// \file
/// What a step is to do: its rows, how many of them jump, its learning rate.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include <meanflow/config.hpp>
#include <meanflow/error.hpp>
#include <meanflow/flow/objective.hpp>
#include <meanflow/flow/tiles.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/tensor/tensor.hpp>
#include <meanflow/train/settings.hpp>

namespace meanflow {

/// What a step is to do.
struct StepPlan {
  std::uint64_t step = 0;
  JumpOrder all{};            ///< the rows of all processes, and those with r < t
  TileRows rows{};            ///< the places of this process's rows in that order
  std::size_t first_row = 0;  ///< of this process among the rows of all
  std::size_t carried = 0;    ///< rows of this process that carry a tangent: its jumps or more
  double learning_rate = 0;

  /// Which of this process's rows, as they were given, stands at a place of its own order, in which
  /// those that jump come first.
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t row_at(std::size_t place) const {
    return all[rows[place]] - first_row;
  }
};

/// Plans the steps of one process.
template <class Device>
class StepPlanner {
 public:
  /// A step on `rows` rows of each process. Throws SettingError if the time sampler wants more rows
  /// to jump than there are, or the learning rate is not finite.
  template <class R>
  [[nodiscard]] StepPlan plan(const R& recipe, const TrainerSettings& settings, std::size_t rows,
                              std::uint64_t step) {
    const std::size_t processes = recipe.communicator.size(), rank = recipe.communicator.rank();
    StepPlan plan{.step = step,
                  .first_row = rank * rows,
                  .learning_rate = settings.learning_rate.at(step, settings.steps)};
    if (!(plan.learning_rate >= 0 && std::isfinite(plan.learning_rate)))
      throw SettingError("the learning rate of step " + std::to_string(step) + " is " +
                         std::to_string(plan.learning_rate) +
                         ", but must be finite and at least 0");
    const auto jumps = [&](std::uint64_t number) {
      return jump_count(recipe, settings.seed, rows * processes, number);
    };
    plan.all = {rows * processes, jumps(step)};
    plan.rows = process_rows(rows, plan.all.jumps, processes, rank);
    const bool exact = on_host<Device> || !jumps_vary(plan.all.rows, jumps);
    plan.carried = exact ? plan.rows.jumps : rounded_up(plan.rows);
    return plan;
  }

 private:
  /// How many of the rows of all processes jump in a step.
  template <class R>
  [[nodiscard]] static std::size_t jump_count(const R& recipe, std::uint64_t seed, std::size_t rows,
                                              std::uint64_t step) {
    if (!needs_jumps(recipe.objective)) return 0;
    RandomStream stream(seed, Purpose::times, step, ~std::uint32_t{0});
    const auto jumps = static_cast<std::size_t>(recipe.times.jump_rows(rows, stream));
    if (jumps > rows)
      throw SettingError("the time sampler's jump_rows returned " + std::to_string(jumps) +
                         " for a batch of " + std::to_string(rows) + " rows");
    return jumps;
  }

  /// How many rows carry a tangent on a device that plans and records its work by shape: a number
  /// of jumping rows that is random is rounded up, so that only a few shapes occur. The surplus
  /// rows have r = t, so their tangent has no effect.
  [[nodiscard]] static std::size_t rounded_up(const TileRows& rows) {
    const std::size_t bucket = std::max<std::size_t>(1, rows.count / 16);
    return std::min(rows.count, (rows.jumps + bucket - 1) / bucket * bucket);
  }

  /// Whether the number of jumping rows differs between steps. Decided by the first steps of the
  /// run rather than those seen so far, so that a resumed training run rounds the same way.
  template <class F>
  [[nodiscard]] bool jumps_vary(std::size_t rows, F jumps) {
    if (rows == checked_rows_) return jumps_vary_;
    checked_rows_ = rows;
    jumps_vary_ = false;
    for (std::uint64_t step = 1; step < 8; ++step)
      jumps_vary_ = jumps_vary_ || jumps(step) != jumps(0);
    return jumps_vary_;
  }

  std::size_t checked_rows_ = 0;  // the batch that `jumps_vary_` is about
  bool jumps_vary_ = false;
};

}  // namespace meanflow
