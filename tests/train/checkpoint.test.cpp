// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <io/temporary_folder.hpp>
#include <omp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <meanflow/data/source.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/checkpoint.hpp>
#include <meanflow/train/stop_on_signal.hpp>

using namespace meanflow;
using meanflow_test::TemporaryFolder;

namespace {

TrainerSettings settings_for(std::uint64_t steps) {
  return {.steps = steps,
          .batch = 64,
          .learning_rate = {.decay = Decay::constant},
          .averages = {WarmupEma{}, ConstantEma{0.9}, HalfLifeEma{1000, 0.1}},
          .clip_norm = 1,
          .seed = 5};
}

auto make_trainer(std::uint64_t steps, std::size_t hidden = 16) {
  return MeanFlowTrainer(Mlp<>({.hidden = hidden, .layers = 2, .seed = 2}), settings_for(steps));
}

const Toy2dSource data{Toy2d::rings};

bool same_bits(const Tensor<float>& a, const Tensor<float>& b) {
  return std::ranges::equal(std::as_bytes(a.span()), std::as_bytes(b.span()),
                            [](std::byte x, std::byte y) { return x == y; });
}

template <class A, class B>
bool same_state(const A& a, const B& b) {
  bool same = a.step == b.step && same_bits(a.parameters, b.parameters) &&
              a.optimizer.size() == b.optimizer.size() && a.averages.size() == b.averages.size();
  for (std::size_t k = 0; same && k < a.optimizer.size(); ++k)
    same = same_bits(a.optimizer[k], b.optimizer[k]);
  for (std::size_t k = 0; same && k < a.averages.size(); ++k)
    same = same_bits(a.averages[k], b.averages[k]);
  return same;
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

TEST_CASE("a resumed training run continues bit for bit as if it had never stopped") {
  const TemporaryFolder folder;
  // [docs:checkpoints]
  auto trainer = make_trainer(/*steps=*/30);
  Checkpoints checkpoints({.folder = folder.path(), .every = 10});
  checkpoints.resume(trainer);  // resumes from the newest file, if there is one
  trainer.fit(data, checkpoints, StopOnSignal{});
  // [docs:end]
  auto straight = make_trainer(57), resumed = make_trainer(57);
  straight.fit(data);
  Checkpoints later({.folder = folder.path(), .every = 10});
  CHECK(later.resume(resumed));
  CHECK(resumed.steps_done() == 30);
  resumed.fit(data, later);
  CHECK(same_state(straight.state(), resumed.state()));
  CHECK(names_in(folder.path()) == std::vector<std::string>{"checkpoint-000000040.safetensors",
                                                            "checkpoint-000000050.safetensors",
                                                            "checkpoint-000000057.safetensors"});
}

TEST_CASE("a checkpoint is a file of named parameters, averages and moments") {
  const TemporaryFolder folder;
  auto trainer = make_trainer(20);
  trainer.fit(data);
  save_checkpoint(folder / "c.safetensors", trainer, {{"why", "test"}});
  const Safetensors file(folder / "c.safetensors");
  CHECK(file.metadata().at("why") == "test");
  CHECK(file.metadata().at("meanflow.average.2") == "HalfLifeEma{half_life: 1000, rampup: 0.1}");
  CHECK(file.read<std::int64_t>("step").at(0) == 20);
  CHECK(file.contains("optimizer.first.layers.0.weight"));
  Mlp<> raw({.hidden = 16, .layers = 2}), averaged({.hidden = 16, .layers = 2});
  load_parameters(folder / "c.safetensors", raw.parameters());
  load_parameters(folder / "c.safetensors", averaged.parameters(), "average.1.");
  CHECK(same_bits(raw.parameters().values(), trainer.net().parameters().values()));
  CHECK(same_bits(averaged.parameters().values(), trainer.average(1)));
  CHECK_FALSE(same_bits(raw.parameters().values(), averaged.parameters().values()));
}

TEST_CASE("a checkpoint of another training run is refused, and nothing is changed") {
  const TemporaryFolder folder;
  auto trainer = make_trainer(3);
  trainer.fit(data);
  const auto path = folder / "c.safetensors";
  save_checkpoint(path, trainer);
  const auto refused = [&](auto other, const std::string& message) {
    const auto before = other.net().parameters().values().clone();
    CHECK_THROWS_WITH_AS(load_checkpoint(path, other),
                         ("'" + path.string() + "'" + message).c_str(), FileError);
    CHECK(same_bits(other.net().parameters().values(), before));
    CHECK(other.steps_done() == 0);
  };
  TrainerSettings other = settings_for(3);
  other.seed = 6;
  refused(MeanFlowTrainer(Mlp<>({.hidden = 16, .layers = 2}), other),
          " was written with seed '5', but this training run has '6'");
  other = settings_for(3);
  other.averages.pop_back();
  refused(MeanFlowTrainer(Mlp<>({.hidden = 16, .layers = 2}), other),
          " was written with averages '3', but this training run has '2'");
  other = settings_for(3);
  other.averages[1] = ConstantEma{0.95};
  refused(MeanFlowTrainer(Mlp<>({.hidden = 16, .layers = 2}), other),
          " was written with average.1 'ConstantEma{decay: 0.9}', but this training run has "
          "'ConstantEma{decay: 0.95}'");
  const auto refused_recipe = [&](auto recipe, const std::string& message) {
    refused(MeanFlowTrainer(Mlp<>({.hidden = 16, .layers = 2}), settings_for(3), recipe), message);
  };
  refused_recipe(Recipe<ImprovedMeanFlow>{},
                 " was written with objective 'MeanFlow{direction: JvpDirection{z: 1, r: 0, t: 1}, "
                 "mode: 0, tangent: TangentOpt...', but this training run has "
                 "'ImprovedMeanFlow{mode: 0, net_dropout: 0}'");
  refused_recipe(Recipe<>{.optimizer = {.beta2 = 0.99}},
                 " was written with optimizer 'Adam{beta1: 0.9, beta2: 0.999, epsilon: 1e-08, "
                 "weight_decay: 0, decoupled: 1}', but this training run has 'Adam{beta1: 0.9, "
                 "beta2: 0.99, epsilon: 1e-08, weight_decay: 0, decoupled: 1}'");
  refused_recipe(Recipe<MeanFlow, AdaptiveWeighting>{},
                 " was written with weighting 'ConstantWeighting{reduction: 0}', but this training "
                 "run has 'AdaptiveWeighting{p: 1, epsilon: 0.01, reduction: 0}'");
  refused_recipe(Recipe<MeanFlow, ConstantWeighting, CosinePath>{},
                 " was written with path 'LinearPath', but this training run has 'CosinePath'");
  refused_recipe(Recipe<MeanFlow, ConstantWeighting, LinearPath, LogitNormalTimes, Adam,
                        SingleProcess, OptimalTransport>{},
                 " was written with coupling 'IndependentCoupling', but this training run has "
                 "'OptimalTransport{block: 256, condition_weight: 10}'");
  auto wider = make_trainer(3, 17);
  CHECK_THROWS_WITH_AS(
      load_checkpoint(path, wider),
      (path.string() + ": parameter layers.0.weight has shape [16, 4], expected [17, 4]").c_str(),
      FileError);
  save_parameters(folder / "p.safetensors", trainer.net().parameters());
  CHECK_THROWS_WITH_AS(load_checkpoint(folder / "p.safetensors", trainer),
                       ("'" + (folder / "p.safetensors").string() +
                        "' is not a training checkpoint: it has no 'meanflow.average.0'")
                           .c_str(),
                       FileError);
}

TEST_CASE("a checkpoint of a net with more parameters is refused") {
  const TemporaryFolder folder;
  auto trainer = make_trainer(3);
  save_checkpoint(folder / "c.safetensors", trainer);
  {
    const Safetensors file(folder / "c.safetensors");
    SafetensorsWriter writer;
    for (const auto& [key, value] : file.metadata()) writer.metadata(key, value);
    const std::int64_t step = 0;
    writer.add("step", {}, std::span<const std::int64_t>(&step, 1));
    for (const std::string& name : file.names())
      if (name != "step") writer.add(name, file.shape(name), file.read<float>(name));
    writer.add("extra.weight", {1}, std::vector<float>{1});
    writer.write(folder / "more.safetensors");
  }
  CHECK_THROWS_WITH_AS(load_checkpoint(folder / "more.safetensors", trainer),
                       ("'" + (folder / "more.safetensors").string() +
                        "' was written for another net: this one has no 'extra.weight'")
                           .c_str(),
                       FileError);
}

TEST_CASE("a run that was not resumed does not mix its checkpoints with those of another") {
  const TemporaryFolder folder;
  auto first = make_trainer(30), second = make_trainer(20);
  first.fit(data, Checkpoints({.folder = folder.path(), .every = 10}));
  const auto before = names_in(folder.path());
  Checkpoints checkpoints({.folder = folder.path(), .every = 10});
  const std::string message =
      "'" + folder.path().string() +
      "' holds checkpoints up to step 30, but this training run is at step 0: resume it, or choose "
      "another folder.";
  CHECK_THROWS_WITH_AS(second.fit(data, checkpoints), message.c_str(), FileError);
  CHECK_THROWS_WITH_AS(checkpoints.save(second), message.c_str(), FileError);
  CHECK(names_in(folder.path()) == before);
}

TEST_CASE("a training run that an exception ends is saved") {
  const TemporaryFolder folder;
  auto trainer = make_trainer(10);
  const auto fails = [](const StepReport& report) {
    if (report.step == 6) throw Error("step 6");
  };
  CHECK_THROWS_WITH_AS(trainer.fit(data, fails, Checkpoints({.folder = folder.path(), .every = 0})),
                       "step 6", Error);
  CHECK(names_in(folder.path()) == std::vector<std::string>{"checkpoint-000000007.safetensors"});
}

TEST_CASE("a training run that fails before its first step leaves no checkpoint") {
  const TemporaryFolder folder;
  auto trainer = make_trainer(10);
  struct Broken {
    [[nodiscard]] Shape row_shape() const { return {2}; }
    void fill(Tensor<float>&, std::uint64_t, std::uint64_t) const { throw Error("no data"); }
  };
  CHECK_THROWS_WITH_AS(trainer.fit(Broken{}, Checkpoints({.folder = folder.path(), .every = 1})),
                       "no data", Error);
  CHECK(names_in(folder.path()).empty());
}

TEST_CASE("parameters that lead to a number that is not finite are not saved") {
  const TemporaryFolder folder;
  auto settings = settings_for(10);
  settings.learning_rate.peak = 1e30;
  MeanFlowTrainer trainer(Mlp<>({.hidden = 16, .layers = 2}), settings);
  CHECK_THROWS_AS(trainer.fit(data, Checkpoints({.folder = folder.path(), .every = 0})),
                  NonFiniteError);
  CHECK(names_in(folder.path()).empty());
}

TEST_CASE("half-written files of a killed process are removed, others stay") {
  const TemporaryFolder folder;
  std::ofstream(folder / "checkpoint-000000010.safetensors.tmp-1-0") << "half";
  std::ofstream(folder / "notes.txt") << "mine";
  CHECK_FALSE(latest_checkpoint(folder.path()).has_value());
  auto trainer = make_trainer(3);
  Checkpoints({.folder = folder.path()}).on_begin(trainer);
  CHECK(names_in(folder.path()) == std::vector<std::string>{"notes.txt"});
  CHECK_FALSE(latest_checkpoint(folder / "missing").has_value());
}

TEST_CASE("a signal stops training after the step, with a checkpoint") {
  const TemporaryFolder folder;
  auto trainer = make_trainer(1000);
  StopOnSignal stop;
  trainer.fit(data, Checkpoints({.folder = folder.path(), .every = 0}), stop,
              [](const StepReport& report) {
                if (report.step == 6) std::raise(SIGTERM);
              });
  CHECK(stop.signal() == SIGTERM);
  CHECK(trainer.steps_done() <= 8);
  CHECK(latest_checkpoint(folder.path()) == checkpoint_path(folder.path(), trainer.steps_done()));
}

TEST_CASE("a second signal, even of the other kind, ends the program at once") {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const StopOnSignal stop;
    std::raise(SIGINT);
    if (stop.signal() == SIGINT) std::raise(SIGTERM);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGTERM);
}

// The child is a process of one thread, since OpenMP's threads do not outlive a fork.
TEST_CASE("killed at any moment, a training run resumes to the same end") {
  const TemporaryFolder folder;
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  constexpr std::uint64_t steps = 3000;
  const auto run = [&] {
    omp_set_num_threads(1);  // Clang's runtime forgets it in a fork
    auto trainer = make_trainer(steps);
    Checkpoints checkpoints({.folder = folder.path(), .every = 3, .keep = 2});
    checkpoints.resume(trainer);
    trainer.fit(data, checkpoints);
  };
  RandomStream random(1, Purpose::user);
  int kills = 0;
  // The longest time until a kill. On a busy machine a child may need longer to get anywhere.
  double longest = 30'000;  // us
  std::uint64_t reached = 0;
  while (true) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      try {
        run();
      } catch (...) {
        ::_exit(1);
      }
      ::_exit(0);
    }
    ::usleep(static_cast<useconds_t>(500 + random.uniform<double>() * longest));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFEXITED(status)) {
      REQUIRE(WEXITSTATUS(status) == 0);
      break;
    }
    // Whatever is there can be read.
    std::uint64_t latest = 0;
    for (const auto& [step, path] : list_checkpoints(folder.path())) {
      auto reader = make_trainer(steps);
      load_checkpoint(path, reader);
      CHECK(reader.steps_done() == step);
      latest = step;
    }
    if (latest == reached) longest *= 1.1;
    reached = latest;
    ++kills;
    REQUIRE(kills < 2000);
  }
  CHECK(kills > 3);
  auto straight = make_trainer(steps), resumed = make_trainer(steps);
  straight.fit(data);
  load_checkpoint(latest_checkpoint(folder.path()).value(), resumed);
  CHECK(same_state(straight.state(), resumed.state()));
  omp_set_num_threads(threads);
}
