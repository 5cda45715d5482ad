// SPDX-License-Identifier: MIT
// Guidance as an input, and the objective with two heads beside what the parity program compares.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/flow/imf.hpp>
#include <meanflow/flow/sampler.hpp>
#include <meanflow/kernels/cpu/conv.hpp>
#include <meanflow/nn/imf_transformer.hpp>
#include <meanflow/nn/x_prediction.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;
using test::message_of;
using test::numbers;
using test::same_bits;
using test::Values;

using Transformer = ImfTransformer<double>;

static_assert(ImfNet<Transformer> && ImfNet<XPrediction<Transformer>>);
static_assert(Objective<ImfObjective, Transformer>);

namespace {

Transformer small_net(std::size_t classes = 3) {
  Transformer net({.input_size = 2,
                   .patch_size = 1,
                   .in_channels = 1,
                   .hidden_size = 8,
                   .depth = 2,
                   .head_depth = 1,
                   .heads = 2,
                   .classes = classes,
                   .class_tokens = 1,
                   .omega_tokens = 1,
                   .interval_tokens = 1,
                   .time_tokens = 1});
  Values values = net.parameters().values();
  const Values noise = numbers(values.shape(), 1, -0.3, 0.3);
  for (std::size_t i = 0; i < noise.size(); ++i) values[i] += noise[i];
  return net;
}

FlowBatchOf<Transformer> make_batch(std::size_t rows, std::size_t jumps) {
  FlowBatchOf<Transformer> batch{numbers({rows, 2, 2, 1}, 1),
                                 numbers({rows, 2, 2, 1}, 2),
                                 numbers({rows, 1}, 3, 0, 0.5),
                                 numbers({rows, 1}, 4, 0.5, 1),
                                 jumps,
                                 {}};
  batch.condition.labels = Tensor<std::int32_t>({rows});
  Tensor<std::uint64_t> numbers_of_rows({rows});
  for (std::size_t i = 0; i < rows; ++i) {
    if (i >= jumps) batch.r[i] = batch.t[i];
    batch.condition.labels[i] = static_cast<std::int32_t>(i % 3);
    numbers_of_rows[i] = 100 + i;
  }
  batch.draws = {5, Tensor<std::uint64_t>::full({1}, 7), numbers_of_rows};
  return batch;
}

constexpr ConstantWeighting weighting{};

template <class O>
auto losses_of(const O& objective, const Transformer& net, const FlowBatchOf<Transformer>& batch,
               Tape<double>& tape) {
  return objective(net, batch,
                   StepContext<Transformer, ConstantWeighting>{tape, weighting, batch.z.rows()});
}

}  // namespace

TEST_CASE("guidance is drawn from its densities") {
  constexpr std::size_t rows = 4000;
  auto batch = make_batch(rows, rows / 2);
  for (const double beta : {1.0, 0.0, 2.0}) {
    INFO("beta = ", beta);
    const auto told = with_drawn_guidance(batch.condition, {.omega_max = 8, .beta = beta},
                                          batch.draws, batch.r, batch.t);
    std::vector<double> omega(told.omega.span().begin(), told.omega.span().end());
    std::sort(omega.begin(), omega.end());
    CHECK(omega.front() >= 1);
    CHECK(omega.back() <= 8);
    // Medians of densities proportional to 1 / omega, 1 and 1 / omega^2 on [1, 8].
    const double median = beta == 1 ? std::sqrt(8.0) : beta == 0 ? 4.5 : 16.0 / 9;
    CHECK(omega[rows / 2] == doctest::Approx(median).epsilon(0.06));
    for (std::size_t i = 0; i < rows; ++i) {
      if (i < rows / 2) {
        CHECK((0 <= told.t_min[i] && told.t_min[i] <= 0.5 && 0.5 <= told.t_max[i] &&
               told.t_max[i] <= 1));
      } else {
        CHECK((told.t_min[i] == 0 && told.t_max[i] == 1));
      }
    }
  }
}

TEST_CASE("a row's guidance does not depend on the rest of the batch") {
  auto batch = make_batch(6, 6);
  const auto all = with_drawn_guidance(batch.condition, {}, batch.draws, batch.r, batch.t);
  RowDraws<Cpu> part = batch.draws;
  part.rows = batch.draws.rows.rows(2, 4);
  const auto some = with_drawn_guidance(condition_rows(batch.condition, 2, 4), {}, part,
                                        batch.r.rows(2, 4), batch.t.rows(2, 4));
  CHECK(same_bits(some.omega, all.omega.rows(2, 4)));
  CHECK(same_bits(some.t_max, all.t_max.rows(2, 4)));
}

TEST_CASE("rows without a condition are not guided, whether they come so or are dropped") {
  const Transformer net = small_net();
  auto batch = make_batch(4, 4);
  batch.condition.labels[1] = 3;  // the null class
  batch.condition = with_guidance(batch.condition, {.omega = 4}, 4);
  const auto is_null = null_rows<Cpu>(batch.condition, null_condition_of(net, ""), 4);
  const auto guided = imf_velocities(net, batch, is_null).guided;
  for (std::size_t i = 0; i < 16; ++i) CHECK((guided[i] == batch.v[i]) == (i / 4 == 1));
  const auto all = imf_velocities(net, batch, Tensor<std::uint8_t>::full({4}, 1)).guided;
  CHECK(same_bits(all, batch.v));
}

TEST_CASE("the share of rows that ImfObjective drops is that of its settings") {
  // Without anything to guide by, dropped rows are those whose labels no longer matter.
  constexpr std::size_t rows = 300;
  const Transformer net = small_net();
  auto batch = make_batch(rows, 0);
  Tape<double> tape;
  const auto whole = losses_of(ImfObjective{.dropout = {.rate = 0}}, net, batch, tape);
  const auto part = losses_of(ImfObjective{.dropout = {.rate = 0.3}}, net, batch, tape);
  std::size_t differ = 0;
  for (std::size_t i = 0; i < rows; ++i) differ += whole.metrics[0][i] != part.metrics[0][i];
  CHECK(std::abs(static_cast<double>(differ) / rows - 0.3) < 0.08);
}

TEST_CASE("a scale of 1 everywhere makes the target the data's velocity") {
  const Transformer net = small_net();
  const auto batch = make_batch(6, 3);
  Tape<double> tape;
  const auto losses =
      losses_of(ImfObjective{.guidance = {.omega_max = 1}, .dropout = {}}, net, batch, tape);
  const auto told = with_guidance(batch.condition, {}, 6);
  const Values v = net.velocity(batch.z, batch.t, told);
  for (std::size_t i = 3; i < 6; ++i) {
    double square = 0;
    for (std::size_t k = 4 * i; k < 4 * i + 4; ++k)
      square += (v[k] - batch.v[k]) * (v[k] - batch.v[k]);
    CHECK(losses.metrics[3][i] == doctest::Approx(square));
  }
}

TEST_CASE("guidance out of range is refused") {
  CHECK(message_of<SettingError>([] { GuidanceInput{.omega = 0.5}.check(); }) ==
        "guidance: omega is 0.500000, but must be finite and at least 1");
  CHECK(message_of<SettingError>([] { GuidanceInput{.t_min = 0.8, .t_max = 0.2}.check(); }) ==
        "guidance: the interval is [0.800000, 0.200000], but must be in order and within [0, 1]");
  CHECK(message_of<SettingError>([] { GuidanceDraw{.omega_max = 0}.check(); }) ==
        "GuidanceDraw: omega_max is 0.000000 and beta 1.000000, but both must be finite and "
        "omega_max at least 1");
  CHECK(
      message_of<SettingError>([] { GuidanceDraw{.t_min_max = 0.7, .t_max_min = 0.6}.check(); }) ==
      "GuidanceDraw: t_min_max is 0.700000 and t_max_min 0.600000, but must be in order and "
      "within [0, 1]");
  const Transformer net = small_net();
  auto batch = make_batch(4, 2);
  batch.condition = {};
  Tape<double> tape;
  CHECK(message_of<ShapeError>([&] { (void)losses_of(ImfObjective{}, net, batch, tape); }) ==
        "ImfObjective: the batch comes without the condition that guides");
}

TEST_CASE("a transformer with two heads is trained and sampled") {
  MeanFlowTrainer trainer(small_net(), {.steps = 30, .batch = 12, .learning_rate = {.peak = 1e-2}},
                          Recipe<ImfObjective, AdaptiveWeighting>{});
  const Values x = numbers({12, 2, 2, 1}, 9);
  auto condition = make_batch(12, 0).condition;
  double first = 0, last = 0;
  for (int i = 0; i < 30; ++i) {
    const auto report = trainer.step(x, condition);
    REQUIRE(std::isfinite(report.loss));
    (i == 0 ? first : last) = report.metrics["v_error"];
  }
  CHECK(last < first);
  const auto noise = normal_noise<double>({12, 2, 2, 1}, 1);
  const Values plain = sample(trainer.net(), noise, 1, condition);
  const Values guided = sample(trainer.net(), noise, 1, with_guidance(condition, {.omega = 5}, 12));
  CHECK(plain.shape() == noise.shape());
  CHECK(!same_bits(plain, guided));
}
