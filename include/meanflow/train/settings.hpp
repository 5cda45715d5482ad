// SPDX-License-Identifier: MIT
/// \file
/// The numbers of a training run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/flow/condition_dropout.hpp>
#include <meanflow/kernels/convolution_algorithm.hpp>
#include <meanflow/kernels/precision.hpp>
#include <meanflow/optim/ema.hpp>
#include <meanflow/optim/learning_rate.hpp>
#include <meanflow/optim/optimizer.hpp>

namespace meanflow {

/// What a training run needs besides its parts (`Recipe`).
struct TrainerSettings {
  std::uint64_t steps = 5000;
  std::size_t batch = 1024;  ///< rows worked on at a time, by all processes
  /// Batches whose gradients are added up in a step: as a batch so many times as large, of which at
  /// most `batch` rows are worked on together.
  std::size_t gradient_accumulation = 1;
  LearningRate learning_rate{};
  std::vector<Averaging> averages{WarmupEma{}};  ///< kept side by side; the first one samples
  std::vector<ParameterGroup> groups{};          ///< parameters with rates of their own; the first
                                                 ///< group that contains a parameter counts
  double clip_norm = 0;                          ///< of the whole gradient; 0 for no clipping
  ConditionDropout condition_dropout{};          ///< rows that are told nothing; none by default
  std::uint64_t seed = 0;                        ///< of data, noise and times
  /// Rows worked on together; 0: what suits the device and the net, and on a device with memory of
  /// its own what fits into it.
  std::size_t tile_rows = 0;
  /// Numbers of the gradient, or some more, that several processes add up at a time while the
  /// backward pass goes on, if the communicator can (`OverlappingCommunicator`); 0: all at its end.
  std::size_t bucket = std::size_t{1} << 20;
  /// Whether each of several processes keeps and updates the optimizer's state of its part of the
  /// parameters alone, and all get the parameters from each other (ZeRO-1, Rajbhandari et al.,
  /// arXiv 1910.02054): Adam's moments of float then take 8 / P bytes for each parameter instead
  /// of 8. For optimizers that work element by element. Checkpoints hold all of it
  /// (`save_checkpoint`).
  bool shard_optimizer = false;
  /// Whether sums over rows do not depend on their order: the same bits for any number of threads
  /// and of processes, as long as each process has as many tiles as threads or more. On the
  /// processor alone; needs `tile_rows`, of which every process has a multiple. Losses, and the
  /// gradient of a tile, must be less than 2^19.
  bool deterministic = false;
  /// Whether a device that can (a GPU: as a CUDA graph) records a step and replays it for batches
  /// of the same shape; `MeanFlowTrainer::recording()` tells the outcome. Disable it if your
  /// net or objective hands the device numbers of the host that change from step to step.
  bool replay = true;
  /// Of convolutions and large products; parameters, moments, averages and sums stay in T.
  Precision precision = Precision::float32;
  /// How the processor computes convolutions.
  ConvolutionAlgorithm convolutions = ConvolutionAlgorithm::automatic;
  /// Each process says once on standard error, in `fit`, what makes it much slower than it could be
  /// (`kernel_report`).
  bool warnings = true;

  /// Rows of a step, of all processes.
  [[nodiscard]] std::size_t step_rows() const { return batch * gradient_accumulation; }

  /// Throws SettingError if a number is out of range.
  void check() const {
    if (batch == 0) throw SettingError("batch is 0, but must be at least 1");
    if (gradient_accumulation == 0)
      throw SettingError("gradient_accumulation is 0, but must be at least 1");
    if (!(clip_norm >= 0))
      throw SettingError("clip_norm is " + std::to_string(clip_norm) + ", but must be at least 0");
    if (deterministic && tile_rows == 0)
      throw SettingError("deterministic is set, but tile_rows is 0: it must be given");
    learning_rate.check();
    condition_dropout.check();
  }
};

}  // namespace meanflow
