// SPDX-License-Identifier: MIT
// Training steps and one-step sampling. Names: training_step/NET/OBJECTIVE/BATCH, where meanflow_75
// has r < t in 75 % of the rows; sampling/NET/BATCH. Times are of the wall clock.
#include <string>

#include <benchmark/benchmark.h>

#include <meanflow/meanflow.hpp>

namespace {

using namespace meanflow;

Mlp<float> mlp_256x4() { return Mlp<float>({.dimension = 2, .hidden = 256, .layers = 4}); }

template <class Objective>
void training_step(benchmark::State& state, Objective objective, double jump_fraction) {
  const auto batch = static_cast<std::size_t>(state.range(0));
  MeanFlowTrainer trainer(mlp_256x4(), {.batch = batch, .learning_rate = {.peak = 1e-5}},
                          LinearPath{}, LogitNormalTimes{.jump_fraction = jump_fraction},
                          AdaptiveWeighting{}, objective);
  const auto x = normal_noise({batch, 2}, 1);
  for (int i = 0; i < 5; ++i) trainer.step(x);
  for (auto _ : state) benchmark::DoNotOptimize(trainer.step(x).loss);
}

void sampling(benchmark::State& state) {
  const auto net = mlp_256x4();
  const auto noise = normal_noise({static_cast<std::size_t>(state.range(0)), 2}, 1);
  for (auto _ : state) benchmark::DoNotOptimize(sample(net, noise).data());
}

template <class Objective>
void add(const std::string& name, Objective objective, double jump_fraction) {
  benchmark::RegisterBenchmark(
      ("training_step/mlp_256x4/" + name).c_str(),
      [=](benchmark::State& state) { training_step(state, objective, jump_fraction); })
      ->Arg(1024)
      ->Arg(4096)
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
}

}  // namespace

int main(int argc, char** argv) {
  add("flow_matching", FlowMatching{}, 0);
  add("meanflow_25", MeanFlow{}, 0.25);
  add("meanflow_75", MeanFlow{}, 0.75);
  add("meanflow_100", MeanFlow{}, 1);
  add("improved_meanflow_75", ImprovedMeanFlow{}, 0.75);
  benchmark::RegisterBenchmark("sampling/mlp_256x4", sampling)
      ->Arg(1024)
      ->Arg(4096)
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
