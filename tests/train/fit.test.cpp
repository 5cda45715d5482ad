// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include <archetypes.hpp>
#include <doctest/doctest.h>

#include <meanflow/data/point_set.hpp>
#include <meanflow/data/source.hpp>
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/early_stopping.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

namespace {

struct All {
  int begun = 0, steps = 0, ended = 0;
  void on_begin(auto& trainer) { begun += trainer.steps_done() == 0; }
  void on_step(auto& trainer, const StepReport& report) {
    steps += trainer.steps_done() == report.steps_done();
  }
  void on_end(auto& trainer) { ended += trainer.steps_done() > 0; }
};

// N((2, -1), 0.25)
struct GaussianSource {
  [[nodiscard]] Shape row_shape() const { return {2}; }
  void fill(Tensor<float>& x, std::uint64_t seed, std::uint64_t step) const {
    for (std::size_t row = 0; row < x.rows(); ++row) {
      RandomStream stream(seed, Purpose::data, step, row);
      x[2 * row] = 2 + 0.5f * stream.normal<float>();
      x[2 * row + 1] = -1 + 0.5f * stream.normal<float>();
    }
  }
};

struct OnlyEnd {
  int ended = 0;
  void on_end(auto&) { ++ended; }
};

struct StopsAtFour {
  bool on_step(auto&, const StepReport& report) { return report.step == 3; }
};

struct FailsAtTheEnd {
  template <class Trainer>
  void on_end(Trainer&) const {
    throw std::runtime_error("end");
  }
};

}  // namespace

TEST_CASE("the trainer works with types that model its concepts and nothing more") {
  using Slots = Recipe<test::ArchetypeObjective, test::ArchetypeWeighting, test::ArchetypePath,
                       test::ArchetypeTimes>;
  MeanFlowTrainer<test::ArchetypeNet, Slots> trainer(
      test::ArchetypeNet(1), {.steps = 3, .batch = 8},
      Slots{test::ArchetypeObjective(1), test::ArchetypeWeighting(1), test::ArchetypePath(1),
            test::ArchetypeTimes(1)});
  trainer.fit(test::ArchetypeSource(1));
  CHECK(trainer.steps_done() == 3);
  CHECK(trainer.sample(normal_noise({4, 2}, 1)).shape() == Shape{4, 2});
}

TEST_CASE("a source that gives another number of rows is told so") {
  struct Stubborn {
    [[nodiscard]] Shape row_shape() const { return {2}; }
    void fill(Tensor<float>& x, std::uint64_t seed, std::uint64_t) const {
      x = normal_noise({12, 2}, seed);
    }
  };
  MeanFlowTrainer trainer(Mlp<>({.hidden = 8, .layers = 1}), {.steps = 2, .batch = 6});
  const char* message = "fill: a source was asked for rows of shape (6, 2), but gave (12, 2)";
  CHECK_THROWS_WITH_AS(trainer.fit(Stubborn{}), message, ShapeError);
  CHECK_THROWS_WITH_AS(static_cast<void>(trainer.evaluate(Stubborn{})), message, ShapeError);
  CHECK(trainer.steps_done() == 0);
}

TEST_CASE("fit trains to the last step and reports every one") {
  MeanFlowTrainer trainer(
      Mlp<>({.hidden = 16, .layers = 1}),
      {.steps = 5, .batch = 32, .learning_rate = {.peak = 0.01, .decay = Decay::constant}});
  std::vector<StepReport> reports;
  trainer.fit(Toy2dSource{}, [&](const StepReport& report) { reports.push_back(report); });
  REQUIRE(reports.size() == 5);
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(reports[i].step == i);
    CHECK(reports[i].steps == 5);
    CHECK(reports[i].jump_rows == 24);
    CHECK(reports[i].learning_rate == 0.01);
    CHECK(reports[i].loss > 0);
    CHECK(reports[i].gradient_norm > 0);
    CHECK(reports[i].metrics["jvp_norm"] > 0);
    CHECK(reports[i].seconds >= (i ? reports[i - 1].seconds : 0));
  }
  trainer.fit(Toy2dSource{}, [&](const StepReport& report) { reports.push_back(report); });
  CHECK(reports.size() == 5);
}

TEST_CASE("training learns where the data are") {
  MeanFlowTrainer trainer(Mlp<>({.hidden = 32, .layers = 2, .seed = 1}),
                          {.steps = 400, .batch = 256, .learning_rate = {.peak = 5e-3}});
  trainer.fit(GaussianSource{});
  const auto samples = trainer.sample(normal_noise({2000, 2}, 1));
  double x = 0, y = 0;
  for (std::size_t i = 0; i < 2000; ++i) {
    x += static_cast<double>(samples[2 * i]) / 2000;
    y += static_cast<double>(samples[2 * i + 1]) / 2000;
  }
  CHECK(std::abs(x - 2) < 0.2);
  CHECK(std::abs(y + 1) < 0.2);
}

TEST_CASE("a trainer of flow matching samples along the velocity that it has learned") {
  MeanFlowTrainer trainer(Mlp<>({.hidden = 8, .layers = 1}),
                          {.steps = 3, .batch = 16, .averages = {}}, Recipe<FlowMatching>{});
  trainer.fit(Toy2dSource{});
  const auto noise = normal_noise({50, 2}, 1);
  const auto found = trainer.sample(noise, 4), expected = solve(trainer.net(), noise, 4),
             other = sample(trainer.net(), noise, 4);
  CHECK(std::ranges::equal(found.span(), expected.span()));
  CHECK_FALSE(std::ranges::equal(found.span(), other.span()));
}

TEST_CASE("callbacks are notified of an end by an exception, which reaches the caller") {
  struct FailsAtThree {
    void operator()(const StepReport& report) const {
      if (report.step == 3) throw std::runtime_error("step 3");
    }
  };
  MeanFlowTrainer trainer(Mlp<>({.hidden = 4, .layers = 1}), {.steps = 10, .batch = 8});
  All all;
  CHECK_THROWS_WITH(trainer.fit(Toy2dSource{}, FailsAtThree{}, FailsAtTheEnd{}, all), "step 3");
  CHECK(all.ended == 1);
  CHECK(trainer.steps_done() == 4);
}

TEST_CASE("callbacks have any of three members, or are functions; true stops training") {
  const auto make = [] {
    return MeanFlowTrainer(Mlp<>({.hidden = 4, .layers = 1}), {.steps = 10, .batch = 8});
  };
  All all;
  OnlyEnd only_end;
  StopsAtFour stops;

  auto trainer = make();
  trainer.fit(Toy2dSource{}, all, only_end);
  CHECK(all.begun == 1);
  CHECK(all.steps == 10);
  CHECK(all.ended == 1);
  CHECK(only_end.ended == 1);

  auto stopped = make();
  All after;
  stopped.fit(Toy2dSource{}, stops, after);
  CHECK(stopped.steps_done() == 4);
  CHECK(after.steps == 4);
  CHECK(after.ended == 1);

  auto by_lambda = make();
  by_lambda.fit(Toy2dSource{}, [](const StepReport& report) { return report.step == 5; });
  CHECK(by_lambda.steps_done() == 6);
}

TEST_CASE("a user's own points are a source") {
  std::vector<double> values;
  RandomStream stream(1, Purpose::user);
  for (int i = 0; i < 300; ++i) values.push_back(stream.normal<double>());
  MeanFlowTrainer trainer(Mlp<>({.dimension = 3, .hidden = 8, .layers = 1}),
                          {.steps = 3, .batch = 16});
  trainer.fit(PointSet(values, 3));
  CHECK(trainer.steps_done() == 3);
}

TEST_CASE("held-out numbers are the same every time, and those of the average") {
  const TrainerSettings settings{.steps = 300, .batch = 64, .averages = {ConstantEma{1}}};
  MeanFlowTrainer trainer(Mlp<>({.hidden = 16, .layers = 2, .seed = 1}), settings),
      still(Mlp<>({.hidden = 16, .layers = 2, .seed = 1}), settings),
      bare(Mlp<>({.hidden = 16, .layers = 2, .seed = 1}),
           {.steps = 300, .batch = 64, .averages = {}});
  const EvaluationReport before = trainer.evaluate(GaussianSource{}, 3);
  CHECK(before.rows == 192);
  CHECK(before.loss == doctest::Approx(before.metrics["squared_error"]));
  CHECK(bare.evaluate(GaussianSource{}, 3).loss == before.loss);
  trainer.fit(GaussianSource{});
  bare.fit(GaussianSource{});
  CHECK(trainer.evaluate(GaussianSource{}, 3).loss == before.loss);  // an average that never moves
  CHECK(bare.evaluate(GaussianSource{}, 3).loss < 0.8 * before.loss);
  // Nothing of it is left behind.
  static_cast<void>(still.evaluate(GaussianSource{}));
  still.fit(GaussianSource{});
  CHECK(std::ranges::equal(still.net().parameters().values().span(),
                           trainer.net().parameters().values().span()));
}

TEST_CASE("training stops once held-out data no longer improve") {
  MeanFlowTrainer trainer(
      Mlp<>({.hidden = 8, .layers = 1, .seed = 1}),
      {.steps = 1000,
       .batch = 32,
       .learning_rate = {.function = [](std::uint64_t step,
                                        std::uint64_t) { return step < 40 ? 1e-2 : 0.0; }},
       .averages = {}});
  EarlyStopping stop(GaussianSource{},
                     {.every = 10, .patience = 3, .batches = 2, .metric = "squared_error"});
  trainer.fit(GaussianSource{}, stop);
  CHECK(stop.best_step() == 40);
  CHECK(trainer.steps_done() == 70);
  CHECK(stop.best() == stop.last().metrics["squared_error"]);
  CHECK_THROWS_AS(EarlyStopping(GaussianSource{}, {.patience = 0}), SettingError);
}
