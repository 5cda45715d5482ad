// SPDX-License-Identifier: MIT
/// \file
/// Whether a trained net makes two moons.
#pragma once

#include <cstdio>
#include <vector>

#include <meanflow/meanflow.hpp>

/// Samples 4,000 points in one step and prints their energy distance to fresh ones; the exit status
/// of a program that asks for less than `bound`.
template <class Trainer>
[[nodiscard]] int status_of(Trainer& trainer, double bound) {
  const auto points = trainer.sample(meanflow::normal_noise({4000, 2}, 1));
  std::vector<float> fresh(8000);
  sample_toy2d(meanflow::Toy2d::two_moons, fresh, 7, 0);
  const double distance = meanflow::energy_distance(points.span(), fresh, 2);
  std::printf("energy distance in one step: %.4f\n", distance);
  return distance < bound ? 0 : 1;
}
