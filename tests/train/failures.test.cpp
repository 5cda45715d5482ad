// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/kernels/cpu.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

namespace {

constexpr std::size_t batch = 24;

Mlp<> make_net() { return Mlp<>({.hidden = 16, .layers = 1, .seed = 3}); }

Tensor<float> make_batch(std::uint64_t seed) { return normal_noise({batch, 2}, seed); }

bool same_bits(const Tensor<float>& a, const Tensor<float>& b) {
  return std::equal(a.span().begin(), a.span().end(), b.span().begin(), b.span().end());
}

struct HugeWeighting {
  double operator()(double, std::size_t) const { return 1e39; }
};

struct TooManyJumps {
  std::size_t jump_rows(std::size_t batch_rows, RandomStream&) const { return batch_rows + 1; }
  TimePair<float> sample(RandomStream&, bool) const { return {0, 1}; }
};

// u = z table[label]
struct LabelledNet {
  using value_type = float;
  using device_type = Cpu;
  using condition_type = LabelCondition<float>;
  LabelledNet() : table(store.add("table", {3, 2})) {
    for (std::size_t i = 0; i < 6; ++i) table.data()[i] = 0.1f * static_cast<float>(i);
  }
  const Parameters<float>& parameters() const { return store; }
  template <class X>
  X operator()(const X& z, const X&, const X&, const condition_type& c) const {
    return z * class_embedding(table, c.labels, z);
  }
  Parameters<float> store{};
  Parameter<float> table;
};

// Forgets that u comes from the net.
struct ConstantObjective {
  static constexpr std::array metrics = flow_metrics;
  template <class N, class W>
  [[nodiscard]] auto operator()(const N& net, const FlowBatchOf<N>& given,
                                const StepContext<N, W>& context) const {
    auto losses = FlowMatching{}(net, given, context);
    losses.outputs[0].node = Tape<float>::no_node;
    return losses;
  }
};

struct LateTimes {
  std::size_t jump_rows(std::size_t batch_rows, RandomStream&) const { return batch_rows; }
  TimePair<float> sample(RandomStream&, bool) const { return {0.75f, 0.5f}; }
};

struct NegativeWeighting {
  double operator()(double, std::size_t) const { return -1; }
};

}  // namespace

TEST_CASE("a number that is not finite in the data stops training before anything has changed") {
  const TrainerSettings settings{.batch = batch, .averages = {ConstantEma{0.5}}, .tile_rows = 5};
  MeanFlowTrainer trainer(make_net(), settings), other(make_net(), settings);
  trainer.step(make_batch(1));
  other.step(make_batch(1));
  const auto parameters = trainer.net().parameters().values().clone();
  const auto average = trainer.average().clone();
  auto bad = make_batch(2);
  bad[2 * 3] = NAN;
  bad[2 * 20 + 1] = INFINITY;
  bool thrown = false;
  try {
    trainer.step(bad);
  } catch (const NonFiniteError& error) {
    thrown = true;
    CHECK(error.step == 1);
    CHECK(error.rows == std::vector<std::size_t>{3, 20});
    CHECK(std::string(error.what()) ==
          "training stopped at step 1: the loss is not finite in 2 of 24 rows (3, 20); the "
          "parameters are those of the step before");
  }
  CHECK(thrown);
  CHECK(trainer.steps_done() == 1);
  CHECK(same_bits(trainer.net().parameters().values(), parameters));
  CHECK(same_bits(trainer.average(), average));
  trainer.step(make_batch(3));
  other.step(make_batch(3));
  CHECK(same_bits(trainer.net().parameters().values(), other.net().parameters().values()));
}

TEST_CASE("a gradient that is not finite stops training too") {
  MeanFlowTrainer trainer(make_net(), {.batch = batch}, Recipe<MeanFlow, HugeWeighting>{});
  const auto parameters = trainer.net().parameters().values().clone();
  bool thrown = false;
  try {
    trainer.step(make_batch(1));
  } catch (const NonFiniteError& error) {
    thrown = true;
    CHECK(error.rows.empty());
    CHECK(std::string(error.what()).find("the gradient is not finite") != std::string::npos);
  }
  CHECK(thrown);
  CHECK(same_bits(trainer.net().parameters().values(), parameters));
}

TEST_CASE("after an exception from a net the next step is as if nothing had happened") {
  const TrainerSettings settings{.batch = batch, .tile_rows = 4};
  MeanFlowTrainer trainer(LabelledNet{}, settings), other(LabelledNet{}, settings);
  LabelCondition<float> good{Tensor<std::int32_t>::full({batch}, 1)};
  LabelCondition<float> bad{good.labels.clone()};
  bad.labels[batch - 1] = 3;
  CHECK_THROWS_WITH_AS(trainer.step(make_batch(1), bad),
                       "class_embedding: label 3 is not in [0, 3), the rows of table", ShapeError);
  CHECK(trainer.steps_done() == 0);
  trainer.step(make_batch(2), good);
  other.step(make_batch(2), good);
  CHECK(same_bits(trainer.net().parameters().values(), other.net().parameters().values()));

  const LabelCondition<float> few{Tensor<std::int32_t>::full({batch - 1}, 1)};
  CHECK_THROWS_WITH_AS(trainer.step(make_batch(1), few),
                       "trainer: labels of shape (23) for a batch of 24 rows", ShapeError);
}

TEST_CASE("messages about shapes tell of the batch, not of the tiles that it is cut into") {
  MeanFlowTrainer trainer(make_net(), {.batch = batch, .tile_rows = 4});
  const Tensor<float> wide = normal_noise({batch, 5}, 1);
  const auto rows_in = [](auto f) {
    try {
      f();
    } catch (const ShapeError& error) {
      return std::string(error.what());
    }
    return std::string("nothing was thrown");
  };
  for (const std::string& message : {rows_in([&] { trainer.step(wide); }),
                                     rows_in([&] { (void)sample(trainer.net(), wide); })}) {
    CAPTURE(message);
    CHECK(message.find("(24, ") != std::string::npos);
  }
}

TEST_CASE("settings that cannot work are refused") {
  CHECK_THROWS_WITH_AS((MeanFlowTrainer(make_net(), {.batch = 0})),
                       "batch is 0, but must be at least 1", SettingError);
  const auto refused = [](const TrainerSettings& settings, const char* message) {
    CHECK_THROWS_WITH_AS((MeanFlowTrainer(make_net(), settings)), message, SettingError);
  };
  CHECK_THROWS_WITH_AS((MeanFlowTrainer(make_net(), {}, Recipe<>{.optimizer = {.beta1 = 1}})),
                       "Adam: beta1 is 1.000000, but must be in [0, 1)", SettingError);
  refused({.gradient_accumulation = 0}, "gradient_accumulation is 0, but must be at least 1");
  refused({.learning_rate = {.peak = -1}},
          "LearningRate: peak is -1.000000, but must be greater than 0");
  refused({.averages = {ConstantEma{1.5}}},
          "ConstantEma: decay is 1.500000, but must be in [0, 1]");
  refused({.averages = {HalfLifeEma{0}}},
          "HalfLifeEma: half_life is 0.000000, but must be greater than 0");
  refused({.clip_norm = -1}, "clip_norm is -1.000000, but must be at least 0");
  using TooMany = Recipe<MeanFlow, ConstantWeighting, LinearPath, TooManyJumps>;
  MeanFlowTrainer trainer(make_net(), {.batch = batch}, TooMany{});
  CHECK_THROWS_WITH_AS(trainer.step(make_batch(1)),
                       "the time sampler's jump_rows returned 25 for a batch of 24 rows",
                       SettingError);
}

TEST_CASE("a slot that breaks its contract is named") {
  using Late = Recipe<MeanFlow, ConstantWeighting, LinearPath, LateTimes>;
  MeanFlowTrainer late(make_net(), {.batch = batch}, Late{});
  CHECK_THROWS_WITH_AS(late.step(make_batch(1)),
                       "training stopped at step 0: the time sampler drew r = 0.750000 and t = "
                       "0.500000 for row 0, but must draw 0 <= r <= t <= 1, and r = t in rows "
                       "that do not jump; the parameters are those of the step before",
                       NonFiniteError);
  MeanFlowTrainer negative(make_net(), {.batch = batch}, Recipe<MeanFlow, NegativeWeighting>{});
  std::string message;
  try {
    negative.step(make_batch(1));
  } catch (const NonFiniteError& error) {
    message = error.what();
  }
  CHECK(message.find("the weight of row 0, whose squared error is ") != std::string::npos);
  CHECK(message.find(" is -1.000000, but must be finite and at least 0") != std::string::npos);
}

TEST_CASE("an objective that does not come from the net is refused, not trained") {
  MeanFlowTrainer trainer(make_net(), {.batch = batch}, Recipe<ConstantObjective>{});
  CHECK_THROWS_WITH_AS(trainer.step(make_batch(1)),
                       "trainer: the objective does not depend on the net's parameters; the nodes "
                       "of its outputs must be those of what the net computes from values on the "
                       "given tape, and not all parameters may be frozen",
                       Error);
  CHECK(trainer.steps_done() == 0);
}

TEST_CASE("condition dropout needs a null condition and a rate") {
  const TrainerSettings dropping{.batch = batch, .condition_dropout = {.rate = 0.5}};
  CHECK_THROWS_WITH_AS(MeanFlowTrainer(LabelledNet{}, dropping),
                       "condition dropout needs a null condition, but the net has none",
                       SettingError);
  CHECK_THROWS_WITH_AS(MeanFlowTrainer(LabelledNet{}, {.condition_dropout = {.rate = -1}}),
                       "ConditionDropout: rate is -1.000000, but must be in [0, 1]", SettingError);
}
