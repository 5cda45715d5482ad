// SPDX-License-Identifier: MIT
/// \file
/// The settings of a training run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <meanflow/flow/guidance.hpp>
#include <meanflow/kernels/precision.hpp>
#include <meanflow/optim/adam.hpp>
#include <meanflow/optim/ema.hpp>
#include <meanflow/optim/learning_rate.hpp>

namespace meanflow {

/// What a training run needs besides its parts.
struct TrainerSettings {
  std::uint64_t steps = 5000;
  std::size_t batch = 1024;  ///< rows per step, of each process
  Adam optimizer{};
  LearningRate learning_rate{};
  std::vector<Averaging> averages{WarmupEma{}};  ///< kept side by side; the first one samples
  double clip_norm = 0;                          ///< of the whole gradient; 0 for no clipping
  LabelDropout label_dropout{};                  ///< rows that get the null class; none by default
  std::uint64_t seed = 0;                        ///< of data, noise and times
  /// Rows worked on together; 0: what suits the device and the net, and on a device with memory of
  /// its own what fits into it.
  std::size_t tile_rows = 0;
  /// Whether a device that can (a GPU: as a CUDA graph) records a step and replays it for batches
  /// of the same shape; `MeanFlowTrainer::recording()` tells what came of it. Off is for nets and
  /// objectives of one's own that hand the device numbers of the host which change from step to
  /// step.
  bool replay = true;
  /// Of convolutions and large products; parameters, moments, averages and sums stay in T.
  Precision precision = Precision::float32;
};

}  // namespace meanflow
