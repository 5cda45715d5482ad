// SPDX-License-Identifier: MIT
// One training run and what it leaves in its folder.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <meanflow/data/image_set.hpp>
#include <meanflow/data/latent_set.hpp>
#include <meanflow/train/any_communicator.hpp>

#include "settings.hpp"

namespace cifar10 {

/// The arguments of `cifar10 train`.
struct TrainRequest {
  std::filesystem::path config, data, workdir;
  std::vector<std::string> changes;
  std::filesystem::path init, teacher;  ///< checkpoints to begin from, and to learn from
  double teacher_guidance = 1;
  bool quiet = false;
  Where where{};
  meanflow::AnyCommunicator processes{};  ///< that train together
};

/// Trains, or resumes the training run in this folder.
void train(const TrainRequest& request);

/// All that a training run of one kind of net needs.
struct Run {
  Settings settings;
  ImageFormat format{};
  std::string data{};  ///< `fingerprint` of the pictures
  meanflow::ImageSet images{};
  std::shared_ptr<const meanflow::LatentSet> latents{};  ///< in place of images
  std::filesystem::path workdir, init, teacher;
  double teacher_guidance = 1;
  bool quiet = false;  ///< always, but in the root
  meanflow::AnyCommunicator processes{};
};

// Each is compiled by itself, since a trainer takes a while.
void train_mean_flow_net(Run run);
void train_song_unet(Run run);
void train_dit(Run run);
void train_imf_transformer(Run run);
void train_attention_unet(Run run);

}  // namespace cifar10
