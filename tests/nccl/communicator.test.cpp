// SPDX-License-Identifier: MIT
// With threads in place of GPUs, and Thrust on the host.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <io/temporary_folder.hpp>
#include <train/thread_process.hpp>

#include <meanflow/nccl.hpp>

using namespace meanflow;
using meanflow_test::TemporaryFolder;
using test::as_processes;
using test::ThreadProcess;

static_assert(Communicator<NcclCommunicator, float, Cuda>);
static_assert(RecordableCommunicator<NcclCommunicator>);
static_assert(!RecordableCommunicator<SingleProcess>);

namespace {

void check_calls(const NcclCommunicator& communicator) {
  const auto rank = static_cast<float>(communicator.rank());
  Tensor<float, Cuda> values = to_device<Cuda>(Tensor<float>::full({5}, rank + 1));
  communicator.all_reduce(values);
  CHECK(to_host(values)[4] == 6);  // 1 + 2 + 3
  std::vector<double> numbers{1, 10.0 * rank};
  communicator.all_reduce(std::span(numbers));
  CHECK(numbers == std::vector<double>{3, 30});
  std::string text = communicator.rank() == 2 ? "the last" : "not this";
  communicator.broadcast(text, 2);
  CHECK(text == "the last");
  Tensor<float, Cuda> parts = to_device<Cuda>(Tensor<float>::full({48}, rank));
  const std::vector<std::size_t> bounds{0, 16, 16, 48};  // the second has nothing
  communicator.all_gather(parts, bounds);
  const Tensor<float> whole = to_host(parts);
  CHECK(whole[15] == 0);
  CHECK(whole[16] == 2);
}

/// The root's losses and, at last, the sum of the parameters' squares.
std::vector<double> course(std::size_t processes, bool shards) {
  std::vector<double> seen;
  const auto thrown = as_processes(processes, [&](ThreadProcess process) {
    using Parts =
        Recipe<MeanFlow, ConstantWeighting, LinearPath, LogitNormalTimes, Adam, NcclCommunicator>;
    MeanFlowTrainer<Mlp<float, Cuda>, Parts> trainer(
        Mlp<float, Cuda>({.hidden = 16, .layers = 2, .seed = 2}),
        {.steps = 8,
         .batch = 48,
         .learning_rate = {.peak = 1e-3, .decay = Decay::constant},
         .clip_norm = 0.5,
         .seed = 5,
         .shard_optimizer = shards},
        Parts{.communicator = NcclCommunicator(process)});
    std::vector<double> losses;
    trainer.fit(Toy2dSource{Toy2d::rings},
                [&](const StepReport& report) { losses.push_back(report.loss); });
    const auto state = trainer.whole_state();
    double square = 0;
    for (const float value : state.parameters.span())
      square += static_cast<double>(value) * static_cast<double>(value);
    losses.push_back(square);
    if (process.rank() == 0) seen = losses;
  });
  for (const std::string& message : thrown) CHECK(message == "");
  return seen;
}

}  // namespace

TEST_CASE("NCCL: sums, broadcasts and parts, started by way of another communicator") {
  for (const std::string& message :
       as_processes(3, [](ThreadProcess process) { check_calls(NcclCommunicator(process)); }))
    CHECK(message == "");
}

TEST_CASE("NCCL: started by way of a file, which is gone afterwards") {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "id";
  const auto start = [&](ThreadProcess process) {
    check_calls(NcclCommunicator(file, process.rank(), process.size()));
  };
  for (const std::string& message : as_processes(3, start)) CHECK(message == "");
  CHECK_FALSE(std::filesystem::exists(file));
  std::ofstream(file) << "of another run";
  CHECK_THROWS_AS(NcclCommunicator(file, 0, 2), FileError);
  CHECK(std::filesystem::exists(file));
}

TEST_CASE("NCCL: several processes train what one trains, each with all of the state or its part") {
  const std::vector<double> one = course(1, false);
  CHECK(one.size() == 9);
  for (const std::size_t processes : {2, 4})
    for (const bool shards : {false, true}) {
      const std::vector<double> several = course(processes, shards);
      REQUIRE(several.size() == one.size());
      for (std::size_t i = 0; i < one.size(); ++i)
        CHECK(several[i] == doctest::Approx(one[i]).epsilon(1e-5));
    }
}
