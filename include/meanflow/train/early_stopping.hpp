// SPDX-License-Identifier: MIT
/// \file
/// Stops a training run once held-out data no longer improve.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include <meanflow/error.hpp>
#include <meanflow/train/report.hpp>

namespace meanflow {

struct EarlyStoppingSettings {
  std::uint64_t every = 500;   ///< steps from one evaluation to the next
  std::size_t patience = 5;    ///< evaluations without an improvement before the end
  double min_improvement = 0;  ///< by how much the loss has to fall to count as one
  std::size_t batches = 4;     ///< of the held-out source, for each evaluation
  /// What has to fall: a metric of the objective, or the weighted loss if it is empty, which says
  /// little with `AdaptiveWeighting` at p = 1.
  std::string metric{};
};

/// A callback of `MeanFlowTrainer::fit` that evaluates a held-out source (`DataSource`) by
/// `MeanFlowTrainer::evaluate`, and stops after `patience` evaluations without an improvement.
template <class Source>
class EarlyStopping {
 public:
  using Settings = EarlyStoppingSettings;

  /// Throws SettingError if a setting that must not be 0 is.
  explicit EarlyStopping(Source held_out, const Settings& settings = {})
      : held_out_(std::move(held_out)), settings_(settings) {
    if (settings.every == 0 || settings.patience == 0 || settings.batches == 0)
      throw SettingError("EarlyStopping: every, patience and batches must be at least 1");
  }

  template <class Trainer>
  void on_begin(Trainer&) {
    best_ = std::numeric_limits<double>::infinity();
    without_ = 0;
  }

  template <class Trainer>
  bool on_step(Trainer& trainer, const StepReport&) {
    const std::uint64_t done = trainer.steps_done();
    if (done % settings_.every != 0) return false;
    last_ = trainer.evaluate(held_out_, settings_.batches);
    const double found = settings_.metric.empty() ? last_.loss : last_.metrics[settings_.metric];
    if (found < best_ - settings_.min_improvement) {
      best_ = found;
      best_step_ = done;
      without_ = 0;
      return false;
    }
    return ++without_ >= settings_.patience;
  }

  [[nodiscard]] double best() const { return best_; }                   ///< loss or metric
  [[nodiscard]] std::uint64_t best_step() const { return best_step_; }  ///< steps done at the best
  [[nodiscard]] const EvaluationReport& last() const { return last_; }

 private:
  Source held_out_;
  Settings settings_;
  EvaluationReport last_{};
  double best_ = std::numeric_limits<double>::infinity();
  std::uint64_t best_step_ = 0;
  std::size_t without_ = 0;
};

}  // namespace meanflow
