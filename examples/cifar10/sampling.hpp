// SPDX-License-Identifier: MIT
// Pictures from a trained net, in batches that bound the memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include <meanflow/flow/generate.hpp>
#include <meanflow/io/image.hpp>
#include <meanflow/io/parameters.hpp>
#include <meanflow/tensor/transfer.hpp>
#include <meanflow/train/any_communicator.hpp>
#include <meanflow/train/sharing.hpp>

#include "nets.hpp"

namespace cifar10 {

/// How pictures are sampled. Picture i depends on the seed and i alone.
struct Sampling {
  std::size_t nfe = 1;  ///< evaluations of the net; with guidance twice as many
  std::uint64_t seed = 0;
  double guidance = 1;                       ///< scale of guidance at sampling; 1: none
  meanflow::GuidanceInput input{};           ///< guidance that the net is told
  std::optional<meanflow::Solver> solver{};  ///< of the velocity, instead of steps along u
  std::size_t batch = 64;                    ///< pictures at a time
};

/// Throws meanflow::SettingError if the net cannot be guided like that.
inline void check_guidance(const Settings& settings, const Sampling& sampling) {
  sampling.input.check();
  const bool told = imf_objective(settings) != nullptr;
  const auto& [omega, t_min, t_max] = sampling.input;
  if (!told && (omega != 1 || t_min != 0 || t_max != 1))
    throw meanflow::SettingError(
        "omega and its interval are for nets that learned guidance as an input (objective.kind "
        "imf): this one takes --guidance");
  if (sampling.guidance != 1 && told)
    throw meanflow::SettingError(
        "guidance at sampling is for nets that are not told it: this one takes --omega");
  if (sampling.guidance != 1 && settings.train.label_dropout.rate == 0)
    throw meanflow::SettingError(
        "guidance at sampling is away from what the net learns without classes, but it was trained "
        "with train.label_dropout.rate 0: set guidance to 1");
  if (sampling.guidance != 1 && !sampling.solver &&
      settings.train.label_dropout.count == meanflow::DropCount::exact)
    throw meanflow::SettingError(
        "guidance at sampling is away from what the net learns of jumps without classes, but "
        "train.label_dropout.count is exact, which trains none: set guidance to 1, or --solver");
}

using Labels = std::function<std::int32_t(std::size_t picture)>;

/// Pictures [first, first + count), (count, H, W, C). `labels` may be empty.
template <meanflow::Net N>
[[nodiscard]] meanflow::Tensor<float> sample_batch(const N& net, const ImageFormat& format,
                                                   std::size_t first, std::size_t count,
                                                   const Labels& labels, const Sampling& sampling) {
  using Device = typename N::device_type;
  const auto noise = meanflow::normal_noise<float, Device>(
      {count, format.height, format.width, format.channels}, sampling.seed, first);
  meanflow::ConditionOf<N> condition;
  if (labels) {
    meanflow::Tensor<std::int32_t> known({count});
    for (std::size_t i = 0; i < count; ++i) known[i] = labels(first + i);
    condition.labels = meanflow::to_device<Device>(known);
  }
  if constexpr (meanflow::TellsGuidance<meanflow::ConditionOf<N>>)
    condition = with_guidance(condition, sampling.input, count);
  if (sampling.guidance != 1 && !labels)
    throw meanflow::SettingError("guidance at sampling needs a net that was trained with classes");
  return meanflow::to_host(meanflow::generate(
      net, noise, {.steps = sampling.nfe, .solver = sampling.solver, .guidance = sampling.guidance},
      condition));
}

/// Gives pictures [first, first + count) (count, H, W, C) of the host, on whatever device.
using Sampler = std::function<meanflow::Tensor<float>(std::size_t first, std::size_t count,
                                                      const Labels&, const Sampling&)>;

/// Samples with the parameters in the checkpoint whose names have the prefix.
template <meanflow::Net N>
[[nodiscard]] Sampler make_sampler(N net, const ImageFormat& format,
                                   const std::filesystem::path& checkpoint,
                                   const std::string& prefix) {
  meanflow::load_parameters(checkpoint, net.parameters(), prefix);
  return [net = std::move(net), format](std::size_t first, std::size_t count, const Labels& labels,
                                        const Sampling& sampling) {
    return sample_batch(net, format, first, count, labels, sampling);
  };
}

/// Calls visit(pictures (B, H, W, C), first) for the pictures of a share, batch by batch.
template <class Sample, class Visit>
void for_each_batch(meanflow::RowShare share, std::size_t batch, Sample sample, Visit visit) {
  for (std::size_t first = share.first; first < share.end; first += batch)
    visit(sample(first, std::min(batch, share.end - first)), first);
}

/// `count` pictures in one tensor, sampled `batch` at a time, each process its share.
template <class Sample>
[[nodiscard]] meanflow::Tensor<float> all_pictures(const meanflow::AnyCommunicator& processes,
                                                   const ImageFormat& format, std::size_t count,
                                                   std::size_t batch, Sample sample) {
  meanflow::Tensor<float> all({count, format.height, format.width, format.channels});
  for_each_batch(row_share(processes, count), batch, sample,
                 [&](const auto& pictures, std::size_t first) {
                   std::ranges::copy(pictures.span(), all.row(first));
                 });
  gather_rows(processes, all);
  return all;
}

/// Columns of a grid of `count` pictures: one class to a row, if there are classes.
[[nodiscard]] inline std::size_t grid_columns(std::size_t count, std::size_t classes) {
  return classes == 0 ? 0 : (count + classes - 1) / classes;
}

/// The class of each picture of such a grid; nothing without classes.
[[nodiscard]] inline Labels grid_labels(std::size_t count, std::size_t classes) {
  if (classes == 0) return {};
  return [columns = grid_columns(count, classes)](std::size_t picture) {
    return static_cast<std::int32_t>(picture / columns);
  };
}

[[nodiscard]] inline meanflow::Image make_grid(const meanflow::Tensor<float>& pictures,
                                               std::size_t columns) {
  const auto& shape = pictures.shape();
  return meanflow::image_grid(pictures.span(), shape[1], shape[2], shape[3], {.columns = columns});
}

}  // namespace cifar10
