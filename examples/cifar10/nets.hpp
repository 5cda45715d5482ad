// SPDX-License-Identifier: MIT
// The nets, objectives and times of a configuration: each choice is one type that holds a variant,
// so that a trainer is compiled once for each net and not for each combination.
#pragma once

#include <algorithm>
#include <string>
#include <variant>

#include <meanflow/data/augment.hpp>
#include <meanflow/flow/any_flow.hpp>
#include <meanflow/flow/guidance.hpp>
#include <meanflow/flow/mean_flow.hpp>
#include <meanflow/flow/time_sampler.hpp>
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/kernels/cpu/attention.hpp>
#include <meanflow/kernels/cpu/conv.hpp>
#include <meanflow/kernels/cpu/norm.hpp>
#include <meanflow/nn/mean_flow_net.hpp>
#include <meanflow/nn/song_unet.hpp>

#include "settings.hpp"

namespace cifar10 {

/// The net's own settings, with what follows from the data.
[[nodiscard]] inline meanflow::MeanFlowNetSettings completed(meanflow::MeanFlowNetSettings net,
                                                             const Settings& s,
                                                             const ImageFormat& format) {
  const std::size_t halvings = net.multipliers.size() - 1, divisor = std::size_t{1} << halvings;
  if (format.height % divisor != 0 || format.width % divisor != 0)
    throw meanflow::SettingError("net.multipliers has " + std::to_string(halvings + 1) +
                                 " levels, so that sides of pictures "
                                 "must be divisible by " +
                                 std::to_string(divisor) + ", but these have " +
                                 std::to_string(format.height) + " x " +
                                 std::to_string(format.width) + " pixels");
  net.channels = format.channels;
  net.classes = s.data.labels ? format.classes : 0;
  net.seed = s.train.seed;
  return net;
}

[[nodiscard]] inline meanflow::SongUNetSettings completed(meanflow::SongUNetSettings net,
                                                          const Settings& s,
                                                          const ImageFormat& format) {
  if (format.height != format.width)
    throw meanflow::SettingError("a song_unet needs square pictures, but these have " +
                                 std::to_string(format.height) + " x " +
                                 std::to_string(format.width) + " pixels");
  net.resolution = format.height;
  net.in_channels = net.out_channels = format.channels;
  net.classes = s.data.labels ? format.classes : 0;
  net.augmentation = s.data.augment ? meanflow::AugmentPipe{}.label_count() : 0;
  net.seed = s.train.seed;
  return net;
}

/// Throws meanflow::SettingError if no such net can take such pictures.
inline void check_net(const Settings& s, const ImageFormat& format) {
  std::visit([&](const auto& net) { completed(net, s, format).check(); }, s.net);
}

template <class Device>
[[nodiscard]] meanflow::MeanFlowNet<float, Device> build(const meanflow::MeanFlowNetSettings& net) {
  return meanflow::MeanFlowNet<float, Device>(net);
}

template <class Device>
[[nodiscard]] meanflow::SongUNet<float, Device> build(const meanflow::SongUNetSettings& net) {
  return meanflow::SongUNet<float, Device>(net);
}

/// Calls f(net) with the net that a configuration describes.
template <class Device = meanflow::Cpu, class F>
decltype(auto) with_net(const Settings& s, const ImageFormat& format, F f) {
  return std::visit([&](const auto& net) { return f(build<Device>(completed(net, s, format))); },
                    s.net);
}

/// A `meanflow::TimeSampler` over any of the distributions.
struct Times {
  TimesSettings chosen;

  static constexpr void fields(auto f, auto&... t) { f("times", t.chosen...); }

  [[nodiscard]] std::size_t jump_rows(std::size_t batch, meanflow::RandomStream& stream) const {
    return std::visit([&](const auto& times) { return times.jump_rows(batch, stream); }, chosen);
  }
  /// A GPU calls it too, and can do no std::visit.
  [[nodiscard]] MEANFLOW_HOST_DEVICE meanflow::TimePair<float> sample(
      meanflow::RandomStream& stream, bool jump) const {
    if (const auto* uniform = std::get_if<meanflow::UniformTimes>(&chosen))
      return uniform->sample(stream, jump);
    return std::get_if<meanflow::LogitNormalTimes>(&chosen)->sample(stream, jump);
  }
};

using Objective = meanflow::Guided<meanflow::AnyFlow>;

[[nodiscard]] inline Objective make_objective(const Settings& s) {
  return {.guidance = s.guidance, .objective = {s.objective}};
}

}  // namespace cifar10
