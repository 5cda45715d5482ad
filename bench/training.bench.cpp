// SPDX-License-Identifier: MIT
// Training steps and one-step sampling. Names: training_step/NET/OBJECTIVE/BATCH, where meanflow_75
// has r < t in 75 % of the rows; sampling/NET/BATCH. Times are of the wall clock. bench_training
// runs on the processor, bench_training_cuda on a GPU.
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <meanflow/meanflow.hpp>

namespace {

using namespace meanflow;

#ifdef __CUDACC__
using Device = Cuda;
constexpr bool on_gpu = true;
#else
using Device = Cpu;
constexpr bool on_gpu = false;
#endif

/// A net to time: how it is made, what it is called with, and the batches.
template <class Net>
struct Case {
  std::string name;
  std::function<Net()> make;
  Shape row;  // without the batch
  std::size_t classes = 0;
  std::vector<std::size_t> batches;

  [[nodiscard]] Tensor<float, Device> noise(std::size_t batch) const {
    Shape shape{batch};
    for (const std::size_t extent : row) shape.push_back(extent);
    return normal_noise<float, Device>(shape, 1);
  }
  [[nodiscard]] Condition<float, Device> condition(std::size_t batch) const {
    if (classes == 0) return {};
    Tensor<std::int32_t> labels({batch});
    for (std::size_t i = 0; i < batch; ++i) labels[i] = static_cast<std::int32_t>(i % classes);
    return {to_device<Device>(labels), {}, {}};
  }
};

template <class Net, class Objective>
void training_step(benchmark::State& state, const Case<Net>& net, Objective objective,
                   double jump_fraction, Precision precision) {
  const auto batch = static_cast<std::size_t>(state.range(0));
  MeanFlowTrainer trainer(net.make(),
                          {.batch = batch, .learning_rate = {.peak = 1e-5}, .precision = precision},
                          LinearPath{}, LogitNormalTimes{.jump_fraction = jump_fraction},
                          AdaptiveWeighting{}, objective);
  const auto x = net.noise(batch);
  const auto condition = net.condition(batch);
  // Until memory is there, plans are made and, on a GPU, the step has been recorded.
  for (int i = 0; i < 5; ++i) trainer.step(x, condition);
  for (auto _ : state) benchmark::DoNotOptimize(trainer.step(x, condition).loss);
}

template <class Net>
void sampling(benchmark::State& state, const Case<Net>& described) {
  const auto net = described.make();
  const auto batch = static_cast<std::size_t>(state.range(0));
  const auto noise = described.noise(batch);
  const auto condition = described.condition(batch);
  for (auto _ : state) {
    const auto samples = sample(net, noise, 1, condition);
    benchmark::DoNotOptimize(samples.data());
    wait(Device{});
  }
}

template <class Net, class F>
void add_one(const std::string& name, const Case<Net>& net, F f) {
  const auto reporting = [=](benchmark::State& state) {
    try {
      f(state, net);
    } catch (const std::exception& error) {  // of one step, such as too little memory
      state.SkipWithError(error.what());
    }
  };
  auto* bench = benchmark::RegisterBenchmark(name.c_str(), reporting)
                    ->UseRealTime()
                    ->Unit(benchmark::kMillisecond);
  for (const std::size_t batch : net.batches) bench->Arg(static_cast<std::int64_t>(batch));
}

template <class Net>
void add(const Case<Net>& net) {
  const auto step = [&](const std::string& name, auto objective, double jump_fraction,
                        Precision precision = Precision::float32) {
    add_one("training_step/" + net.name + "/" + name, net,
            [=](benchmark::State& state, const Case<Net>& described) {
              training_step(state, described, objective, jump_fraction, precision);
            });
  };
  step("flow_matching", FlowMatching{}, 0);
  step("meanflow_25", MeanFlow{}, 0.25);
  step("meanflow_75", MeanFlow{}, 0.75);
  step("meanflow_75_bfloat16", MeanFlow{}, 0.75, Precision::bfloat16);
  if (on_gpu) {
    step("flow_matching_tf32", FlowMatching{}, 0, Precision::tf32);
    step("meanflow_75_tf32", MeanFlow{}, 0.75, Precision::tf32);
  }
  step("meanflow_100", MeanFlow{}, 1);
  step("improved_meanflow_75", ImprovedMeanFlow{}, 0.75);
  add_one("sampling/" + net.name, net, sampling<Net>);
}

}  // namespace

int main(int argc, char** argv) {
  using LargeMlp = Mlp<float, Device>;
  add<LargeMlp>({.name = "mlp_256x4",
                 .make = [] { return LargeMlp({.hidden = 256, .layers = 4}); },
                 .row = {2},
                 .batches = {1024, 4096}});
  add<MeanFlowNet<float, Device>>(
      {.name = "meanflownet",
       .make = [] { return MeanFlowNet<float, Device>(); },
       .row = {32, 32, 3},
       .classes = 10,
       .batches = on_gpu ? std::vector<std::size_t>{32, 256} : std::vector<std::size_t>{32}});
  add<SongUNet<float, Device>>(
      {.name = "songunet",
       .make = [] { return SongUNet<float, Device>(); },
       .row = {32, 32, 3},
       .batches = on_gpu ? std::vector<std::size_t>{128, 256} : std::vector<std::size_t>{4}});
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
