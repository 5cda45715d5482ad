// SPDX-License-Identifier: MIT
// The data, and a net that is trained on them.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <meanflow/meanflow.hpp>

#include "settings.hpp"

namespace toy2d {

using meanflow::Tensor;
using Points = std::vector<float>;  // (N, 2)

// ------------------------------------------------------------------------------- data

/// A named set or the points of a file, in the scale that the net sees.
class Data {
 public:
  explicit Data(const Settings& settings) {
    if (settings.data.empty())
      set_ = meanflow::toy2d_from_name(settings.dataset);
    else
      points_ = std::make_shared<const meanflow::PointSet>(
          settings.data, meanflow::PointSetOptions{.seed = settings.seed});
    if (points_ && points_->dim() != 2)
      throw meanflow::FileError(
          settings.data + ": has " + std::to_string(points_->dim()) +
          " columns, expected 2: examples/table.cpp learns tables of any number");
  }

  [[nodiscard]] meanflow::Shape row_shape() const { return {2}; }

  void fill(Tensor<float>& x, std::uint64_t seed, std::uint64_t number) const {
    if (points_)
      points_->fill(x, seed, number);
    else
      meanflow::Toy2dSource{set_}.fill(x, seed, number);
  }

  /// Points that training has not seen: fresh ones, or those held out.
  [[nodiscard]] Points fresh(std::size_t count, std::uint64_t seed) const {
    if (points_) {
      const auto held_out = points_->held_out();
      return {held_out.begin(), held_out.begin() + static_cast<std::ptrdiff_t>(
                                                       2 * std::min(count, held_out.size() / 2))};
    }
    Points points(2 * count);
    meanflow::sample_toy2d(set_, points, seed, ~std::uint32_t{0});
    return points;
  }

  /// Throws meanflow::FileError if a file holds out too few points to compare with.
  void check_held_out() const {
    constexpr std::size_t least = 4;  // precision and recall look at the third neighbour
    if (points_ && points_->held_out().size() / 2 < least)
      throw meanflow::FileError("--data: a tenth of the points is held out to compare with, and " +
                                std::to_string(points_->held_out().size() / 2) +
                                " are too few; give 40 or more");
  }

  /// Points as training sees them, for the noise floor.
  [[nodiscard]] Points training(std::size_t count, std::uint64_t seed) const {
    auto x = Tensor<float>({count, 2});
    fill(x, seed, 0xfffffffe);
    return {x.data(), x.data() + x.size()};
  }

  /// How points are mapped to what the user gave.
  [[nodiscard]] meanflow::Scaling scaling() const {
    return points_ ? points_->scaling() : meanflow::Scaling{};
  }

 private:
  meanflow::Toy2d set_{};
  std::shared_ptr<const meanflow::PointSet> points_;
};

[[nodiscard]] inline Points to_points(const Tensor<float>& x) {
  return {x.data(), x.data() + x.size()};
}

// --------------------------------------------------------------------------- training

/// What a training run leaves behind: the averaged net and the curves.
struct Trained {
  meanflow::Mlp<float> net;
  std::vector<double> loss{}, squared_error{}, velocity_error{};
  double seconds = 0;
};

/// Keeps the curves of a training run.
struct Recorder {
  Trained& trained;

  void operator()(const meanflow::StepReport& report) const {
    trained.loss.push_back(report.loss);
    trained.squared_error.push_back(report.metrics["squared_error"]);
    trained.velocity_error.push_back(report.metrics["velocity_error"]);
    trained.seconds = report.seconds;
  }
};

template <class Device, class Times>
[[nodiscard]] Trained train_with(const Settings& s, const Data& data, const std::string& name,
                                 std::uint64_t steps, Times times, meanflow::AnyFlow objective) {
  Trained trained{.net = make_net<>(s, s.seed)};
  times.jump_fraction = s.jump_fraction;
  meanflow::MeanFlowTrainer trainer(
      make_net<Device>(s, s.seed),
      {.steps = steps,
       .batch = s.batch,
       .learning_rate = {.peak = learning_rate(s, name), .decay = meanflow::Decay::cosine},
       .averages = {meanflow::WarmupEma{s.ema}},
       .seed = s.seed,
       .warnings = !s.quiet},
      meanflow::Recipe{.objective = objective,
                       .weighting = meanflow::AdaptiveWeighting{.p = s.weighting_p},
                       .times = times,
                       .optimizer = meanflow::Adam{.beta2 = 0.99, .weight_decay = s.weight_decay},
                       .communicator = s.processes,
                       .coupling = make_coupling(s)});
  if (s.quiet)
    trainer.fit(data, Recorder{trained});
  else
    trainer.fit(data, Recorder{trained}, meanflow::ProgressBar(name));
  trained.net.parameters().assign(meanflow::to_host(trainer.best_values()));
  return trained;
}

template <class Device>
[[nodiscard]] Trained train_on(const Settings& s, const Data& data, const std::string& objective,
                               std::uint64_t steps) {
  const TimesChoice choice = parse_times(s.times);
  meanflow::AnyFlow goal{meanflow::FlowMatching{}};
  if (objective == "meanflow")
    goal.objective = meanflow::MeanFlow{.direction = tangents_by_name.at(s.tangent)};
  if (objective == "improved-meanflow") goal.objective = meanflow::ImprovedMeanFlow{};
  if (choice.uniform)
    return train_with<Device>(s, data, objective, steps, meanflow::UniformTimes{}, goal);
  return train_with<Device>(s, data, objective, steps,
                            meanflow::LogitNormalTimes{.t = {choice.mean, choice.deviation}}, goal);
}

/// On a GPU. Throws meanflow::SettingError if the program was built without CUDA.
[[nodiscard]] Trained train_on_cuda(const Settings& s, const Data& data,
                                    const std::string& objective, std::uint64_t steps);

}  // namespace toy2d
