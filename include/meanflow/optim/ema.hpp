// SPDX-License-Identifier: MIT
/// \file
/// Exponential moving averages of the parameters: average += (1 - decay) (p - average).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include <meanflow/error.hpp>

namespace meanflow {

/// The same decay in every step.
struct ConstantEma {
  double decay = 0.9999;  ///< in [0, 1]; 1 keeps the first values

  static constexpr void fields(auto f, auto&... e) { f("decay", e.decay...); }
  [[nodiscard]] double at(std::uint64_t /*step*/, std::size_t /*batch*/) const { return decay; }
};

/// decay = 0.5^(B / max(min(half_life, step B rampup), 1e-8)), the rule of EDM (arXiv 2206.00364):
/// the average forgets half of what is `half_life` images old, fewer at the start.
struct HalfLifeEma {
  double half_life = 500'000;  ///< images
  double rampup = 0.05;        ///< the half-life is at most this share of the images seen

  static constexpr void fields(auto f, auto&... e) {
    f("half_life", e.half_life...);
    f("rampup", e.rampup...);
  }
  [[nodiscard]] double at(std::uint64_t step, std::size_t batch) const {
    const double images = static_cast<double>(step) * static_cast<double>(batch);
    const double half = std::max(std::min(half_life, images * rampup), 1e-8);
    return std::pow(0.5, static_cast<double>(batch) / half);
  }
};

/// decay = min(max_decay, (1 + n) / (10 + n)) in step n.
struct WarmupEma {
  double max_decay = 0.999;  ///< in [0, 1]

  static constexpr void fields(auto f, auto&... e) { f("max_decay", e.max_decay...); }
  [[nodiscard]] double at(std::uint64_t step, std::size_t /*batch*/) const {
    const double n = static_cast<double>(step);
    return std::min(max_decay, (1 + n) / (10 + n));
  }
};

/// Any of the rules, to be chosen at run time.
using Averaging = std::variant<ConstantEma, HalfLifeEma, WarmupEma>;

/// Throws SettingError if a number of the rule is out of range.
inline void check(const Averaging& rule) {
  const auto refuse = [](const std::string& name, double value, const char* range) {
    throw SettingError(name + " is " + std::to_string(value) + ", but must be " + range);
  };
  const auto share = [&](const char* name, double value) {
    if (!(value >= 0 && value <= 1)) refuse(name, value, "in [0, 1]");
  };
  const auto positive = [&](const char* name, double value) {
    if (!(value > 0)) refuse(name, value, "greater than 0");
  };
  if (const auto* constant = std::get_if<ConstantEma>(&rule))
    share("ConstantEma: decay", constant->decay);
  if (const auto* warmup = std::get_if<WarmupEma>(&rule))
    share("WarmupEma: max_decay", warmup->max_decay);
  if (const auto* half_life = std::get_if<HalfLifeEma>(&rule)) {
    positive("HalfLifeEma: half_life", half_life->half_life);
    positive("HalfLifeEma: rampup", half_life->rampup);
  }
}

/// The decay of a rule after step `step` (from 0) of batches of `batch` rows.
[[nodiscard]] inline double decay_at(const Averaging& rule, std::uint64_t step, std::size_t batch) {
  return std::visit([&](const auto& r) { return r.at(step, batch); }, rule);
}

}  // namespace meanflow
