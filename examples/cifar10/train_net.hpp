// SPDX-License-Identifier: MIT
// The training of one kind of net; included where that kind is compiled.
#pragma once

#include <cstddef>
#include <cstdio>
#include <optional>
#include <utility>

#include <meanflow/data/image_source.hpp>
#include <meanflow/kernels/warnings.hpp>
#include <meanflow/train/checkpoint.hpp>
#include <meanflow/train/progress.hpp>
#include <meanflow/train/stop_on_signal.hpp>
#include <meanflow/train/trainer.hpp>

#include "model.hpp"
#include "recorder.hpp"
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
          .precision = s.train.precision};
}

[[nodiscard]] inline meanflow::ImageSource make_source(Run& run) {
  meanflow::ImageSourceSettings settings{.flip = run.settings.data.flip,
                                         .labels = run.settings.data.labels};
  if (run.settings.data.augment) settings.augment.emplace();
  return meanflow::ImageSource(std::move(run.images), settings);
}

/// A callback that prints warnings of the kernels as they appear, and says when a GPU replays
/// steps.
class KernelNotes {
 public:
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

template <meanflow::Net N>
void train_net(N net, Run run) {
  const Settings& s = run.settings;
  meanflow::MeanFlowTrainer trainer(std::move(net), trainer_settings(s),
                                    meanflow::Recipe{.objective = make_objective(s),
                                                     .weighting = s.weighting,
                                                     .times = Times{s.times},
                                                     .optimizer = s.optimizer});
  meanflow::Checkpoints checkpoints({.folder = run.workdir / "checkpoints",
                                     .every = s.checkpoint.every,
                                     .keep = s.checkpoint.keep},
                                    metadata_of(s, run.format, run.data));
  if (checkpoints.resume(trainer))
    std::fprintf(stderr, "resuming from step %llu\n",
                 static_cast<unsigned long long>(trainer.steps_done()));
  if (trainer.steps_done() >= s.train.steps) {
    std::fprintf(stderr, "nothing to do: the training run has done %llu of %llu steps\n",
                 static_cast<unsigned long long>(trainer.steps_done()),
                 static_cast<unsigned long long>(s.train.steps));
    return;
  }
  meanflow::Prefetched source(make_source(run));
  Recorder recorder(s, run.format, run.workdir, trainer.steps_done());
  meanflow::StopOnSignal stop;
  if (run.quiet)
    trainer.fit(source, checkpoints, recorder, stop, KernelNotes{});
  else
    trainer.fit(source, checkpoints, recorder, stop, KernelNotes{},
                meanflow::ProgressBar("training"));
  if (trainer.steps_done() < s.train.steps)
    std::fprintf(stderr, "stopped and saved at step %llu; the same command resumes from there\n",
                 static_cast<unsigned long long>(trainer.steps_done()));
}

}  // namespace cifar10
