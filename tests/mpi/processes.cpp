// SPDX-License-Identifier: MIT
// Trains with the processes that it is run in, and compares with what one process trains.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <vector>

#include <meanflow/mpi.hpp>

using namespace meanflow;

namespace {

template <class C>
std::vector<double> losses(const C& communicator) {
  using Parts = Recipe<MeanFlow, ConstantWeighting, LinearPath, LogitNormalTimes, Adam, C>;
  MeanFlowTrainer<Mlp<>, Parts> trainer(Mlp<>({.hidden = 32, .layers = 2, .seed = 2}),
                                        {.steps = 100, .batch = 96, .seed = 5},
                                        Parts{.communicator = communicator});
  std::vector<double> all;
  trainer.fit(Toy2dSource{Toy2d::rings},
              [&](const StepReport& report) { all.push_back(report.loss); });
  return all;
}

}  // namespace

int main(int argc, char** argv) try {
  const MpiSession session(&argc, &argv);
  use_threads_of_process();
  const MpiCommunicator world;
  const std::vector<double> together = losses(world), alone = losses(SingleProcess{});
  double largest = 0;
  for (std::size_t step = 0; step < alone.size(); ++step)
    largest = std::max(largest, std::abs(together[step] / alone[step] - 1));
  // What a broadcast brings is the root's.
  std::uint64_t number = world.rank() + 17;
  world.broadcast({reinterpret_cast<char*>(&number), sizeof number}, 0);
  const bool good = together.size() == 100 && largest < 1e-5 && number == 17;
  std::printf("process %zu of %zu: losses differ by %.1e, broadcast %llu: %s\n", world.rank(),
              world.size(), largest, static_cast<unsigned long long>(number),
              good ? "good" : "wrong");
  return good ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
