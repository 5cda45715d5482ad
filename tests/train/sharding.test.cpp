// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <io/temporary_folder.hpp>
#include <train/difference.hpp>
#include <train/failing.hpp>
#include <train/thread_process.hpp>

#include <meanflow/data/source.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/optim/muon.hpp>
#include <meanflow/train/any_communicator.hpp>
#include <meanflow/train/checkpoint.hpp>
#include <meanflow/train/parts.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;
using meanflow_test::TemporaryFolder;
using test::as_processes;
using test::FailsOnTheWayBack;
using test::OverlappingProcess;
using test::ThreadProcess;

namespace {

using test::relative_difference;

/// One that sends sums to one process alone, and leaves the others with NaN.
struct ShardingProcess : OverlappingProcess {
  explicit ShardingProcess(ThreadProcess process = {}) : OverlappingProcess(process) {}

  template <class T>
  struct Pending {
    OverlappingProcess::Pending<T> sum;
    bool mine;

    [[nodiscard]] bool done() const { return sum.done(); }
    void wait() {
      if (sum.done()) return;
      sum.wait();
      if (!mine)
        std::fill(sum.numbers.begin(), sum.numbers.end(), std::numeric_limits<T>::quiet_NaN());
    }
  };

  template <class T>
  [[nodiscard]] Pending<T> begin_all_reduce(std::span<T> numbers) const {
    return {OverlappingProcess::begin_all_reduce(numbers), true};
  }
  template <class T>
  [[nodiscard]] Pending<T> begin_reduce(std::span<T> numbers, std::size_t rank) const {
    return {OverlappingProcess::begin_all_reduce(numbers), rank == this->rank()};
  }
  template <class T>
  void all_gather(std::span<T> values, std::span<const std::size_t> bounds) const {
    detail::broadcast_parts(*this, values, bounds);
  }
};
static_assert(ShardingCommunicator<ShardingProcess, float>);
static_assert(!ShardingCommunicator<OverlappingProcess, float>);

struct Choice {
  bool shards = true;
  std::size_t bucket = 200;
  double clip_norm = 0;
  bool deterministic = false;
};

template <class C>
auto make_trainer(const C& communicator, std::uint64_t steps, const Choice& choice) {
  using Parts = Recipe<MeanFlow, ConstantWeighting, LinearPath, LogitNormalTimes, Adam, C>;
  return MeanFlowTrainer<Mlp<>, Parts>(Mlp<>({.hidden = 16, .layers = 2, .seed = 2}),
                                       {.steps = steps,
                                        .batch = 48,
                                        .learning_rate = {.peak = 1e-3, .decay = Decay::constant},
                                        .averages = {ConstantEma{.decay = 0.9}},
                                        .clip_norm = choice.clip_norm,
                                        .seed = 5,
                                        .tile_rows = 4,
                                        .bucket = choice.bucket,
                                        .shard_optimizer = choice.shards,
                                        .deterministic = choice.deterministic},
                                       Parts{.communicator = communicator});
}

using State = TrainingState<float>;

State copy_of(const State& state) {
  State copy{state.step, state.parameters.clone(), {}, {}};
  for (const auto& values : state.optimizer) copy.optimizer.push_back(values.clone());
  for (const auto& values : state.averages) copy.averages.push_back(values.clone());
  return copy;
}

/// The root's state after some steps of as many processes.
template <class C>
State trained(std::size_t processes, const Choice& choice) {
  State state;
  const auto thrown = as_processes(processes, [&](ThreadProcess process) {
    auto trainer = make_trainer(C(process), 12, choice);
    trainer.fit(Toy2dSource{Toy2d::rings});
    const State whole = trainer.whole_state();
    CHECK(trainer.is_sharded() == (choice.shards && processes > 1));
    CHECK((whole.optimizer[1].empty()) == (trainer.is_sharded() && process.rank() > 0));
    if (process.rank() == 0) state = copy_of(whole);
  });
  for (const std::string& message : thrown) CHECK(message == "");
  return state;
}

double relative_difference(const State& a, const State& b) {
  double worst = std::max(relative_difference(a.parameters, b.parameters),
                          relative_difference(a.averages.at(0), b.averages.at(0)));
  for (std::size_t k = 0; k < 2; ++k)
    worst = std::max(worst, relative_difference(a.optimizer.at(k), b.optimizer.at(k)));
  return a.step == b.step ? worst : 1;
}

/// The parameters after `steps` of as many processes, from what a folder holds.
Tensor<float> train_on(const std::filesystem::path& folder, std::size_t processes,
                       std::uint64_t steps, bool shards) {
  Tensor<float> parameters;
  const auto thrown = as_processes(processes, [&](ThreadProcess process) {
    auto trainer = make_trainer(ShardingProcess(process), steps, {.shards = shards});
    Checkpoints checkpoints({.folder = process.rank() == 0 ? folder : folder / "elsewhere"});
    checkpoints.resume(trainer);
    trainer.fit(Toy2dSource{Toy2d::rings}, checkpoints);
    if (process.rank() == 0) parameters = trainer.net().parameters().values().clone();
  });
  for (const std::string& message : thrown) CHECK(message == "");
  return parameters;
}

/// Data that process 1 of 3 lacks in its second step.
struct Ends {
  Toy2dSource source{Toy2d::rings};

  [[nodiscard]] Shape row_shape() const { return source.row_shape(); }
  void fill(Tensor<float>& x, std::uint64_t seed, std::uint64_t number) {
    if (number == 4) throw std::runtime_error("no data");
    source.fill(x, seed, number);
  }
};

/// Fails in one process at a step, before its checkpoint is written.
struct Fails {
  std::size_t rank, failing;

  void on_step(auto&, const StepReport& report) const {
    if (rank == failing && report.step == 3) throw std::runtime_error("not here");
  }
};

/// Ends the root by the kind of error after which nothing is saved.
struct EndsOtherwise {
  std::size_t rank;

  void on_step(auto&, const StepReport& report) const {
    if (rank == 0 && report.step == 3) throw NonFiniteError("no number", 3, {});
  }
};

struct GathersAlone {
  static constexpr bool root_only = true;

  void on_step(auto& trainer, const StepReport&) const { static_cast<void>(trainer.whole_state()); }
};

struct SavesNowhere {
  void on_step(auto& trainer, const StepReport& report) const {
    if (report.step == 2) Checkpoints({.folder = "/dev/null/none"}).save(trainer);
  }
};

}  // namespace

TEST_CASE("processes that share the optimizer's state train what they train without") {
  for (const std::size_t processes : {2, 3, 4}) {
    CAPTURE(processes);
    const State expected = trained<ThreadProcess>(processes, {.shards = false});
    CHECK(relative_difference(trained<ThreadProcess>(processes, {}), expected) == 0);
    CHECK(relative_difference(trained<OverlappingProcess>(processes, {}), expected) == 0);
    CHECK(relative_difference(trained<ShardingProcess>(processes, {}), expected) == 0);
    CHECK(relative_difference(trained<ShardingProcess>(processes, {.bucket = 0}), expected) == 0);
  }
  CHECK(relative_difference(trained<ThreadProcess>(1, {}),
                            trained<ThreadProcess>(1, {.shards = false})) == 0);
}

TEST_CASE("a process may have no part") {
  CHECK(detail::shard_bounds(32, 4) == std::vector<std::size_t>{0, 0, 16, 16, 32});
  const auto parameters = [](std::size_t processes, bool shards) {
    Tensor<float> trained;
    const auto thrown = as_processes(processes, [&](ThreadProcess process) {
      using Parts =
          Recipe<MeanFlow, ConstantWeighting, LinearPath, LogitNormalTimes, Adam, ShardingProcess>;
      MeanFlowTrainer<Mlp<>, Parts> trainer(Mlp<>({.hidden = 1, .layers = 1}),
                                            {.steps = 5, .batch = 48, .shard_optimizer = shards},
                                            Parts{.communicator = ShardingProcess(process)});
      trainer.fit(Toy2dSource{Toy2d::rings});
      CHECK(trainer.net().parameters().flat_size() < 16 * processes);
      if (process.rank() == 0) trained = trainer.net().parameters().values().clone();
    });
    for (const std::string& message : thrown) CHECK(message == "");
    return trained;
  };
  CHECK(relative_difference(parameters(12, true), parameters(12, false)) == 0);
}

TEST_CASE("an update of a part gathers, even if the part is all") {
  const Mlp<> net({.hidden = 4, .layers = 1});
  const auto& parameters = net.parameters();
  const Tensor<float> gradient = Tensor<float>::full({parameters.flat_size()}, 1);
  const double squared_norm = 1;
  int gathered = 0;
  const auto apply = [&](std::optional<FlatRange> range) {
    ParameterUpdate<Adam, float, Cpu> update(parameters, Adam{}, {}, {}, range);
    update.prepare(1e-3, 0, 1);
    update.apply(parameters, {gradient.data(), &squared_norm, 0}, [&] { ++gathered; });
    CHECK(update.state()[0].size() == update.range().size());
  };
  apply({});
  CHECK(gathered == 0);
  apply(FlatRange{0, parameters.flat_size()});
  apply(FlatRange{16, 16});
  CHECK(gathered == 2);
  ParameterUpdate<Adam, float, Cpu> part(parameters, Adam{}, {}, {}, FlatRange{0, 16});
  CHECK_THROWS_AS(part.step(parameters, gradient, 1e-3), SettingError);
}

TEST_CASE("parameters of groups, and frozen ones, are updated in parts as without") {
  const auto parameters = [](bool shards) {
    Tensor<float> trained;
    const auto thrown = as_processes(3, [&](ThreadProcess process) {
      using Parts =
          Recipe<MeanFlow, ConstantWeighting, LinearPath, LogitNormalTimes, Adam, ShardingProcess>;
      const auto named = [](const char* part) {
        return [part](const ParameterEntry& entry) {
          return entry.name.find(part) != std::string::npos;
        };
      };
      MeanFlowTrainer<Mlp<>, Parts> trainer(
          Mlp<>({.hidden = 16, .layers = 2, .seed = 2}),
          {.steps = 6,
           .batch = 48,
           .groups = {{.contains = named("bias"), .rate_scale = 3},
                      {.contains = named("0"), .frozen = true}},
           .bucket = 100,
           .shard_optimizer = shards},
          Parts{.communicator = ShardingProcess(process)});
      trainer.fit(Toy2dSource{Toy2d::rings});
      if (process.rank() == 0) trained = trainer.net().parameters().values().clone();
    });
    for (const std::string& message : thrown) CHECK(message == "");
    return trained;
  };
  CHECK(relative_difference(parameters(true), parameters(false)) == 0);
}

TEST_CASE("the norm of a gradient in parts is that of the whole") {
  const State expected = trained<ThreadProcess>(3, {.shards = false, .clip_norm = 0.02});
  CHECK(relative_difference(expected, trained<ThreadProcess>(3, {.shards = false})) > 1e-3);
  CHECK(relative_difference(trained<ShardingProcess>(3, {.clip_norm = 0.02}), expected) < 1e-5);
  const Choice exact{.clip_norm = 0.02, .deterministic = true};
  const Choice alone{.shards = false, .clip_norm = 0.02, .deterministic = true};
  for (const std::size_t processes : {2, 3})
    CHECK(relative_difference(trained<ShardingProcess>(processes, exact),
                              trained<ThreadProcess>(1, alone)) == 0);
}

TEST_CASE("a communicator that is chosen at run time shares the state as the one that it holds") {
  State state;
  const auto thrown = as_processes(2, [&](ThreadProcess process) {
    auto trainer = make_trainer(AnyCommunicator(ShardingProcess(process)), 12, {});
    trainer.fit(Toy2dSource{Toy2d::rings});
    CHECK(trainer.communication().early > 0);
    const State whole = trainer.whole_state();
    if (process.rank() == 0) state = copy_of(whole);
  });
  for (const std::string& message : thrown) CHECK(message == "");
  CHECK(relative_difference(state, trained<ThreadProcess>(2, {.shards = false})) == 0);
}

TEST_CASE(
    "a checkpoint of a state in parts is whole, and any number of processes resumes from it") {
  const TemporaryFolder undisturbed, folder;
  const Tensor<float> expected = train_on(undisturbed.path(), 1, 30, false);
  train_on(folder.path(), 2, 8, true);
  train_on(folder.path(), 3, 16, true);
  train_on(folder.path(), 1, 20, false);
  CHECK(relative_difference(train_on(folder.path(), 4, 30, true), expected) < 1e-4);
  CHECK_FALSE(latest_checkpoint(folder.path() / "elsewhere"));
}

TEST_CASE("a failure ends all processes, whatever part of the state each has") {
  for (const std::size_t failing : {0, 2}) {
    const TemporaryFolder folder;
    const auto thrown = as_processes(3, [&](ThreadProcess process) {
      auto trainer = make_trainer(ShardingProcess(process), 9, {});
      trainer.fit(Toy2dSource{Toy2d::rings}, Fails{process.rank(), failing},
                  Checkpoints({.folder = folder.path(), .every = 2}));
    });
    for (std::size_t rank = 0; rank < 3; ++rank)
      CHECK(thrown[rank] ==
            (rank == failing ? "not here"
                             : "process " + std::to_string(failing) + " of 3 failed: not here"));
    CHECK(list_checkpoints(folder.path()).back().first == 4);  // the end is saved by all
  }
}

TEST_CASE("a process that fails in its step ends those that wait for its part") {
  const auto thrown = as_processes(3, [&](ThreadProcess process) {
    auto trainer = make_trainer(ShardingProcess(process), 9, {});
    trainer.fit(Ends{});
  });
  CHECK(thrown[1] == "no data");
  CHECK(thrown[0] == "process 1 of 3 failed: no data");
  CHECK(thrown[2] == thrown[0]);
}

TEST_CASE("a process that fails on its way back ends those that wait for their parts") {
  struct Kind {
    std::size_t bucket;
    bool deterministic;
  };
  for (const Kind kind : {Kind{60, false}, Kind{0, false}, Kind{60, true}}) {
    const auto thrown = as_processes(3, [&](ThreadProcess process) {
      using Parts = Recipe<FailsOnTheWayBack, ConstantWeighting, LinearPath, LogitNormalTimes, Adam,
                           ShardingProcess>;
      MeanFlowTrainer<Mlp<>, Parts> trainer(
          Mlp<>({.hidden = 16, .layers = 4, .seed = 2}),
          {.steps = 9,
           .batch = 48,
           .tile_rows = 4,
           .bucket = kind.bucket,
           .shard_optimizer = true,
           .deterministic = kind.deterministic},
          Parts{.objective = {.rank = process.rank()}, .communicator = ShardingProcess(process)});
      trainer.fit(Toy2dSource{Toy2d::rings});
    });
    CHECK(thrown[1] == "the way back is closed");
    CHECK(thrown[0] == "process 1 of 3 failed: the way back is closed");
    CHECK(thrown[2] == thrown[0]);
  }
}

TEST_CASE("a failure that one process does not end by is not saved by the others alone") {
  const TemporaryFolder folder;
  const auto thrown = as_processes(2, [&](ThreadProcess process) {
    auto trainer = make_trainer(ShardingProcess(process), 9, {});
    trainer.fit(Toy2dSource{Toy2d::rings}, Checkpoints({.folder = folder.path()}),
                EndsOtherwise{process.rank()});
  });
  CHECK(thrown[0] == "no number");
  CHECK(thrown[1] == "process 0 of 2 failed: no number");
  CHECK(list_checkpoints(folder.path()).empty());
}

TEST_CASE("a state in parts is whole in the root, and each process restores its part") {
  const auto thrown = as_processes(2, [&](ThreadProcess process) {
    auto trainer = make_trainer(ShardingProcess(process), 5, {});
    trainer.fit(Toy2dSource{Toy2d::rings});
    const State whole = trainer.whole_state();
    const State own = copy_of(trainer.state());
    CHECK(own.optimizer[0].size() < whole.parameters.size());
    CHECK_THROWS_AS(trainer.restore(own), ShapeError);
    auto resumed = make_trainer(ShardingProcess(process), 5, {});
    CHECK(resumed.restore_by_root([&] { return resumed.restore(whole), true; }));
    for (std::size_t k = 0; k < 2; ++k)
      CHECK(relative_difference(resumed.state().optimizer[k], own.optimizer[k]) == 0);
    CHECK(relative_difference(resumed.state().averages[0], own.averages[0]) == 0);
    CHECK(resumed.steps_done() == 5);
    // Without `restore` there is no state for the others.
    CHECK_THROWS_AS(resumed.restore_by_root([] { return true; }), Error);
  });
  for (const std::string& message : thrown) CHECK(message == "");
  const auto alone = as_processes(2, [&](ThreadProcess process) {
    auto trainer = make_trainer(ShardingProcess(process), 5, {});
    trainer.fit(Toy2dSource{Toy2d::rings}, GathersAlone{});
  });
  CHECK(alone[0] ==
        "whole_state: all processes have to call it, but a callback that is root_only did");
}

TEST_CASE("a checkpoint that the root cannot write ends all processes") {
  const auto thrown = as_processes(2, [&](ThreadProcess process) {
    auto trainer = make_trainer(ShardingProcess(process), 9, {});
    trainer.fit(Toy2dSource{Toy2d::rings}, SavesNowhere{});
  });
  CHECK(thrown[0].find("/dev/null/none") != std::string::npos);
  CHECK(thrown[1] == "process 0 of 2 failed: " + thrown[0]);
}

TEST_CASE("a number that is not finite ends all processes before a part is updated") {
  std::vector<Tensor<float>> before(2), after(2);
  const auto thrown = as_processes(2, [&](ThreadProcess process) {
    auto trainer = make_trainer(ShardingProcess(process), 9, {});
    const auto rows = [&](float value) { return Tensor<float>::full({24, 2}, value); };
    static_cast<void>(trainer.step(rows(0.5F)));
    before[process.rank()] = trainer.net().parameters().values().clone();
    try {
      static_cast<void>(
          trainer.step(rows(process.rank() == 1 ? std::numeric_limits<float>::quiet_NaN() : 0.5F)));
    } catch (...) {
      after[process.rank()] = trainer.net().parameters().values().clone();
      throw;
    }
  });
  for (std::size_t rank = 0; rank < 2; ++rank) {
    CHECK(thrown[rank].find("training stopped at step 1") == 0);
    CHECK(relative_difference(after[rank], before[rank]) == 0);
  }
  CHECK(relative_difference(after[0], after[1]) == 0);
}

TEST_CASE("what cannot be in parts is refused") {
  const auto thrown = as_processes(2, [&](ThreadProcess process) {
    using Parts =
        Recipe<MeanFlow, ConstantWeighting, LinearPath, LogitNormalTimes, Muon, ThreadProcess>;
    MeanFlowTrainer<Mlp<>, Parts>(Mlp<>({.hidden = 16, .layers = 2}), {.shard_optimizer = true},
                                  Parts{.communicator = process});
  });
  CHECK(thrown[1].find("this optimizer works on whole tensors") == 0);
  const auto differ = as_processes(2, [&](ThreadProcess process) {
    auto trainer = make_trainer(process, 3, {.shards = process.rank() == 0});
    trainer.fit(Toy2dSource{Toy2d::rings});
  });
  CHECK(differ[1] == "shard_optimizer is \"no\", but \"yes\" in the root");
}
