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

static_assert(OverlappingCommunicator<MpiCommunicator, float>);

static_assert(ShardingCommunicator<MpiCommunicator, float>);

template <class C>
std::vector<double> losses(const C& communicator, bool deterministic = false, bool shards = false) {
  using Parts = Recipe<MeanFlow, ConstantWeighting, LinearPath, LogitNormalTimes, Adam, C>;
  MeanFlowTrainer<Mlp<>, Parts> trainer(Mlp<>({.hidden = 32, .layers = 2, .seed = 2}),
                                        {.steps = 100,
                                         .batch = 96,
                                         .seed = 5,
                                         .tile_rows = 8,
                                         .bucket = 500,
                                         .shard_optimizer = shards,
                                         .deterministic = deterministic},
                                        Parts{.communicator = communicator});
  std::vector<double> all;
  trainer.fit(Toy2dSource{Toy2d::rings},
              [&](const StepReport& report) { all.push_back(report.loss); });
  return all;
}

/// The largest relative difference.
double difference(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = a.size() == b.size() ? 0 : 1;
  for (std::size_t step = 0; step < std::min(a.size(), b.size()); ++step)
    largest = std::max(largest, std::abs(a[step] / b[step] - 1));
  return largest;
}

}  // namespace

int main(int argc, char** argv) try {
  const MpiSession session(&argc, &argv);
  use_threads_of_process();
  const MpiCommunicator world;
  const std::vector<double> alone = losses(SingleProcess{});
  const double largest = difference(losses(world), alone);
  const double in_any = difference(losses(AnyCommunicator(world)), alone);
  const double in_halves =
      difference(losses(MpiCommunicator(MPI_COMM_WORLD, {.wire = Precision::bfloat16})), alone);
  const double in_parts = difference(losses(world, false, true), alone);
  const double in_half_parts = difference(
      losses(MpiCommunicator(MPI_COMM_WORLD, {.wire = Precision::bfloat16}), false, true), alone);
  const std::vector<double> exact = losses(SingleProcess{}, true);
  const bool same_bits = losses(world, true) == exact && losses(world, true, true) == exact;
  // What a broadcast brings is the root's.
  std::uint64_t number = world.rank() + 17;
  world.broadcast({reinterpret_cast<char*>(&number), sizeof number}, 0);
  const bool good = largest < 1e-5 && in_any < 1e-5 && in_halves < 1e-2 && in_parts < 1e-5 &&
                    in_half_parts < 1e-2 && same_bits && (world.size() == 1 || in_halves > 0) &&
                    number == 17;
  std::printf(
      "process %zu of %zu: losses differ by %.1e, chosen at run time %.1e, in bfloat16 %.1e, with "
      "the state in parts %.1e, both %.1e, deterministic %s, broadcast %llu: %s\n",
      world.rank(), world.size(), largest, in_any, in_halves, in_parts, in_half_parts,
      same_bits ? "same bits" : "other bits", static_cast<unsigned long long>(number),
      good ? "good" : "wrong");
  return good ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
