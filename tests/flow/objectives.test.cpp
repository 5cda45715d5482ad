// SPDX-License-Identifier: MIT
// The objectives beside Mean Flows, next to their formulas written out in double.
#include <array>
#include <cmath>
#include <functional>
#include <vector>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/flow/alpha_flow.hpp>
#include <meanflow/flow/any_flow.hpp>
#include <meanflow/flow/distillation.hpp>
#include <meanflow/flow/split_mean_flow.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/nn/x_prediction.hpp>
#include <meanflow/ops/elementwise.hpp>

using namespace meanflow;
using test::message_of;
using test::numbers;
using test::Values;

static_assert(Objective<AlphaFlow, Mlp<float>> && Objective<SplitMeanFlow, Mlp<float>>);
static_assert(Objective<Distilled<MeanFlow, Mlp<float>>, Mlp<float>>);
static_assert(Objective<Guided<AlphaFlow>, Mlp<float>> && TimeSampler<DyadicTimes>);
static_assert(Net<XPrediction<Mlp<float>>>);

namespace {

/// u = (z r + t^2) w, with a weight of 1 at first.
class KnownNet {
 public:
  using value_type = double;
  using device_type = Cpu;

  KnownNet() { weight_.data()[0] = 1; }
  [[nodiscard]] const Parameters<double>& parameters() const { return parameters_; }
  template <class X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t) const {
    return (z * r + square(t)) * broadcast_rows(weight_, t);
  }

 private:
  Parameters<double> parameters_;
  Parameter<double> weight_ = parameters_.add("weight", {1});
};

double u_of(double z, double r, double t, double weight = 1) { return (z * r + t * t) * weight; }

constexpr std::size_t rows = 6, jumps = 4;

FlowBatchOf<KnownNet> make_batch() {
  FlowBatchOf<KnownNet> batch{numbers({rows, 2}, 1),
                              numbers({rows, 2}, 2),
                              numbers({rows, 1}, 3, 0, 0.5),
                              numbers({rows, 1}, 4, 0.5, 1),
                              jumps,
                              {}};
  for (std::size_t i = jumps; i < rows; ++i) batch.r[i] = batch.t[i];
  batch.r[1] = batch.t[1];  // may be so, also in the first rows
  batch.draws = {5, Tensor<std::uint64_t>::full({1}, 7),
                 Tensor<std::uint64_t>::from({rows}, {10, 11, 12, 13, 14, 15})};
  return batch;
}

constexpr AdaptiveWeighting weighting{.p = 0.75, .epsilon = 0.01, .reduction = Reduction::mean};

template <class O, class N = KnownNet>
auto losses_of(const O& objective, const FlowBatchOf<N>& batch, Tape<double>& tape,
               std::uint64_t step = 0, std::span<const Values> averages = {}, const N& net = {}) {
  return objective(net, batch,
                   StepContext<N, AdaptiveWeighting>{tape, weighting, rows, step, 100, averages});
}

struct Gap {
  double share = 1;
  bool divided = false;
};

/// Compares with target(row, column) and a gap in the rows that jump.
template <class L>
void expect_regression(const L& losses, const FlowBatchOf<KnownNet>& batch,
                       const std::function<double(std::size_t, std::size_t)>& target,
                       Gap gap = {}) {
  for (std::size_t i = 0; i < rows; ++i) {
    const bool jumped = i < jumps && batch.r[i] < batch.t[i];
    const double a = jumped ? gap.share : 1, by = gap.divided ? 1 : a;
    std::array<double, 2> error{};
    double square = 0, velocity = 0, slope = 0;
    for (std::size_t c = 0; c < 2; ++c) {
      const double u = u_of(batch.z[2 * i + c], batch.r[i], batch.t[i]);
      error[c] = (u - target(i, c)) / (gap.divided ? a : 1);
      slope += std::pow(batch.v[2 * i + c] - u + (u - target(i, c)) / a, 2);
      square += error[c] * error[c];
      velocity += (u - batch.v[2 * i + c]) * (u - batch.v[2 * i + c]);
    }
    const double weight = 1 / (2 * std::pow(square / 2 + 0.01, 0.75));
    CHECK(losses.loss[i] == doctest::Approx(by * weight * square));
    for (std::size_t c = 0; c < 2; ++c)
      CHECK(losses.outputs[0].gradient[2 * i + c] ==
            doctest::Approx(2 * by * weight * error[c] / rows));
    CHECK(losses.metrics[0][i] == doctest::Approx(square));
    CHECK(losses.metrics[1][i] == doctest::Approx(velocity));
    const double h = batch.t[i] - batch.r[i];
    CHECK(losses.metrics[2][i] == doctest::Approx(jumped ? std::sqrt(slope) / h : 0));
  }
}

/// a v + (1 - a) u(z - a (t - r) v, r, t - a (t - r))
double mixture(const FlowBatchOf<KnownNet>& batch, double a, std::size_t i, std::size_t c) {
  const double z = batch.z[2 * i + c], v = batch.v[2 * i + c], r = batch.r[i], t = batch.t[i];
  if (i >= jumps || r == t) return v;
  const double walked = a * (t - r);
  return a * v + (1 - a) * u_of(z - walked * v, r, t - walked);
}

}  // namespace

TEST_CASE("the gap falls as it should") {
  const GapSchedule sigmoid{};
  CHECK(sigmoid(0, 100) == doctest::Approx(1 / (1 + std::exp(-12.5))));
  CHECK(sigmoid(50, 100) == doctest::Approx(0.5));
  CHECK(sigmoid(60, 100) == doctest::Approx(1 / (1 + std::exp(2.5))));
  const GapSchedule exponential{
      .shape = GapSchedule::Shape::exponential, .from = 1, .to = 1e-4, .begin = 0.2, .end = 0.6};
  CHECK(exponential(10, 100) == 1);
  CHECK(exponential(40, 100) == doctest::Approx(1e-2));
  CHECK(exponential(90, 100) == doctest::Approx(1e-4));
  CHECK(message_of<SettingError>([] { GapSchedule{.from = 0.1, .to = 0.5}.check(); }) ==
        "GapSchedule: it goes from 0.100000 to 0.500000, but must fall within [0, 1], and an "
        "exponential one not to 0");
  CHECK(message_of<SettingError>([] { GapSchedule{.begin = 0.5, .end = 0.5}.check(); }) ==
        "GapSchedule: begin is 0.500000 and end 0.500000, but must be in order and within [0, 1]");
}

TEST_CASE("alpha-Flow mixes the velocity with what the net says of the earlier part") {
  const auto batch = make_batch();
  for (const std::uint64_t step : {40, 50, 65}) {
    INFO("step ", step);
    Tape<double> tape;
    const double a = GapSchedule{}(step, 100);
    expect_regression(losses_of(alpha_flow(), batch, tape, step), batch,
                      [&](std::size_t i, std::size_t c) { return mixture(batch, a, i, c); },
                      {.share = a});
  }
}

TEST_CASE("alpha-Flow begins as flow matching on trajectories and ends as Mean Flows") {
  const auto batch = make_batch();
  Tape<double> tape, other;
  expect_regression(losses_of(alpha_flow(), batch, tape, 0), batch,
                    [&](std::size_t i, std::size_t c) { return batch.v[2 * i + c]; });
  // At step 28 the gap is 0.996: nearly flow matching, and counted as such.
  expect_regression(losses_of(alpha_flow(), batch, tape, 28), batch,
                    [&](std::size_t i, std::size_t c) { return batch.v[2 * i + c]; });
  const auto late = losses_of(alpha_flow(), batch, tape, 99),
             mean_flow = losses_of(MeanFlow{}, batch, other);
  CHECK(test::same_bits(late.outputs[0].gradient, mean_flow.outputs[0].gradient));
  CHECK(message_of<SettingError>([] { AlphaFlow{.derivative_below = 0}.check(); }) ==
        "AlphaFlow: the gap falls to 0, where there is nothing to learn from: set "
        "derivative_below above 0");
  CHECK(message_of<SettingError>([] { AlphaFlow{.derivative_below = 0.6}.check(); }) ==
        "AlphaFlow: derivative_below is 0.600000, but must be in [0, 0.5]");
  CHECK(message_of<SettingError>([] { AlphaFlow{.least_gap = 0}.check(); }) ==
        "AlphaFlow: least_gap is 0.000000, but must be in (0, 1]");
  CHECK(message_of<SettingError>([] { GapSchedule{.steepness = 0}.check(); }) ==
        "GapSchedule: steepness is 0.000000, but must be finite and above 0");
  CHECK(message_of<SettingError>([] {
          GapSchedule{.shape = GapSchedule::Shape::exponential, .to = 0}.check();
        }).find("an exponential one not to 0") != std::string::npos);
}

TEST_CASE("SoFlow divides the error by the gap, and approaches the error of Mean Flows") {
  const auto batch = make_batch();
  for (const std::uint64_t step : {0, 30, 100}) {
    INFO("step ", step);
    Tape<double> tape;
    const double a = so_flow().gap(step, 100);
    expect_regression(losses_of(so_flow(), batch, tape, step), batch,
                      [&](std::size_t i, std::size_t c) { return mixture(batch, a, i, c); },
                      {.share = a, .divided = true});
  }
  AlphaFlow narrow = so_flow();
  narrow.gap.from = narrow.gap.to = 1e-6;
  narrow.least_gap = 1e-9;
  Tape<double> tape, other;
  const auto near = losses_of(narrow, batch, tape), limit = losses_of(MeanFlow{}, batch, other);
  CHECK(test::relative_error(near.outputs[0].gradient, limit.outputs[0].gradient) <= 1e-5);
  for (std::size_t i = 0; i < jumps; ++i)
    if (batch.r[i] < batch.t[i])
      CHECK(near.metrics[2][i] == doctest::Approx(limit.metrics[2][i]).epsilon(1e-5));
}

TEST_CASE("a gap has a least length in time") {
  const auto batch = make_batch();
  AlphaFlow objective = so_flow();
  objective.gap.from = objective.gap.to = 1e-3;
  objective.least_gap = 0.1;
  Tape<double> tape;
  const auto losses = losses_of(objective, batch, tape);
  for (std::size_t i = 0; i < jumps; ++i) {
    const double length = batch.t[i] - batch.r[i];
    const double a = length <= 0.1 ? 1 : 0.1 / length;
    double square = 0;
    for (std::size_t c = 0; c < 2; ++c) {
      const double u = u_of(batch.z[2 * i + c], batch.r[i], batch.t[i]);
      square += std::pow((u - mixture(batch, a, i, c)) / a, 2);
    }
    CHECK(losses.metrics[0][i] == doctest::Approx(square));
  }
}

TEST_CASE("SplitMeanFlow joins the parts of an interval") {
  const auto batch = make_batch();
  Tape<double> tape;
  std::array<double, jumps> share{};
  for (std::size_t i = 0; i < jumps; ++i)
    share[i] = RandomStream(5, Purpose::objective, 7, 10 + i).uniform<double>();
  const auto joined = [&](std::size_t i, std::size_t c, double l, double weight) {
    const double z = batch.z[2 * i + c], r = batch.r[i], t = batch.t[i], s = t - l * (t - r);
    if (i >= jumps || r == t) return batch.v[2 * i + c];
    const double u_2 = u_of(z, s, t, weight), u_1 = u_of(z - (t - s) * u_2, r, s, weight);
    return l * u_2 + (1 - l) * u_1;
  };
  expect_regression(
      losses_of(SplitMeanFlow{}, batch, tape), batch,
      [&](std::size_t i, std::size_t c) { return joined(i, c, share[i % jumps], 1); });
  expect_regression(losses_of(SplitMeanFlow{.halves = true}, batch, tape), batch,
                    [&](std::size_t i, std::size_t c) { return joined(i, c, 0.5, 1); });
  // A shortcut's parts come from an average of the parameters, in which the weight is 2.
  auto average = Values::zeros({16});
  average[0] = 2;
  expect_regression(losses_of(shortcut(), batch, tape, 0, std::span(&average, 1)), batch,
                    [&](std::size_t i, std::size_t c) { return joined(i, c, 0.5, 2); });
  CHECK(message_of<SettingError>([&] { (void)losses_of(shortcut(1), batch, tape); }) ==
        "SplitMeanFlow: average is 1, but must be below the number of averages, which is 0");
}

TEST_CASE("dyadic times are intervals of the lengths 2^-k") {
  const DyadicTimes times{.levels = 3};
  std::array<int, 3> found{};
  std::array<int, 4> at_quarter{};
  for (std::uint64_t row = 0; row < 3000; ++row) {
    RandomStream stream(1, Purpose::times, 0, row);
    const auto [r, t] = times.sample(stream, true);
    const float width = t - r;
    const int level = width == 1 ? 0 : width == 0.5f ? 1 : 2;
    CHECK((width == 1 || width == 0.5f || width == 0.25f));
    CHECK(r / width == std::floor(r / width));
    CHECK((r >= 0 && t <= 1));
    ++found[static_cast<std::size_t>(level)];
    if (level == 2) ++at_quarter[static_cast<std::size_t>(4 * r)];
  }
  for (const int count : found) CHECK(std::abs(count - 1000) < 120);
  for (const int count : at_quarter) CHECK(std::abs(count - 250) < 60);
  RandomStream stream(1, Purpose::times);
  const auto [r, t] = times.sample(stream, false);
  CHECK(r == t);
  CHECK(message_of<SettingError>([&] { (void)DyadicTimes{.levels = 0}.jump_rows(8, stream); }) ==
        "DyadicTimes: levels is 0, but must be from 1 to 24");
  CHECK(message_of<SettingError>([&] { (void)DyadicTimes{.levels = 25}.jump_rows(8, stream); }) ==
        "DyadicTimes: levels is 25, but must be from 1 to 24");
  CHECK(message_of<SettingError>([&] {
          (void)DyadicTimes{.jump_fraction = 2}.jump_rows(8, stream);
        }) == "jump_fraction is 2.000000, but must be in [0, 1]");
}

TEST_CASE("options of the tangent do what they say") {
  const auto batch = make_batch();
  // D of the known net along (dz, 0, 1) is r dz + 2 t.
  const auto expect = [&](const TangentOptions& options, double mixing,
                          const std::function<double(double)>& factor) {
    Tape<double> tape;
    const auto losses = losses_of(MeanFlow{.tangent = options}, batch, tape);
    for (std::size_t i = 0; i < rows; ++i) {
      const double r = batch.r[i], t = batch.t[i];
      std::array<double, 2> d{};
      for (std::size_t c = 0; c < 2; ++c) {
        const double z = batch.z[2 * i + c];
        const double dz = mixing * batch.v[2 * i + c] + (1 - mixing) * u_of(z, t, t);
        d[c] = r * dz + 2 * t;
      }
      const double length = std::hypot(d[0], d[1]), by = i < jumps ? factor(length) : 0;
      CHECK(losses.metrics[2][i] == doctest::Approx(by * length).epsilon(1e-6));
      double square = 0;
      for (std::size_t c = 0; c < 2; ++c) {
        const double error =
            u_of(batch.z[2 * i + c], r, t) - (batch.v[2 * i + c] - (t - r) * by * d[c]);
        square += error * error;
      }
      CHECK(losses.metrics[0][i] == doctest::Approx(square).epsilon(1e-6));
    }
  };
  expect({}, 1, [](double) { return 1.0; });
  expect({.mixing = 0.25}, 0.25, [](double) { return 1.0; });
  expect({.mixing = 0}, 0, [](double) { return 1.0; });
  expect({.normalise = 0.1}, 1, [](double length) { return 1 / (length + 0.1); });
  expect({.clip = 1.2}, 1, [](double length) { return std::min(1.0, 1.2 / length); });
  expect({.warmup_steps = 16}, 1, [](double) { return 0.5; });  // at step 7
  expect({.warmup_steps = 4}, 1, [](double) { return 1.0; });
  expect({.difference = 1e-3}, 1, [](double) { return 1.0; });
  expect({.float32 = true}, 1, [](double) { return 1.0; });
  CHECK(message_of<SettingError>([] { MeanFlow{.tangent = {.mixing = 2}}.check(); }) ==
        "TangentOptions: mixing is 2.000000, but must be in [0, 1]");
  CHECK(message_of<SettingError>([] { MeanFlow{.tangent = {.clip = -1}}.check(); }) ==
        "TangentOptions: clip is -1.000000, but must be finite and at least 0");
}

TEST_CASE("a net that predicts data becomes one of velocities") {
  const XPrediction<KnownNet> net{KnownNet{}};
  const Values z = numbers({3, 2}, 1), r = Values::from({3, 1}, {0, 0.01, 0.2}),
               t = Values::from({3, 1}, {1, 0.02, 0.4});
  const Values u = net(z, r, t, {});
  for (std::size_t i = 0; i < 6; ++i) {
    const double time = t[i / 2], x = u_of(z[i], r[i / 2], time);
    CHECK(u[i] == doctest::Approx((z[i] - x) / std::max(time, 0.05)));
  }
  test::expect_op(
      [](const auto&, const auto& z_t, const auto& from, const auto& to) {
        using T = std::remove_cvref_t<decltype(z_t)>;
        if constexpr (std::is_same_v<typename T::device_type, Cpu>)
          return XPrediction<KnownNet>{KnownNet{}}(z_t, from, to, {});
        else
          return (z_t - (z_t * from + square(to))) / to;
      },
      std::array<Values, 3>{numbers({4, 2}, 1), numbers({4, 1}, 2, 0, 0.4),
                            numbers({4, 1}, 3, 0.4, 1)});
  CHECK(message_of<SettingError>([] { XPrediction<KnownNet>(KnownNet{}, 0); }) ==
        "XPrediction: t_min is 0.000000, but must be in (0, 1]");
}

TEST_CASE("a teacher's velocity takes the place of the data's") {
  const KnownNet teacher;
  teacher.parameters()[0].data()[0] = 3;
  const auto batch = make_batch();
  Tape<double> tape, other;
  const auto losses = losses_of(Distilled<MeanFlow, KnownNet>{.teacher = &teacher}, batch, tape);
  FlowBatchOf<KnownNet> taught = batch;
  for (std::size_t i = 0; i < 2 * rows; ++i)
    taught.v[i] = u_of(batch.z[i], batch.t[i / 2], batch.t[i / 2], 3);
  const auto expected = losses_of(MeanFlow{}, taught, other);
  CHECK(test::relative_error(losses.outputs[0].gradient, expected.outputs[0].gradient) <= 1e-14);
  CHECK(losses.metrics[1][0] != expected.metrics[1][0]);  // against the data's velocity
  CHECK(message_of<SettingError>([] { Distilled<MeanFlow, KnownNet>{}.check(); }) ==
        "Distilled: there is no teacher");
}
