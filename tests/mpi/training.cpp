// SPDX-License-Identifier: MIT
// A training run that others disturb: mpi_training FOLDER STEPS TIMEOUT whole|parts, the last of
// which is how the processes have the optimizer's state. Each process writes its number to
// FOLDER/RANK.pid once it trains; the root prints the sum of the parameters' squares at the end.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include <unistd.h>

#include <meanflow/mpi.hpp>

using namespace meanflow;

namespace {

/// Tells others that this process trains, and gives them the time to disturb it.
struct Disturbed {
  std::filesystem::path file;

  template <class Trainer>
  void on_begin(Trainer&) const {
    std::ofstream(file) << getpid() << '\n';
  }
  template <class Trainer>
  void on_step(Trainer&, const StepReport&) const {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
  }
};

void train(const std::filesystem::path& folder, std::uint64_t steps, double timeout, bool shards) {
  const MpiCommunicator world(MPI_COMM_WORLD, {.timeout = std::chrono::duration<double>(timeout)});
  using Parts =
      Recipe<MeanFlow, ConstantWeighting, LinearPath, LogitNormalTimes, Adam, MpiCommunicator>;
  MeanFlowTrainer<Mlp<>, Parts> trainer(Mlp<>({.hidden = 32, .layers = 2, .seed = 2}),
                                        {.steps = steps,
                                         .batch = 96,
                                         .learning_rate = {.decay = Decay::constant},
                                         .seed = 5,
                                         .shard_optimizer = shards},
                                        Parts{.communicator = world});
  Checkpoints checkpoints({.folder = folder, .every = 20});
  checkpoints.resume(trainer);
  trainer.fit(Toy2dSource{Toy2d::rings}, checkpoints, StopOnSignal{},
              Disturbed{folder / (std::to_string(world.rank()) + ".pid")});
  double sum = 0;
  for (const float value : trainer.net().parameters().values().span())
    sum += static_cast<double>(value) * static_cast<double>(value);
  if (is_root(world))
    std::printf("steps %llu, parameters %.9f\n",
                static_cast<unsigned long long>(trainer.steps_done()), sum);
}

}  // namespace

int main(int argc, char** argv) try {
  const MpiSession session(&argc, &argv);
  train(argv[1], std::strtoull(argv[2], nullptr, 10), std::strtod(argv[3], nullptr),
        std::string(argv[4]) == "parts");
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
