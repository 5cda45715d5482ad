// SPDX-License-Identifier: MIT
// Training steps and one-step sampling. Names: training_step/NET/OBJECTIVE/BATCH, where meanflow_75
// has r < t in 75 % of the rows; sampling/NET/BATCH; with _tf32 or _bfloat16 in that precision.
// Times are of the wall clock. bench_training runs on the processor, bench_training_cuda on a GPU,
// and takes two more options, which come first:
//   --small            small nets and batches, to see that all of it runs
//   --profile FILE     writes where the time of one step, not a recorded one, goes, as CSV
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>

#include <meanflow/meanflow.hpp>

#ifdef MEANFLOW_BENCH_CUDA
#include "profile_cuda.hpp"
#endif

namespace {

using namespace meanflow;

#ifdef MEANFLOW_BENCH_CUDA
using Device = Cuda;
constexpr bool on_cuda = true, on_gpu = kernels::cuda::on_gpu;
#else
using Device = Cpu;
constexpr bool on_cuda = false, on_gpu = false;
#endif

struct Options {
  bool small = false;
  std::string profile;
};
Options options;

/// Layers that begin at zero do the same work as others, but denormal and zero tangents do not.
template <class Net>
Net nonzero(Net net) {
  Tensor<float> values = to_host(net.parameters().values()).clone();
  const auto noise = normal_noise<float>({values.size()}, 3);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += 0.02f * noise[i];
  net.parameters().assign(to_device<Device>(values));
  return net;
}

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
  [[nodiscard]] ConditionOf<Net> condition(std::size_t batch) const {
    if (classes == 0) return {};
    Tensor<std::int32_t> labels({batch});
    for (std::size_t i = 0; i < batch; ++i) labels[i] = static_cast<std::int32_t>(i % classes);
    ConditionOf<Net> condition;
    if constexpr (requires { condition.labels; }) condition.labels = to_device<Device>(labels);
    return condition;
  }
};

#ifdef MEANFLOW_BENCH_CUDA
/// A figure that was made with a slow fallback says so.
void show_warnings(benchmark::State& state) {
  std::string label;
  for (const std::string& warning : kernels::warnings_so_far())
    label += (label.empty() ? "warning: " : "; ") + warning;
  if (!label.empty()) state.SetLabel(label);
}

/// Writes where the time of one step goes, if that is asked for.
template <class Step>
void profile(Step step) {
  if (!options.profile.empty()) bench::write_profile(options.profile, bench::profile_of(step));
}
#endif

template <class Net, class Objective>
void training_step(benchmark::State& state, const Case<Net>& net, Objective objective,
                   double jump_fraction, Precision precision) {
  const auto batch = static_cast<std::size_t>(state.range(0));
  MeanFlowTrainer trainer(net.make(),
                          {.batch = batch,
                           .learning_rate = {.peak = 1e-5},
                           .replay = options.profile.empty(),
                           .precision = precision},
                          Recipe<Objective, AdaptiveWeighting>{
                              .objective = objective, .times = {.jump_fraction = jump_fraction}});
  const auto x = net.noise(batch);
  const auto condition = net.condition(batch);
  const auto step = [&] { benchmark::DoNotOptimize(trainer.step(x, condition).loss); };
  // Until memory is there, plans are made and, on a GPU, the step has been recorded.
  for (int i = 0; i < 5; ++i) step();
#ifdef MEANFLOW_BENCH_CUDA
  profile(step);
  if (on_gpu && options.profile.empty() && trainer.recording().recordings == 0)
    return state.SkipWithError(
        ("the step is not recorded: " + trainer.recording().why_not).c_str());
#endif
  for (auto _ : state) step();
#ifdef MEANFLOW_BENCH_CUDA
  state.counters["nodes"] = static_cast<double>(trainer.recording().nodes);
  show_warnings(state);
  state.counters["bytes"] = static_cast<double>(kernels::cuda::memory_use().peak);
#endif
}

template <class Net>
void sampling(benchmark::State& state, const Case<Net>& described, Precision precision) {
  const AutocastScope scope(precision, Device{});
  const auto net = described.make();
  const auto batch = static_cast<std::size_t>(state.range(0));
  const auto noise = described.noise(batch);
  const auto condition = described.condition(batch);
  const auto step = [&] {
    const auto samples = sample(net, noise, 1, condition);
    benchmark::DoNotOptimize(samples.data());
    wait(Device{});
  };
  if (on_cuda) step();
#ifdef MEANFLOW_BENCH_CUDA
  profile(step);
#endif
  for (auto _ : state) step();
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
  if (on_gpu || !on_cuda) step("meanflow_75_bfloat16", MeanFlow{}, 0.75, Precision::bfloat16);
  if (on_gpu) {
    step("flow_matching_tf32", FlowMatching{}, 0, Precision::tf32);
    step("flow_matching_bfloat16", FlowMatching{}, 0, Precision::bfloat16);
    step("meanflow_75_tf32", MeanFlow{}, 0.75, Precision::tf32);
  }
  step("meanflow_100", MeanFlow{}, 1);
  step("improved_meanflow_75", ImprovedMeanFlow{}, 0.75);
  const auto samples = [&](const std::string& ending, Precision precision) {
    add_one("sampling/" + net.name + ending, net,
            [=](benchmark::State& state, const Case<Net>& described) {
              sampling(state, described, precision);
            });
  };
  samples("", Precision::float32);
  if (on_gpu) {
    samples("_tf32", Precision::tf32);
    samples("_bfloat16", Precision::bfloat16);
  }
}

/// Takes the options of this program out of the arguments.
void read_options(int& argc, char**& argv) {
  const auto take = [&](int count) {
    argv[count] = argv[0];
    argc -= count;
    argv += count;
  };
  while (on_cuda && argc > 1) {
    const std::string_view option = argv[1];
    if (option == "--small") {
      options.small = true;
      take(1);
    } else if (option == "--profile" && argc > 2) {
      options.profile = argv[2];
      take(2);
    } else {
      return;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  read_options(argc, argv);
  using Sizes = std::vector<std::size_t>;
  const auto batches = [](const Sizes& cpu, const Sizes& gpu) {
    return options.small ? Sizes{8} : on_cuda ? gpu : cpu;
  };
  using LargeMlp = Mlp<float, Device>;
  add<LargeMlp>({.name = "mlp_256x4",
                 .make = [] { return LargeMlp({.hidden = 256, .layers = 4}); },
                 .row = {2},
                 .batches = batches({1024, 4096}, {1024, 4096})});
  add<MeanFlowNet<float, Device>>(
      {.name = "meanflownet",
       .make =
           [] {
             if (!options.small) return MeanFlowNet<float, Device>();
             return MeanFlowNet<float, Device>({.base = 8, .multipliers = {1, 2}, .blocks = 1});
           },
       .row = {32, 32, 3},
       .classes = 10,
       .batches = batches({32}, {32, 256})});
  add<SongUNet<float, Device>>({.name = "songunet",
                                .make =
                                    [] {
                                      if (!options.small) return SongUNet<float, Device>();
                                      return SongUNet<float, Device>({.model_channels = 8,
                                                                      .channel_mult = {1, 2},
                                                                      .blocks = 1});
                                    },
                                .row = {32, 32, 3},
                                .batches = batches({4}, {128, 256})});
  add<DiT<float, Device>>(
      {.name = "dit_b4",
       .make =
           [] {
             if (!options.small) return nonzero(DiT<float, Device>());
             return nonzero(DiT<float, Device>({.hidden_size = 32, .depth = 1, .heads = 2}));
           },
       .row = {32, 32, 4},
       .classes = 1000,
       .batches = batches({8}, {128, 256})});
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
