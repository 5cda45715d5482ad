// SPDX-License-Identifier: MIT
// A training run of many processes: mpirun -n 4 own_processes [CHECKPOINTS]
#include <cstdio>
#include <exception>
#include <filesystem>

#include <meanflow/mpi.hpp>

using namespace meanflow;

namespace {

// [docs:processes]
void train(const std::filesystem::path& folder) {
  const MpiCommunicator world;
  Recipe recipe{.communicator = world};
  MeanFlowTrainer trainer(Mlp<float>({.hidden = 128, .layers = 3}),
                          {.steps = 2000, .batch = 1024, .learning_rate = {.peak = 5e-3}}, recipe);
  Checkpoints checkpoints({.folder = folder});  // written by the root alone
  checkpoints.resume(trainer);                  // read by the root, sent to the others
  trainer.fit(Toy2dSource{Toy2d::two_moons}, checkpoints, StopOnSignal{}, ProgressBar("training"));
  if (is_root(world)) save_model("two_moons.safetensors", trainer);
}
// [docs:end]

}  // namespace

// [docs:main]
int main(int argc, char** argv) try {
  const MpiSession session(&argc, &argv);
  use_threads_of_process();
  train(argc > 1 ? argv[1] : "checkpoints");
} catch (const std::exception& error) {
  std::fprintf(stderr, "own_processes: %s\n", error.what());
  return 1;
}
// [docs:end]
