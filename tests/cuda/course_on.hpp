// SPDX-License-Identifier: MIT
/// \file
/// `Courses` of a device; included where that device is compiled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>

#include "course.hpp"

namespace meanflow::test {

[[nodiscard]] inline TrainerSettings course_settings(std::size_t batch) {
  return {.steps = 20,
          .batch = batch,
          .learning_rate = {.peak = 1e-3, .warmup_steps = 5},
          .averages = {WarmupEma{}, ConstantEma{0.9}},
          .clip_norm = 1,
          .seed = 3};
}

/// 20 steps on noise of `shape` (B, ...), with labels of `classes` if the net is told any.
template <class Trainer>
[[nodiscard]] Course course_of(Trainer trainer, const Shape& shape, std::size_t classes = 1) {
  using Device = typename Trainer::Device;
  Course course;
  for (std::uint64_t i = 0; i < 20; ++i) {
    typename Trainer::Condition condition;
    if constexpr (requires { condition.labels; }) {
      Tensor<std::int32_t> labels({shape.rows()});
      for (std::size_t row = 0; row < labels.size(); ++row)
        labels[row] = static_cast<std::int32_t>(row % classes);
      condition.labels = to_device<Device>(labels);
    }
    course.reports.push_back(
        trainer.step(to_device<Device>(normal_noise(shape, i + 1)), condition));
  }
  course.parameters = to_host(trainer.net().parameters().values()).clone();
  course.average = to_host(trainer.average(1)).clone();
  return course;
}

template <class Device>
[[nodiscard]] auto mlp_trainer() {
  return MeanFlowTrainer(Mlp<float, Device>({.hidden = 32, .layers = 2, .seed = 1}),
                         course_settings(32));
}

/// Trains on one of the sets, and samples.
template <class Device>
[[nodiscard]] Tensor<float> samples_after_fit(const Tensor<float>& noise, std::size_t steps) {
  // [docs:device]
  MeanFlowTrainer trainer(Mlp<float, Device>({.hidden = 32, .layers = 2}), {.steps = 20});
  trainer.fit(Toy2dSource{Toy2d::rings});
  const Tensor<float, Device> samples = trainer.sample(to_device<Device>(noise), steps);
  return to_host(samples);
  // [docs:end]
}

template <class Device>
[[nodiscard]] Course mlp_course() {
  return course_of(mlp_trainer<Device>(), {32, 2});
}

template <class Device>
[[nodiscard]] Course mlp_by_chance_course() {
  return course_of(
      MeanFlowTrainer(Mlp<float, Device>({.hidden = 32, .layers = 2, .seed = 1}),
                      course_settings(64),
                      Recipe<>{.times = {.jump_fraction = 0.6, .count = JumpCount::by_chance}}),
      {64, 2});
}

template <class Device>
[[nodiscard]] Course mean_flow_net_course() {
  TrainerSettings settings = course_settings(8);
  settings.condition_dropout.rate = 0.25;
  const MeanFlowNetSettings net{.channels = 2,
                                .base = 8,
                                .multipliers = {1, 2},
                                .blocks = 1,
                                .classes = 3,
                                .embedding = 8,
                                .condition = 16,
                                .attention_levels = {1}};
  return course_of(MeanFlowTrainer(MeanFlowNet<float, Device>(net), settings,
                                   Recipe<Guided<MeanFlow>, AdaptiveWeighting>{
                                       .objective = {.guidance = {.omega = 1, .kappa = 0.5}}}),
                   {8, 8, 8, 2}, 3);
}

template <class Device>
[[nodiscard]] Course song_unet_course(bool replay) {
  const SongUNetSettings net{.resolution = 8,
                             .classes = 3,
                             .dropout = 0.2,
                             .model_channels = 8,
                             .channel_mult = {1, 2},
                             .blocks = 1,
                             .attention_resolutions = {4}};
  TrainerSettings settings = course_settings(4);
  settings.replay = replay;
  return course_of(MeanFlowTrainer(SongUNet<float, Device>(net), settings,
                                   Recipe<ImprovedMeanFlow, AdaptiveWeighting>{}),
                   {4, 8, 8, 3}, 3);
}

template <class Device>
[[nodiscard]] Tensor<float> written_checkpoint(const std::filesystem::path& path) {
  auto trainer = mlp_trainer<Device>();
  trainer.fit(Toy2dSource{});
  save_checkpoint(path, trainer);
  return to_host(trainer.net().parameters().values()).clone();
}

template <class Device>
[[nodiscard]] Tensor<float> checkpoint_read(const std::filesystem::path& path) {
  auto trainer = mlp_trainer<Device>();
  load_checkpoint(path, trainer);
  return to_host(trainer.net().parameters().values()).clone();
}

template <class Device>
void checkpoint_rewritten(const std::filesystem::path& from, const std::filesystem::path& to) {
  auto trainer = mlp_trainer<Device>();
  load_checkpoint(from, trainer);
  save_checkpoint(to, trainer);
}

template <class Device>
[[nodiscard]] Tensor<float> average_read(const std::filesystem::path& path) {
  const Mlp<float, Device> net({.hidden = 32, .layers = 2});
  load_parameters(path, net.parameters(), "average.0.");
  return to_host(net.parameters().values()).clone();
}

template <class Device>
[[nodiscard]] Interrupted interrupted_course() {
  auto trainer = mlp_trainer<Device>(), other = mlp_trainer<Device>();
  const auto values = [](const auto& of) {
    return to_host(of.net().parameters().values()).clone();
  };
  Interrupted result;
  const auto batch = [](std::uint64_t seed) { return normal_noise({32, 2}, seed); };
  const auto step = [&](auto& one, Course& course, std::uint64_t seed) {
    course.reports.push_back(one.step(to_device<Device>(batch(seed))));
    course.parameters = values(one);
    course.average = to_host(one.average(1)).clone();
  };
  step(trainer, result.course, 1);
  result.before = values(trainer);
  Tensor<float> bad = batch(2);
  bad[2 * 7] = std::numeric_limits<float>::infinity();
  try {
    trainer.step(to_device<Device>(bad));
  } catch (const NonFiniteError& error) {
    result.rows = error.rows;
  }
  result.after = values(trainer);
  step(trainer, result.course, 3);
  step(other, result.uninterrupted, 1);
  step(other, result.uninterrupted, 3);
  return result;
}

template <class Device>
[[nodiscard]] Courses courses_on() {
  return {.mlp = mlp_course<Device>,
          .mlp_by_chance = mlp_by_chance_course<Device>,
          .mean_flow_net = mean_flow_net_course<Device>,
          .song_unet = song_unet_course<Device>,
          .samples = samples_after_fit<Device>,
          .write_checkpoint = written_checkpoint<Device>,
          .read_checkpoint = checkpoint_read<Device>,
          .read_average = average_read<Device>,
          .rewrite_checkpoint = checkpoint_rewritten<Device>,
          .interrupted = interrupted_course<Device>};
}

}  // namespace meanflow::test
