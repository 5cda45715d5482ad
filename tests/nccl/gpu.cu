// SPDX-License-Identifier: MIT
// Processes on GPUs: gpu_nccl FILE RANK SIZE, each on the GPU of its rank. The root prints the
// losses of a training run, which are the same to 1e-5 for any SIZE that divides 48.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <span>
#include <vector>

#include <meanflow/nccl.hpp>

using namespace meanflow;

namespace {

void check(bool good, const char* what) {
  if (!good) throw Error(std::string("gpu_nccl: wrong: ") + what);
}

void check_calls(const NcclCommunicator& world) {
  const auto size = static_cast<float>(world.size());
  Tensor<float, Cuda> values = Tensor<float, Cuda>::full({1000}, 1);
  world.all_reduce(values);
  check(to_host(values)[999] == size, "a sum");
  std::vector<double> numbers{1, 2};
  world.all_reduce(std::span(numbers));
  check(numbers[1] == 2.0 * size, "a sum of the host's");
  // Recorded, and replayed three times.
  Tensor<float, Cuda> doubled = Tensor<float, Cuda>::full({1000}, 1);
  kernels::cuda::GraphRecorder recorder;
  auto attempt = recorder.record([&] {
    accumulate(Cuda{}, doubled.size(), doubled.data(), doubled.data());
    world.all_reduce(doubled);
  });
  check(attempt.recording.has_value(), attempt.why_not.c_str());
  for (int i = 0; i < 3; ++i) attempt.recording->replay();
  check(to_host(doubled)[0] == 8 * size * size * size, "a sum that is replayed");
}

void train(const NcclCommunicator& world, bool shards) {
  using Parts =
      Recipe<MeanFlow, ConstantWeighting, LinearPath, LogitNormalTimes, Adam, NcclCommunicator>;
  MeanFlowTrainer<Mlp<float, Cuda>, Parts> trainer(
      Mlp<float, Cuda>({.hidden = 64, .layers = 3, .seed = 2}),
      {.steps = 20,
       .batch = 48,
       .learning_rate = {.peak = 1e-3, .decay = Decay::constant},
       .seed = 5,
       .shard_optimizer = shards},
      Parts{.communicator = world});
  trainer.fit(Toy2dSource{Toy2d::rings}, [&](const StepReport& report) {
    if (is_root(world)) std::printf("%.6f ", report.loss);
  });
  check(trainer.recording().replays > 0, trainer.recording().why_not.c_str());
  if (is_root(world)) std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) throw SettingError("FILE RANK SIZE");
  const int rank = std::atoi(argv[2]);
  use_cuda_device(rank);
  const NcclCommunicator world(argv[1], static_cast<std::size_t>(rank),
                               static_cast<std::size_t>(std::atoi(argv[3])));
  check_calls(world);
  train(world, false);
  train(world, true);
  if (is_root(world)) std::printf("gpu_nccl: %zu processes: good\n", world.size());
} catch (const std::exception& error) {
  std::fprintf(stderr, "gpu_nccl: %s\n", error.what());
  return 1;
}
