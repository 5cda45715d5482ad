// SPDX-License-Identifier: MIT
// One step against the same step written out, and what may not depend on threads and tiles.
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <doctest/doctest.h>
#include <expect_op.hpp>
#include <omp.h>

#include <meanflow/kernels/cpu.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;
using test::Values;

namespace {

using SmallNet = Mlp<double>;
using Trainer = MeanFlowTrainer<SmallNet>;

constexpr std::size_t batch = 24;

SmallNet make_net() { return SmallNet({.hidden = 16, .layers = 2, .seed = 3}); }

Trainer make_trainer(std::size_t tile_rows, TrainerSettings settings = {}) {
  settings.batch = batch;
  settings.seed = 11;
  settings.tile_rows = tile_rows;
  return Trainer(make_net(), settings);
}

/// What an objective saw.
struct Seen {
  std::uint64_t step = 0, steps = 0;
  std::size_t averages = 0;
  double teacher = 0, student = 0;
};
struct Watching {
  Seen* seen;
  [[nodiscard]] static constexpr bool changes_with_step() { return true; }
  static constexpr std::array metrics = flow_metrics;
  auto operator()(const SmallNet& net, const FlowBatchOf<SmallNet>& rows,
                  const StepContext<SmallNet, ConstantWeighting>& context) const {
    *seen = {context.step, context.steps, context.averages.size()};
    seen->student = evaluate(net, rows.z, rows.r, rows.t, {})[0];
    {
      const Teacher<double, Cpu> teacher(net.parameters(), context.averages[0]);
      seen->teacher = evaluate(net, rows.z, rows.r, rows.t, {})[0];
    }
    return MeanFlow{}(net, rows, context);
  }
};

double largest_difference(const Values& a, const Values& b) { return test::relative_error(a, b); }

}  // namespace

TEST_CASE("a step with one tile is the step written out") {
  const Values x = test::numbers({batch, 2}, 7);
  auto trainer = make_trainer(batch);
  const StepReport report = trainer.step(x);
  CHECK(report.jump_rows == 18);

  const SmallNet net = make_net();
  FlowBatchOf<SmallNet> rows{
      Values({batch, 2}), Values({batch, 2}), Values({batch, 1}), Values({batch, 1}), 18, {}};
  for (std::size_t i = 0; i < batch; ++i) {
    RandomStream times(11, Purpose::times, 0, i), noise(11, Purpose::noise, 0, i);
    const auto pair = LogitNormalTimes{}.sample(times, i < 18);
    rows.r[i] = pair.r;
    rows.t[i] = pair.t;
    for (std::size_t c = 0; c < 2; ++c) {
      const double e = noise.normal<double>(), t = rows.t[i];
      const double data = x[2 * JumpOrder{batch, 18}[i] + c];
      rows.z[2 * i + c] = (1 - t) * data + t * e;
      rows.v[2 * i + c] = e - data;
    }
  }
  Tape<double> tape;
  Values gradient = Values::zeros({net.parameters().flat_size()});
  tape.bind(net.parameters(), gradient);
  const auto [node, u, dudt] = velocity_and_jvp(net, rows, rows.v.rows(0, 18), tape);
  Values g(u.shape());
  double loss = 0;
  for (std::size_t i = 0; i < batch; ++i)
    for (std::size_t c = 0; c < 2; ++c) {
      const double slope = i < 18 ? (rows.t[i] - rows.r[i]) * dudt[2 * i + c] : 0;
      const double error = u[2 * i + c] - rows.v[2 * i + c] + slope;
      loss += error * error / batch;
      g[2 * i + c] = 2 * error / batch;
    }
  tape.backward(node, g);
  CHECK(report.loss == doctest::Approx(loss).epsilon(1e-13));
  CHECK(report.metrics["squared_error"] == doctest::Approx(loss).epsilon(1e-13));
  CHECK(largest_difference(trainer.gradient(), gradient) <= 1e-14);
  CHECK(report.gradient_norm ==
        doctest::Approx(std::sqrt(test::inner_product(gradient, gradient))).epsilon(1e-13));

  ParameterUpdate<Adam, double, Cpu> update(net.parameters(), Adam{});
  update.step(net.parameters(), gradient, LearningRate{.decay = Decay::cosine}.at(0, 5000));
  CHECK(largest_difference(trainer.net().parameters().values(), net.parameters().values()) <=
        1e-13);
}

TEST_CASE("tiles and threads change nothing but rounding") {
  const Values x = test::numbers({batch, 2}, 7);
  auto one = make_trainer(batch);
  one.step(x);
  const int threads = omp_get_max_threads();
  for (const int count : {1, 3})
    for (const std::size_t tile_rows : {1, 5, 8, 100}) {
      INFO("threads = ", count, ", rows per tile = ", tile_rows);
      omp_set_num_threads(count);
      auto other = make_trainer(tile_rows);
      other.step(x);
      double worst = 0;
      for (std::size_t i = 0; i < batch; ++i) {
        worst = std::max(worst, std::abs(other.rows().loss()[i] - one.rows().loss()[i]));
        worst = std::max(worst, std::abs(other.rows()["jvp_norm"][i] - one.rows()["jvp_norm"][i]));
      }
      CHECK(worst <= 1e-12);
      CHECK(largest_difference(other.gradient(), one.gradient()) <= 1e-13);
    }
  omp_set_num_threads(threads);
}

TEST_CASE("the same seed and number of threads give the same bytes") {
  const int threads = omp_get_max_threads();
  omp_set_num_threads(3);
  auto first = make_trainer(4), second = make_trainer(4);
  for (std::uint64_t i = 0; i < 20; ++i) {
    const Values x = test::numbers({batch, 2}, i);
    const auto a = first.step(x), b = second.step(x);
    CHECK(a.loss == b.loss);
    CHECK(a.gradient_norm == b.gradient_norm);
  }
  CHECK(test::same_bits(first.net().parameters().values(), second.net().parameters().values()));
  CHECK(test::same_bits(first.average(), second.average()));
  omp_set_num_threads(threads);
}

TEST_CASE("clipping scales the gradient that the optimizer sees, not what is reported") {
  auto trainer = make_trainer(batch, {.averages = {}, .clip_norm = 0.5});
  const SmallNet net = make_net();
  ParameterUpdate<Adam, double, Cpu> update(net.parameters(), Adam{});
  for (std::uint64_t i = 0; i < 3; ++i) {
    const Values x = test::numbers({batch, 2}, i, -1.0 - static_cast<double>(i), 3);
    const auto report = trainer.step(x);
    const double norm = std::sqrt(test::inner_product(trainer.gradient(), trainer.gradient()));
    CHECK(report.gradient_norm == doctest::Approx(norm).epsilon(1e-13));
    REQUIRE(norm > 0.5);
    Values clipped = trainer.gradient().clone();
    for (double& value : clipped.span()) value *= 0.5 / norm;
    update.step(net.parameters(), clipped, report.learning_rate);
  }
  CHECK(largest_difference(trainer.net().parameters().values(), net.parameters().values()) <=
        1e-12);
}

TEST_CASE("several averages are kept side by side") {
  auto trainer =
      make_trainer(batch, {.averages = {ConstantEma{0.5}, WarmupEma{0.9}, HalfLifeEma{100, 0.5}}});
  std::vector<Values> expected(3, trainer.net().parameters().values().clone());
  for (Values& values : expected) values = values.clone();
  for (std::uint64_t i = 0; i < 4; ++i) {
    trainer.step(test::numbers({batch, 2}, i));
    const double n = static_cast<double>(i);
    const double half = std::max(std::min(100.0, n * batch * 0.5), 1e-8);
    const double decays[] = {0.5, std::min(0.9, (1 + n) / (10 + n)), std::pow(0.5, batch / half)};
    for (std::size_t k = 0; k < 3; ++k)
      for (std::size_t j = 0; j < expected[k].size(); ++j)
        expected[k][j] =
            decays[k] * expected[k][j] + (1 - decays[k]) * trainer.net().parameters().values()[j];
  }
  for (std::size_t k = 0; k < 3; ++k)
    CHECK(largest_difference(trainer.average(k), expected[k]) <= 1e-14);
  CHECK(test::same_bits(trainer.best_values(), trainer.average(0)));
}

TEST_CASE("sample uses the first average, or the net itself") {
  auto averaged = make_trainer(batch, {.averages = {ConstantEma{1.0}}});
  auto bare = make_trainer(batch, {.averages = {}});
  const auto noise = normal_noise<double>({5, 2}, 1);
  const Values before = sample(averaged.net(), noise);
  averaged.step(test::numbers({batch, 2}, 1));
  bare.step(test::numbers({batch, 2}, 1));
  CHECK(test::same_bits(averaged.sample(noise), before));
  CHECK(test::same_bits(bare.sample(noise), sample(averaged.net(), noise)));
  CHECK_FALSE(test::same_bits(bare.sample(noise), before));
  CHECK(averaged.sample(noise, 4).shape() == Shape{5, 2});
}

TEST_CASE("flow matching and improved Mean Flows train by the same trainer") {
  const Values x = test::numbers({batch, 2}, 7);
  const TrainerSettings settings{.batch = batch, .tile_rows = batch};
  MeanFlowTrainer plain(make_net(), settings, Recipe<FlowMatching>{});
  const auto report = plain.step(x);
  CHECK(report.jump_rows == 0);
  CHECK(report.metrics["jvp_norm"] == 0);
  CHECK(report.metrics["squared_error"] ==
        doctest::Approx(report.metrics["velocity_error"]).epsilon(1e-14));
  MeanFlowTrainer improved(make_net(), settings, Recipe<ImprovedMeanFlow, AdaptiveWeighting>{});
  CHECK(improved.step(x).jump_rows == 18);
  CHECK(improved.step(x).loss < 1);
}

TEST_CASE("accumulated gradients are those of one large batch") {
  const Values x = test::numbers({2 * batch, 2}, 7);
  TrainerSettings settings{.batch = 2 * batch, .seed = 11, .tile_rows = batch};
  MeanFlowTrainer large(make_net(), settings);
  settings.batch = batch;
  settings.gradient_accumulation = 2;
  settings.tile_rows = 0;
  MeanFlowTrainer parts(make_net(), settings);
  CHECK(parts.settings().step_rows() == 2 * batch);
  CHECK(parts.step(x).loss == large.step(x).loss);
  CHECK(test::same_bits(parts.gradient(), large.gradient()));
  CHECK(parts.rows().size() == 2 * batch);
}

namespace {

/// Pairs the first noise with the last row, and so on.
struct Reversed {
  std::size_t block = batch;
  template <class T>
  void pair(const PairingProblem<T>& problem, std::span<std::int32_t> data_of_noise) const {
    for (std::size_t i = 0; i < problem.size; ++i)
      data_of_noise[i] = static_cast<std::int32_t>(problem.size - 1 - i);
  }
};

template <class K>
[[nodiscard]] auto paired_trainer(std::size_t tile_rows) {
  using R =
      Recipe<MeanFlow, ConstantWeighting, LinearPath, LogitNormalTimes, Adam, SingleProcess, K>;
  return MeanFlowTrainer<SmallNet, R>(make_net(),
                                      {.batch = batch, .seed = 11, .tile_rows = tile_rows});
}

}  // namespace

TEST_CASE("a step on paired rows is the step on the rows in that order") {
  const Values x = test::numbers({batch, 2}, 7);
  const JumpOrder order{batch, 18};
  Values places(x.shape());
  for (std::size_t i = 0; i < batch; ++i) std::copy_n(x.row(order[i]), 2, places.row(i));
  const auto agree = [&](auto paired, const Values& at_places) {
    Values rows(x.shape());
    for (std::size_t i = 0; i < batch; ++i) std::copy_n(at_places.row(i), 2, rows.row(order[i]));
    auto plain = make_trainer(batch);
    CHECK(paired.step(x).loss == plain.step(rows).loss);
    CHECK(std::ranges::equal(paired.net().parameters().values().span(),
                             plain.net().parameters().values().span()));
  };
  Values reversed(x.shape());
  for (std::size_t i = 0; i < batch; ++i)
    std::copy_n(places.row(batch - 1 - i), 2, reversed.row(i));
  agree(paired_trainer<Reversed>(batch), reversed);
  Values transported = places;
  NoCondition<double> none;
  couple(OptimalTransport{}, TileRows{0, 18, 18, batch}, 11, 0, transported, none);
  agree(paired_trainer<OptimalTransport>(batch), transported);
  CHECK(paired_trainer<OptimalTransport>(5).step(x).loss ==
        doctest::Approx(paired_trainer<OptimalTransport>(batch).step(x).loss).epsilon(1e-12));
}

TEST_CASE("frozen parameters are neither differentiated nor moved") {
  auto trainer = make_trainer(
      8,
      {.groups = {{.contains = [](const ParameterEntry& e) { return e.name == "layers.1.weight"; },
                   .frozen = true}}});
  const auto frozen = trainer.net().parameters()["layers.1.weight"];
  const Values before = trainer.net().parameters().values().clone();
  for (std::uint64_t i = 0; i < 3; ++i) trainer.step(test::numbers({batch, 2}, i));
  for (std::size_t i = 0; i < before.size(); ++i) {
    const bool is_frozen = i >= frozen.offset() && i < frozen.offset() + frozen.size();
    if (is_frozen) CHECK(trainer.gradient()[i] == 0);
    if (is_frozen) CHECK(trainer.net().parameters().values()[i] == before[i]);
  }
  CHECK(trainer.net().parameters()["layers.0.weight"].data()[0] !=
        before[trainer.net().parameters()["layers.0.weight"].offset()]);
}

TEST_CASE("an objective sees the step and the averages") {
  Seen seen;
  MeanFlowTrainer trainer(
      make_net(), {.steps = 9, .batch = batch, .averages = {ConstantEma{1}}, .tile_rows = 30},
      Recipe<Watching>{.objective = {&seen}});
  trainer.step(test::numbers({batch, 2}, 1));
  CHECK(seen.teacher == seen.student);
  trainer.step(test::numbers({batch, 2}, 2));
  CHECK(seen.step == 1);
  CHECK(seen.steps == 9);
  CHECK(seen.averages == 1);
  CHECK(seen.teacher != seen.student);  // the average stays at the first values
}

TEST_CASE("the learning rate may be any function of the step") {
  auto trainer = make_trainer(
      batch,
      {.steps = 10, .learning_rate = {.function = [](std::uint64_t step, std::uint64_t steps) {
                      return 1e-3 * static_cast<double>(steps - step);
                    }}});
  CHECK(trainer.step(test::numbers({batch, 2}, 1)).learning_rate == doctest::Approx(1e-2));
  CHECK(trainer.step(test::numbers({batch, 2}, 1)).learning_rate == doctest::Approx(9e-3));
}

namespace {

/// The batch's mean output towards the data's mean: rows count for each other.
struct MeanObjective {
  static constexpr std::array metrics{Metric{"distance"}};
  [[nodiscard]] static constexpr bool needs_jumps() { return false; }

  template <class N>
  [[nodiscard]] Var<Values> output(const N& net, const FlowBatchOf<N>& rows,
                                   Tape<double>& tape) const {
    return net(Var(tape, rows.noise), Var(tape, rows.t), Var(tape, rows.t));
  }
  [[nodiscard]] RowLosses<double, Cpu, 1, 1> losses(const Values& y, const Values& x) const {
    const double n = static_cast<double>(y.rows());
    double means[2] = {};
    for (std::size_t i = 0; i < y.size(); ++i) means[i % 2] += (y[i] - x[i]) / n;
    const double square = means[0] * means[0] + means[1] * means[1];
    RowLosses<double, Cpu, 1, 1> result{Tensor<double>::full({y.rows()}, square),
                                        {{{0, Values(y.shape())}}},
                                        {Values::full({y.rows()}, std::sqrt(square))}};
    for (std::size_t i = 0; i < y.size(); ++i) result.outputs[0].gradient[i] = 2 * means[i % 2] / n;
    return result;
  }
};
static_assert(BatchObjective<MeanObjective, SmallNet> && !BatchObjective<MeanFlow, SmallNet>);

}  // namespace

TEST_CASE("losses that couple rows do not depend on tiles, and their gradient is a derivative") {
  const Values x = test::numbers({batch, 2}, 7);
  const auto stepped = [&](std::size_t tile_rows) {
    MeanFlowTrainer trainer(make_net(), {.batch = batch, .seed = 11, .tile_rows = tile_rows},
                            Recipe<MeanObjective>{});
    const StepReport report = trainer.step(x);
    return std::pair(report, trainer.gradient().clone());
  };
  const auto in_one = stepped(batch);
  const StepReport& whole = in_one.first;
  const Values& gradient = in_one.second;
  CHECK(whole.metrics["distance"] == doctest::Approx(std::sqrt(whole.loss)));
  for (const std::size_t tile_rows : {1, 5, 8}) {
    const auto [report, parts] = stepped(tile_rows);
    CHECK(report.loss == doctest::Approx(whole.loss).epsilon(1e-13));
    CHECK(largest_difference(parts, gradient) <= 1e-13);
  }
  // Along the gradient itself.
  const auto loss_at = [&](double step) {
    SmallNet net = make_net();
    for (std::size_t i = 0; i < gradient.size(); ++i)
      net.parameters().values().data()[i] += step * gradient[i];
    MeanFlowTrainer trainer(net, {.batch = batch, .seed = 11}, Recipe<MeanObjective>{});
    return trainer.step(x).loss;
  };
  const double slope = (loss_at(1e-4) - loss_at(-1e-4)) / 2e-4;
  CHECK(slope == doctest::Approx(test::inner_product(gradient, gradient)).epsilon(1e-6));
  MeanFlowTrainer trainer(make_net(), {.batch = batch}, Recipe<MeanObjective>{});
  struct Source {
    [[nodiscard]] Shape row_shape() const { return {2}; }
    void fill(Values& to, std::uint64_t seed, std::uint64_t step) const {
      std::ranges::copy(test::numbers(to.shape(), seed + step).span(), to.data());
    }
  };
  CHECK(trainer.evaluate(Source{}, 2).loss > 0);
}

TEST_CASE("an evaluation sees the averages and the step, and leaves the rows of the last step") {
  Seen seen;
  MeanFlowTrainer trainer(
      make_net(), {.steps = 9, .batch = batch, .averages = {ConstantEma{1}}, .tile_rows = 30},
      Recipe<Watching>{.objective = {&seen}});
  const Values x = test::numbers({batch, 2}, 1);
  trainer.step(x);
  const double first = trainer.rows().loss()[0];
  struct Source {
    [[nodiscard]] Shape row_shape() const { return {2}; }
    void fill(Values& to, std::uint64_t, std::uint64_t) const {
      std::ranges::copy(test::numbers(to.shape(), 5).span(), to.data());
    }
  };
  static_cast<void>(trainer.evaluate(Source{}));
  CHECK(seen.step == 1);
  CHECK(seen.averages == 1);
  CHECK(seen.teacher == seen.student);
  CHECK(trainer.rows().loss()[0] == first);
}

TEST_CASE("a learning rate that is negative or not finite is refused") {
  auto trainer = make_trainer(
      batch, {.learning_rate = {.function = [](std::uint64_t, std::uint64_t) { return NAN; }}});
  CHECK_THROWS_WITH_AS(trainer.step(test::numbers({batch, 2}, 1)),
                       "the learning rate of step 0 is nan, but must be finite and at least 0",
                       SettingError);
}
