// SPDX-License-Identifier: MIT
/// \file
/// Samples in any number: guided or not, in one step or more, a bounded number of rows at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <meanflow/flow/guidance.hpp>
#include <meanflow/flow/sampler.hpp>
#include <meanflow/nn/net.hpp>

namespace meanflow {

/// How samples are drawn.
struct SamplingSettings {
  std::size_t steps = 1;  ///< from noise to data
  std::optional<Solver>
      solver{};              ///< of dz/dt = u(z, t, t), for nets that learnt the velocity alone
  double guidance = 1;       ///< at sampling (`GuidedSampling`); 1 for none
  std::uint64_t seed = 0;    ///< of the noise, where none is given
  std::size_t batch = 4096;  ///< the most rows in memory at a time

  /// Throws SettingError if a number is out of range.
  void check() const {
    if (steps == 0) throw SettingError("sampling needs at least 1 step");
    if (batch == 0) throw SettingError("sampling: batch is 0, but must be at least 1");
    if (!std::isfinite(guidance))
      throw SettingError("sampling: guidance is " + std::to_string(guidance) +
                         ", but must be finite");
  }
};

/// The condition of `rows` rows: parts of one row are repeated for all.
template <class Device, Condition C>
[[nodiscard]] C condition_of_rows(const C& condition, std::size_t rows) {
  C all = condition;
  C::fields(
      [&](const char*, auto& part) {
        if (part.empty() || part.rows() != 1 || rows == 1) return;
        const auto one = to_host(part);
        std::remove_cvref_t<decltype(one)> repeated(one.shape().with_rows(rows));
        for (std::size_t i = 0; i < rows; ++i) std::copy_n(one.data(), one.size(), repeated.row(i));
        part = to_device<Device>(repeated);
      },
      all);
  return all;
}

/// Samples from noise (B, ...), in the scale that the net was trained in.
template <Net N>
[[nodiscard]] Tensor<typename N::value_type, typename N::device_type> generate(
    const N& net, const Tensor<typename N::value_type, typename N::device_type>& noise,
    const SamplingSettings& settings = {}, const ConditionOf<N>& condition = {}) {
  settings.check();
  const auto told = condition_of_rows<typename N::device_type>(condition, noise.rows());
  const auto draw = [&](const auto& sampled) {
    return settings.solver ? solve(sampled, noise, settings.steps, *settings.solver, told)
                           : sample(sampled, noise, settings.steps, told);
  };
  try {
    if (settings.guidance == 1) return draw(net);
    return draw(GuidedSampling(net, settings.guidance));
  } catch (const OutOfMemoryError& error) {
    throw OutOfMemoryError(std::string(error.what()) + "; " + std::to_string(noise.rows()) +
                           " samples were to be drawn at once: sample_batches with a lower "
                           "SamplingSettings::batch needs less");
  }
}

/// Draws `count` samples, rows of shape `row_shape`, at most `settings.batch` at a time, and calls
/// f(rows (B, ...), number of the first one) for each batch. A sample depends on the seed and its
/// number alone. `condition` tells of `count` rows, or of one that is meant for all.
template <Net N, class F>
void sample_batches(const N& net, std::size_t count, const Shape& row_shape,
                    const SamplingSettings& settings, F f, const ConditionOf<N>& condition = {}) {
  using T = typename N::value_type;
  using Device = typename N::device_type;
  settings.check();
  ConditionOf<N>::fields(
      [&](const char* name, const auto& part) {
        if (!part.empty() && part.rows() != 1 && part.rows() != count)
          throw ShapeError("sample_batches: " + std::string(name) + " of shape " +
                           to_string(part.shape()) + " for " + std::to_string(count) + " samples");
      },
      condition);
  for (std::size_t first = 0; first < count; first += settings.batch) {
    const std::size_t rows = std::min(settings.batch, count - first);
    ConditionOf<N> part = condition;
    ConditionOf<N>::fields(
        [&](const char*, auto& tensor) {
          if (!tensor.empty() && tensor.rows() == count && count > 1)
            tensor = tensor.rows(first, first + rows);
        },
        part);
    f(generate(net, normal_noise<T, Device>(row_shape.batch_of(rows), settings.seed, first),
               settings, part),
      first);
  }
}

}  // namespace meanflow
