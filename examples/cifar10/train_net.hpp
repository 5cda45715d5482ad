// SPDX-License-Identifier: MIT
// The training of one kind of net; included where that kind is compiled.
#pragma once

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <meanflow/data/image_source.hpp>
#include <meanflow/flow/imf.hpp>
#include <meanflow/io/parameters.hpp>
#include <meanflow/io/safetensors.hpp>
#include <meanflow/kernels/warnings.hpp>
#include <meanflow/train/checkpoint.hpp>
#include <meanflow/train/progress.hpp>
#include <meanflow/train/stop_on_signal.hpp>
#include <meanflow/train/trainer.hpp>

#include "model.hpp"
#include "recorder.hpp"
#include "source.hpp"
#include "taught.hpp"
#include "training.hpp"

namespace cifar10 {

[[nodiscard]] inline meanflow::TrainerSettings trainer_settings(const Settings& s) {
  return {.steps = s.train.steps,
          .batch = s.train.batch,
          .learning_rate = s.learning_rate,
          .averages = s.averages,
          .clip_norm = s.train.clip_norm,
          .condition_dropout = s.train.label_dropout,
          .seed = s.train.seed,
          .tile_rows = s.train.tile_rows,
          .shard_optimizer = s.train.shard_optimizer,
          .deterministic = s.train.deterministic,
          .precision = s.train.precision,
          .convolutions = s.train.convolutions};
}

/// A callback that prints warnings of the kernels as they appear, and says when a GPU replays
/// steps.
class KernelNotes {
 public:
  static constexpr bool root_only = true;

  template <class Trainer>
  void on_step(Trainer& trainer, const meanflow::StepReport&) {
    const auto warnings = meanflow::kernels::warnings_so_far();
    for (; told_ < warnings.size(); ++told_)
      std::fprintf(stderr, "warning: %s\n", warnings[told_].c_str());
    const auto recording = trainer.recording();
    if (replays_ || recording.replays == 0) return;
    replays_ = true;
    std::fprintf(stderr, "the training step is replayed as a CUDA graph of %zu nodes\n",
                 recording.nodes);
  }

 private:
  std::size_t told_ = meanflow::kernels::warnings_so_far().size();  // earlier ones were printed
  bool replays_ = false;
};

/// The parameters that a net begins from, or a teacher has: the first average of a checkpoint of
/// this program, or the weights of a file of others. The error names what the file lacks.
template <meanflow::Net N>
void read_weights(const N& net, const std::filesystem::path& path, const char* option) {
  const std::filesystem::path file = checkpoint_file(path);
  const meanflow::Safetensors opened(file);
  const std::string averaged = "average.0.";
  bool has_average = false;
  for (const std::string& name : opened.names()) has_average |= name.starts_with(averaged);
  try {
    meanflow::load_parameters(file, net.parameters(), has_average ? averaged : "");
  } catch (const meanflow::FileError& error) {
    throw meanflow::FileError(std::string(option) + ": " + error.what());
  }
}

/// One run towards an objective.
template <meanflow::Net N, class O>
void train_towards(N net, Run run, O objective) {
  const Settings& s = run.settings;
  // A run that is resumed has begun already.
  const bool begins = !meanflow::latest_checkpoint(run.workdir / "checkpoints");
  if (begins && !run.init.empty()) read_weights(net, run.init, "--init");
  std::shared_ptr<const N> teacher;
  if (!run.teacher.empty()) {
    teacher = std::make_shared<const N>(rebuilt<N>(s, run.format));
    read_weights(*teacher, run.teacher, "--teacher");
  }
  const Taught<O, N> taught(objective, teacher, run.teacher_guidance);
  meanflow::MeanFlowTrainer trainer(std::move(net), trainer_settings(s),
                                    meanflow::Recipe{.objective = taught,
                                                     .weighting = s.weighting,
                                                     .times = Times{s.times},
                                                     .optimizer = s.optimizer,
                                                     .communicator = run.processes});
  meanflow::Checkpoints checkpoints({.folder = run.workdir / "checkpoints",
                                     .every = s.checkpoint.every,
                                     .keep = s.checkpoint.keep},
                                    metadata_of(s, run.format, run.data));
  const bool root = is_root(run.processes);
  if (checkpoints.resume(trainer) && root)
    std::fprintf(stderr, "resuming from step %llu\n",
                 static_cast<unsigned long long>(trainer.steps_done()));
  if (trainer.steps_done() >= s.train.steps) {
    if (!root) return;
    std::fprintf(stderr, "nothing to do: the training run has done %llu of %llu steps\n",
                 static_cast<unsigned long long>(trainer.steps_done()),
                 static_cast<unsigned long long>(s.train.steps));
    return;
  }
  meanflow::Prefetched source(Source{run});
  std::vector<std::string> metrics;
  for (const auto& metric : O::metrics) metrics.emplace_back(metric.name);
  Recorder recorder(s, run.format, run.workdir, metrics);
  ProcessLog log(s, run.workdir);
  meanflow::StopOnSignal stop;
  if (run.quiet)
    trainer.fit(source, checkpoints, recorder, log, stop, KernelNotes{});
  else
    trainer.fit(source, checkpoints, recorder, log, stop, KernelNotes{},
                meanflow::ProgressBar("training"));
  if (trainer.steps_done() < s.train.steps && root)
    std::fprintf(stderr, "stopped and saved at step %llu; the same command resumes from there\n",
                 static_cast<unsigned long long>(trainer.steps_done()));
}

template <meanflow::Net N>
void train_net(N net, Run run) {
  if constexpr (meanflow::ImfNet<N>)
    if (const auto* imf = imf_objective(run.settings)) {
      const meanflow::ImfObjective objective = *imf;
      return train_towards(std::move(net), std::move(run), objective);
    }
  const Objective objective = make_objective(run.settings);
  train_towards(std::move(net), std::move(run), objective);
}

}  // namespace cifar10
