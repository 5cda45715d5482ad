// SPDX-License-Identifier: MIT
// Learning a table of points, as other languages ask for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "any_model.hpp"

namespace bindings {

/// The defaults are the recipe of the 2-D demo with half of its steps.
struct PointTraining {
  std::uint64_t steps = 3000;
  std::size_t batch = 1024;
  std::size_t hidden = 256, layers = 4, octaves = 4;
  double learning_rate = 5e-3;
  std::uint64_t seed = 0;
};

struct TrainedPoints {
  std::shared_ptr<const AnyModel> model;
  meanflow::Tensor<float> losses;  // (steps)
};

/// Trains on values (N, dim), each column scaled by its deviation, and tells of every step.
/// Throws meanflow::Error if nothing can be learned from them, or a setting is out of range.
[[nodiscard]] TrainedPoints train_points(
    std::span<const double> values, std::size_t dim, const PointTraining& settings,
    const std::function<void(std::uint64_t step, double loss)>& progress);

}  // namespace bindings
