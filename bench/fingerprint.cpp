// SPDX-License-Identifier: MIT
// Losses and checksums of short training runs, to compare two builds on one machine: a change that
// is not meant to change numbers prints the same lines as before.
//
//   cmake --build build --target fingerprint && build/bin/fingerprint > before.txt
//   build/bin/fingerprint | diff before.txt -
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <span>
#include <string>

#include <omp.h>

#include <meanflow/meanflow.hpp>

namespace {

using namespace meanflow;

/// FNV-1a, 64 bits.
[[nodiscard]] std::uint64_t checksum(const Tensor<float>& values) {
  std::uint64_t sum = 14695981039346656037ULL;
  for (const std::byte byte : std::as_bytes(values.span()))
    sum = (sum ^ static_cast<std::uint64_t>(byte)) * 1099511628211ULL;
  return sum;
}

template <class Trainer>
void print(const std::string& name, const Trainer& trainer, double loss) {
  std::printf("%s, step %llu: loss %a, parameters %016llx, average %016llx\n", name.c_str(),
              static_cast<unsigned long long>(trainer.steps_done()), loss,
              static_cast<unsigned long long>(checksum(trainer.net().parameters().values())),
              static_cast<unsigned long long>(checksum(trainer.average())));
  std::fflush(stdout);
}

template <class Objective>
void toy(const std::string& name, Objective objective) {
  MeanFlowTrainer trainer(Mlp<float>({.hidden = 64, .layers = 3}), {.steps = 200, .batch = 256},
                          Recipe<Objective, AdaptiveWeighting>{.objective = objective});
  trainer.fit(Toy2dSource{Toy2d::eight_gaussians}, [&](const StepReport& report) {
    if (report.step % 50 == 48) print(name, trainer, report.loss);
  });
  print(name, trainer, 0);
}

/// 20 steps of an image net on noise with labels of three classes.
template <class Trainer>
void images(const std::string& name, Trainer trainer, const Shape& shape) {
  Tensor<std::int32_t> labels({shape.rows()});
  for (std::size_t row = 0; row < labels.size(); ++row)
    labels[row] = static_cast<std::int32_t>(row % 3);
  for (std::uint64_t i = 0; i < 20; ++i) {
    const double loss = trainer.step(normal_noise(shape, i + 1), {.labels = labels}).loss;
    if (i % 10 == 9) print(name, trainer, loss);
  }
}

[[nodiscard]] TrainerSettings image_settings(Precision precision) {
  return {.steps = 20,
          .batch = 8,
          .learning_rate = {.peak = 1e-3, .warmup_steps = 5},
          .clip_norm = 1,
          .condition_dropout = {.rate = 0.25},
          .precision = precision};
}

void mean_flow_net(const std::string& name, Precision precision) {
  const MeanFlowNetSettings net{.channels = 3,
                                .base = 16,
                                .multipliers = {1, 2},
                                .blocks = 1,
                                .classes = 3,
                                .embedding = 16,
                                .condition = 32,
                                .attention_levels = {1}};
  images(name,
         MeanFlowTrainer(MeanFlowNet<float>(net), image_settings(precision),
                         Recipe<Guided<MeanFlow>, AdaptiveWeighting>{
                             .objective = {.guidance = {.omega = 1, .kappa = 0.5}}}),
         {8, 16, 16, 3});
}

void song_unet(const std::string& name, Precision precision) {
  const SongUNetSettings net{.resolution = 16,
                             .classes = 3,
                             .dropout = 0.2,
                             .model_channels = 16,
                             .channel_mult = {1, 2},
                             .blocks = 1,
                             .attention_resolutions = {8}};
  TrainerSettings settings = image_settings(precision);
  settings.condition_dropout = {};
  images(name,
         MeanFlowTrainer(SongUNet<float>(net), settings,
                         Recipe<ImprovedMeanFlow, AdaptiveWeighting>{
                             .times = {.jump_fraction = 0.5, .count = JumpCount::by_chance}}),
         {8, 16, 16, 3});
}

/// Where the processor or the build has no bfloat16 there is nothing to compare.
template <class F>
void in_each_precision(const std::string& name, F f) {
  f(name, Precision::float32);
  try {
    check_precision(Cpu{}, Precision::bfloat16);
  } catch (const SettingError&) {
    return;
  }
  f(name + ", bfloat16", Precision::bfloat16);
}

}  // namespace

int main() {
  omp_set_num_threads(2);
  toy("flow matching", FlowMatching{});
  toy("Mean Flows", MeanFlow{});
  toy("Mean Flows, detached", MeanFlow{.mode = JvpMode::detached});
  toy("improved Mean Flows", ImprovedMeanFlow{});
  in_each_precision("MeanFlowNet", mean_flow_net);
  in_each_precision("SongUNet", song_unet);
}
