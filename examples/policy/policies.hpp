// SPDX-License-Identifier: MIT
// Policies that are learnt from demonstrations, and how they drive the robot.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <meanflow/meanflow.hpp>

#include "expert.hpp"
#include "simulator.hpp"

namespace policy {

using meanflow::Tensor;
using Net = meanflow::Mlp<float>;

/// What a user can choose. The defaults are those of the page.
struct Settings {
  std::size_t demonstrations = 1000;
  std::size_t history = 2;  ///< observations that the policy is told
  std::size_t chunk = 8;    ///< commands that it gives
  std::size_t execute = 4;  ///< of which so many are carried out
  std::uint64_t steps = 8000;
  std::size_t batch = 512;
  std::size_t hidden = 256;
  std::size_t layers = 4;
  double lr = 4e-3;
  std::size_t episodes = 500;
  std::uint64_t seed = 0;
  int threads = 0;
  std::string out = "out/policy";
  bool quiet = false;

  /// Throws SettingError if numbers contradict each other.
  void check() const {
    if (execute > chunk)
      throw meanflow::SettingError("--execute is " + std::to_string(execute) +
                                   ", but --chunk gives " + std::to_string(chunk) + " commands");
  }
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Settings, demonstrations, history, chunk, execute, steps, batch,
                                   hidden, layers, lr, episodes, seed, threads)

// --------------------------------------------------------------------------- training

// [docs:regression]
/// Behaviour cloning: the net, which is not given noise, towards the demonstrated chunk itself.
struct Regression {
  static constexpr std::array metrics{meanflow::Metric{"squared_error"}};
  [[nodiscard]] static constexpr bool needs_jumps() { return false; }

  template <class N, class W>
  [[nodiscard]] auto operator()(const N& net, const meanflow::FlowBatchOf<N>& batch,
                                const meanflow::StepContext<N, W>& context) const {
    const meanflow::Var z(context.tape, Tensor<float>::zeros(batch.z.shape()));
    const meanflow::Var t(context.tape, Tensor<float>::zeros(batch.t.shape()));
    auto error =
        squared_error(context, meanflow::evaluate(net, z, t, t, batch.condition), batch.data);
    return meanflow::RowLosses<float, meanflow::Cpu, 1, 1>{
        error.loss, {error.output}, {error.squared_error}};
  }
};
// [docs:end]

[[nodiscard]] inline Net make_net(const Settings& s) {
  return Net({.dimension = 2 * s.chunk,
              .hidden = s.hidden,
              .layers = s.layers,
              .residual = true,
              .condition = s.history * observed,
              .time = meanflow::low_frequencies(),
              .seed = s.seed});
}

// [docs:train]
/// A net that learns what the demonstrations show, towards any objective.
template <class Objective>
[[nodiscard]] Net train(const Settings& s, const Demonstrations& shown, const std::string& title,
                        Objective objective) {
  meanflow::MeanFlowTrainer trainer(
      make_net(s),
      {.steps = s.steps,
       .batch = s.batch,
       .learning_rate = {.peak = s.lr},
       .seed = s.seed,
       .warnings = !s.quiet},
      meanflow::Recipe{.objective = objective,
                       .weighting = meanflow::AdaptiveWeighting{.p = 0.3},
                       .times = meanflow::LogitNormalTimes{.t = {-0.4, 1.6}},
                       .optimizer = meanflow::Adam{.beta2 = 0.99},
                       .coupling = meanflow::OptimalTransport{}});
  if (s.quiet)
    trainer.fit(ChunkSource{shown});
  else
    trainer.fit(ChunkSource{shown}, meanflow::ProgressBar(title));
  Net net = trainer.net();
  net.parameters().assign(trainer.best_values());
  return net;
}
// [docs:end]

// ---------------------------------------------------------------------------- driving

/// Gives a chunk (1, 2 K) after the history that it is told; `draw` is the number of the decision,
/// for policies that need noise.
using Decide =
    std::function<Tensor<float>(const meanflow::VectorCondition<float>& told, std::uint64_t draw)>;

// [docs:decide]
/// A policy that turns noise into a chunk of commands, in `sampling.steps` steps.
[[nodiscard]] inline Decide generating(Net net, meanflow::SamplingSettings sampling) {
  return [=](const meanflow::VectorCondition<float>& told, std::uint64_t draw) {
    const auto noise =
        meanflow::normal_noise({1, net.settings().dimension}, sampling.seed, /*first_row=*/draw);
    return meanflow::generate(net, noise, sampling, told);
  };
}
// [docs:end]

/// A policy that was trained by `Regression`.
[[nodiscard]] inline Decide regressing(Net net) {
  return [=](const meanflow::VectorCondition<float>& told, std::uint64_t) {
    const auto time = Tensor<float>::zeros({1, 1});
    return net(Tensor<float>::zeros({1, net.settings().dimension}), time, time, told);
  };
}

/// Drives one episode: asks the policy for a chunk, carries out the first few commands, asks again.
class RecedingHorizon {
 public:
  /// `microseconds` receives the duration of each decision.
  RecedingHorizon(const Settings& s, const Demonstrations& shown, const Decide& decide,
                  std::uint64_t episode, std::vector<double>& microseconds)
      : execute_(s.execute),
        shown_(shown),
        decide_(decide),
        draw_(episode * time_limit),
        microseconds_(microseconds),
        seen_(s.history),
        told_{Tensor<float>({1, shown.histories.row_size()})} {}

  [[nodiscard]] Point operator()(const World& world, const State& state) {
    seen_.see(world, state);
    if (next_ == commands_.size()) decide();
    return commands_[next_++];
  }

 private:
  void decide() {
    const auto start = std::chrono::steady_clock::now();
    std::vector<double> numbers = seen_.numbers();
    shown_.history_scaling.apply(std::span(numbers));
    for (std::size_t i = 0; i < numbers.size(); ++i)
      told_.values[i] = static_cast<float>(numbers[i]);
    Tensor<float> chunk = decide_(told_, draw_++);
    shown_.chunk_scaling.undo(chunk.span());
    commands_.clear();
    for (std::size_t k = 0; k < execute_; ++k)
      commands_.emplace_back(chunk[2 * k], chunk[2 * k + 1]);
    next_ = 0;
    const std::chrono::duration<double, std::micro> taken =
        std::chrono::steady_clock::now() - start;
    microseconds_.push_back(taken.count());
  }

  std::size_t execute_;
  const Demonstrations& shown_;
  const Decide& decide_;
  std::uint64_t draw_;
  std::vector<double>& microseconds_;
  History seen_;
  meanflow::VectorCondition<float> told_;
  std::vector<Point> commands_;
  std::size_t next_ = 0;
};

/// A way to drive, and the panel and row of the table that it has.
struct Driver {
  std::string name, key;
  Decide decide{};  ///< empty for the expert itself
};

/// Drives episode number `episode` in `world`.
[[nodiscard]] inline Episode drive(const Settings& s, const Demonstrations& shown,
                                   const Driver& driver, const World& world, std::uint64_t episode,
                                   std::vector<double>& microseconds) {
  if (!driver.decide) return run_episode(world, draw_expert(s.seed + 1, episode));
  return run_episode(world, RecedingHorizon(s, shown, driver.decide, episode, microseconds));
}

/// The expert, and all that is learnt from it.
[[nodiscard]] inline std::vector<Driver> make_drivers(const Settings& s,
                                                      const Demonstrations& shown) {
  const Net average = train(s, shown, "mean flow", meanflow::MeanFlow{});
  const Net velocity = train(s, shown, "flow matching", meanflow::FlowMatching{});
  const Net mean = train(s, shown, "regression", Regression{});
  const auto euler = [&](std::size_t steps) {
    return generating(velocity,
                      {.steps = steps, .solver = meanflow::Solver::euler, .seed = s.seed});
  };
  return {{"expert", "expert"},
          {"mean flow, 1 step", "mean_flow_1", generating(average, {.seed = s.seed})},
          {"flow matching, 1 step", "flow_matching_1", euler(1)},
          {"flow matching, 10 steps", "flow_matching_10", euler(10)},
          {"regression", "regression", regressing(mean)}};
}

}  // namespace policy
