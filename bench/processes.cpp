// SPDX-License-Identifier: MIT
// Training steps of several processes: mpirun -n 2 bench_processes NET BATCH STEPS
// [float32|bfloat16] [BUCKET] [whole|parts], where NET is mlp, meanflownet or wide, an MLP of 17
// million parameters, BATCH the rows of all, BUCKET the numbers of the gradient that are sent at a
// time, and the last how the processes have the optimizer's state. The root prints medians over the
// steps: of a step, and of the time that it waits for sums after its backward pass; and the most
// memory that it has had.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <sys/resource.h>

#include <meanflow/mpi.hpp>

using namespace meanflow;

namespace {

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

/// MB, the most that this process has had.
double peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

template <class N, class O>
void time_steps(const char* name, N net, O objective, double jump_fraction, const Shape& row,
                std::size_t classes, std::size_t batch, std::size_t steps,
                const MpiSettings& settings, std::size_t bucket, bool shards) {
  const MpiCommunicator world(MPI_COMM_WORLD, settings);
  using Parts = Recipe<O, AdaptiveWeighting, LinearPath, LogitNormalTimes, Adam, MpiCommunicator>;
  MeanFlowTrainer<N, Parts> trainer(std::move(net),
                                    {.batch = batch,
                                     .learning_rate = {.peak = 1e-5},
                                     .bucket = bucket,
                                     .shard_optimizer = shards},
                                    Parts{.objective = objective,
                                          .times = {.jump_fraction = jump_fraction},
                                          .communicator = world});
  const std::size_t own = batch / world.size();
  const Tensor<float> rows = normal_noise(row.batch_of(own), world.rank() + 1);
  ConditionOf<N> condition;
  if constexpr (requires { condition.labels; })
    if (classes > 0) {
      condition.labels = Tensor<std::int32_t>({own});
      for (std::size_t i = 0; i < own; ++i)
        condition.labels[i] = static_cast<std::int32_t>(i % classes);
    }
  std::vector<double> taken, waited;
  for (std::size_t step = 0; step < steps + 3; ++step) {
    const auto begin = std::chrono::steady_clock::now();
    static_cast<void>(trainer.step(rows, condition));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (step < 3) continue;  // until memory is there
    taken.push_back(1e3 * took.count());
    waited.push_back(1e3 * trainer.communication().waited);
  }
  if (!is_root(world)) return;
  std::printf(
      "%s/%zu, %zu processes of %d threads: %.2f ms, of which %.2f waiting for sums; %zu of "
      "%zu buckets early; up to %.0f MB\n",
      name, batch, world.size(), omp_get_max_threads(), median(taken), median(waited),
      trainer.communication().early, trainer.communication().buckets, peak_memory());
  const CommunicationReport& last = trainer.communication();
  if (last.buckets == 0) return;
  std::printf("  the last step, ms after its first tile began: backward pass done %.2f\n",
              1e3 * last.backward);
  for (const SumReport& sum : last.sums)
    std::printf("  sum of %zu numbers: sent %.2f, arrived %.2f\n", sum.numbers, 1e3 * sum.sent,
                1e3 * sum.arrived);
}

void run(int argc, char** argv) {
  if (argc < 4) throw SettingError("NET BATCH STEPS [float32|bfloat16] [BUCKET] [whole|parts]");
  const std::string net = argv[1];
  const auto number = [&](int i) { return static_cast<std::size_t>(std::atoll(argv[i])); };
  if (number(2) == 0 || number(3) == 0) throw SettingError("BATCH and STEPS must be at least 1");
  MpiSettings settings;
  if (argc > 4 && std::string(argv[4]) == "bfloat16") settings.wire = Precision::bfloat16;
  const std::size_t bucket = argc > 5 ? number(5) : TrainerSettings{}.bucket;
  const bool shards = argc > 6 && std::string(argv[6]) == "parts";
  const auto time = [&](const char* name, auto made, const Shape& row, std::size_t classes) {
    time_steps((name + std::string("/flow_matching")).c_str(), made(), FlowMatching{}, 0, row,
               classes, number(2), number(3), settings, bucket, shards);
    time_steps((name + std::string("/meanflow_75")).c_str(), made(), MeanFlow{}, 0.75, row, classes,
               number(2), number(3), settings, bucket, shards);
  };
  if (net == "mlp")
    time(
        "mlp_256x4", [] { return Mlp<>({.hidden = 256, .layers = 4}); }, {2}, 0);
  else if (net == "wide")
    time(
        "mlp_2048x5", [] { return Mlp<>({.hidden = 2048, .layers = 5}); }, {2}, 0);
  else if (net == "meanflownet")
    time(
        "meanflownet", [] { return MeanFlowNet<>(); }, {32, 32, 3}, 10);
  else
    throw SettingError("there is no net \"" + net + "\"");
}

}  // namespace

int main(int argc, char** argv) try {
  const MpiSession session(&argc, &argv);
  use_threads_of_process();
  run(argc, argv);
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_processes: %s\n", error.what());
  return 1;
}
