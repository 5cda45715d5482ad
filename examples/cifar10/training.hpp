// SPDX-License-Identifier: MIT
// One training run and what it leaves in its folder.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <meanflow/data/image_set.hpp>

#include "settings.hpp"

namespace cifar10 {

/// The arguments of `cifar10 train`.
struct TrainRequest {
  std::filesystem::path config, data, workdir;
  std::vector<std::string> changes;
  bool quiet = false;
  Where where{};
};

/// Trains, or resumes the training run in this folder.
void train(const TrainRequest& request);

/// All that a training run of one kind of net needs.
struct Run {
  Settings settings;
  ImageFormat format{};
  std::string data{};  ///< `fingerprint` of the pictures
  meanflow::ImageSet images{};
  std::filesystem::path workdir;
  bool quiet = false;
};

// Each is compiled by itself, since a trainer takes a while.
void train_mean_flow_net(Run run);
void train_song_unet(Run run);

}  // namespace cifar10
