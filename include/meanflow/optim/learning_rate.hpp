// SPDX-License-Identifier: MIT
/// \file
/// The learning rate over the course of training.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numbers>
#include <string>

#include <meanflow/error.hpp>

namespace meanflow {

enum class Decay { constant, cosine };

/// Linear warm-up to `peak`, then falling as a half cosine, which would reach `final_fraction *
/// peak` in the step after the last, or constant.
struct LearningRate {
  double peak = 1e-3;
  std::uint64_t warmup_steps = 0;
  double warmup_start = 0;  ///< rate of the first step of the warm-up
  Decay decay = Decay::cosine;
  double final_fraction = 0;  ///< in [0, 1]
  /// Replaces all of the above: the rate of a step, given its number and the number of steps.
  std::function<double(std::uint64_t step, std::uint64_t steps)> function{};

  /// Throws SettingError if a number is out of range.
  void check() const {
    if (!(peak > 0))
      throw SettingError("LearningRate: peak is " + std::to_string(peak) +
                         ", but must be greater than 0");
    if (!(warmup_start >= 0)) throw SettingError("LearningRate: warmup_start must be at least 0");
    if (!(final_fraction >= 0 && final_fraction <= 1))
      throw SettingError("LearningRate: final_fraction is " + std::to_string(final_fraction) +
                         ", but must be in [0, 1]");
  }

  /// The rate of step 0, 1, ..., `steps` - 1.
  [[nodiscard]] double at(std::uint64_t step, std::uint64_t steps) const {
    if (function) return function(step, steps);
    if (step < warmup_steps)
      return warmup_start +
             (peak - warmup_start) * static_cast<double>(step) / static_cast<double>(warmup_steps);
    if (decay == Decay::constant || steps <= warmup_steps) return peak;
    const double progress = std::min(
        1.0, static_cast<double>(step - warmup_steps) / static_cast<double>(steps - warmup_steps));
    const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * progress));
    return peak * (final_fraction + (1 - final_fraction) * cosine);
  }
};

}  // namespace meanflow
