// SPDX-License-Identifier: MIT
// What this program does on a GPU, if it was built with CUDA.
#pragma once

#include <filesystem>
#include <string>

#include "sampling.hpp"
#include "training.hpp"

namespace cifar10 {

/// Chooses the GPU for all that follows.
/// Throws meanflow::SettingError if the program was built without CUDA.
/// Throws meanflow::Error if there is no such GPU.
void use_gpu(int number);

/// Trains on the GPU.
void train_on_cuda(Run run);

/// Samples on the GPU from a net with the parameters in the checkpoint whose names have the prefix.
[[nodiscard]] Sampler sampler_on_cuda(const Settings& settings, const ImageFormat& format,
                                      const std::filesystem::path& checkpoint,
                                      const std::string& prefix);

}  // namespace cifar10
