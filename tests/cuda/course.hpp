// SPDX-License-Identifier: MIT
/// \file
/// Training runs to compare between devices. nvcc cannot compile the vectors of the processor's
/// kernels, so each device has a source file of its own: `on_cpu.cpp`, and `on_cuda.cpp` or its
/// .cu.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include <meanflow/tensor/tensor.hpp>
#include <meanflow/train/trainer.hpp>

namespace meanflow::test {

/// What a training run of 20 steps reported, and where it ended.
struct Course {
  std::vector<StepReport> reports;
  Tensor<float> parameters, average;
};

/// A run that met a number that is not finite in one row of its second step and continued
/// without.
struct Interrupted {
  std::vector<std::size_t> rows;  // that were named
  Tensor<float> before, after;    // parameters before and after that step
  Course course;                  // of three steps, and the same without the bad one
  Course uninterrupted;
};

/// The training runs of one device.
struct Courses {
  Course (*mlp)();
  Course (*mlp_by_chance)();  // how many rows jump is left to chance
  Course (*mean_flow_net)();
  Course (*song_unet)(bool replay);
  Tensor<float> (*samples)(const Tensor<float>& noise, std::size_t steps);  // after `fit`
  Tensor<float> (*write_checkpoint)(const std::filesystem::path&);          // gives the parameters
  Tensor<float> (*read_checkpoint)(const std::filesystem::path&);
  Tensor<float> (*read_average)(const std::filesystem::path&);
  /// Reads the one and writes what was read as the other.
  void (*rewrite_checkpoint)(const std::filesystem::path& from, const std::filesystem::path& to);
  Interrupted (*interrupted)();
};

[[nodiscard]] Courses courses_on_cpu();
[[nodiscard]] Courses courses_on_cuda();

}  // namespace meanflow::test
