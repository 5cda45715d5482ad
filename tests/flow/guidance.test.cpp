// SPDX-License-Identifier: MIT
#include <limits>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/flow/any_flow.hpp>
#include <meanflow/flow/guidance.hpp>
#include <meanflow/flow/mean_flow.hpp>
#include <meanflow/flow/sampler.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/ops/embedding.hpp>

using namespace meanflow;
using test::numbers;

namespace {

/// u = z + table[label], with labels 0, 1 and the null class 2.
struct LabelledNet {
  using value_type = double;
  using device_type = Cpu;
  using condition_type = LabelCondition<double>;
  LabelledNet() : table(store.add("table", {3, 2})) {
    for (std::size_t i = 0; i < 6; ++i) table.data()[i] = static_cast<double>(1 + i * i);
  }
  [[nodiscard]] const Parameters<double>& parameters() const { return store; }
  [[nodiscard]] std::int32_t null_class() const { return 2; }
  template <class X>
  [[nodiscard]] X operator()(const X& z, const X&, const X&, const condition_type& c) const {
    return z + class_embedding(table, c.labels, z);
  }
  Parameters<double> store{};
  Parameter<double> table;
};

struct NetWithoutNullClass : LabelledNet {
  void null_class() const = delete;
};

constexpr std::size_t rows = 4;

/// Labels 0, 1, null, 1 at the times 0.1, 0.3, 0.5, 0.9.
using Batch = FlowBatchOf<LabelledNet>;

Batch make_batch(std::size_t jumps = 2) {
  Batch batch{numbers({rows, 2}, 1),
              numbers({rows, 2}, 2),
              Tensor<double>::from({rows, 1}, {0.05, 0.1, 0.5, 0.9}),
              Tensor<double>::from({rows, 1}, {0.1, 0.3, 0.5, 0.9}),
              jumps,
              {}};
  batch.condition.labels = Tensor<std::int32_t>::from({rows}, {0, 1, 2, 1});
  return batch;
}

void check_refused(const Guidance& guidance, const char* message) {
  CHECK_THROWS_WITH_AS(guidance.check(), message, SettingError);
}

struct ByValue {
  using value_type = double;
  using device_type = Cpu;
  using condition_type = LabelCondition<double>;
  const LabelledNet& net;
  [[nodiscard]] Parameters<double> parameters() const { return net.parameters(); }
  [[nodiscard]] std::int32_t null_class() const { return 2; }
  template <class X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t,
                             const condition_type& condition) const {
    return net(z, r, t, condition);
  }
};

}  // namespace

TEST_CASE(
    "guidance mixes v with the net's own velocities, within the interval and where a label "
    "is left") {
  const LabelledNet net;
  const Batch batch = make_batch();
  const double omega = 1.5, kappa = 0.25;
  const Guidance guidance{.omega = omega, .kappa = kappa, .t_start = 0.2, .t_end = 0.95};
  const Tensor<double> v = guided_velocity(guidance, net, batch);
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t c = 0; c < 2; ++c) {
      const std::size_t i = 2 * row + c;
      const bool guides = row == 1 || row == 3;
      const double null = batch.z[i] + net.table.data()[4 + c];
      const double of_class = batch.z[i] + net.table.data()[2 + c];
      const double expected =
          guides ? omega * batch.v[i] + (1 - omega - kappa) * null + kappa * of_class : batch.v[i];
      CHECK(v[i] == doctest::Approx(expected).epsilon(1e-14));
    }
}

TEST_CASE("a guided objective sees the guided velocity and nothing else changed") {
  const LabelledNet net;
  const Guided<MeanFlow> guided{.guidance = {.omega = 2, .kappa = 0.5}};
  const Batch batch = make_batch();
  Batch by_hand = batch;
  by_hand.v = guided_velocity(guided.guidance, net, batch);
  Tape<double> tape;
  const ConstantWeighting weighting;
  const StepContext<LabelledNet, ConstantWeighting> context{tape, weighting, rows};
  const auto a = guided(net, batch, context), b = MeanFlow{}(net, by_hand, context);
  CHECK(test::same_bits(a.outputs[0].gradient, b.outputs[0].gradient));
  const auto plain = MeanFlow{}(net, batch, context);
  constexpr std::size_t velocity_error = 1;
  CHECK(a.metrics[velocity_error][1] == plain.metrics[velocity_error][1]);
  CHECK(a.metrics[velocity_error][1] != b.metrics[velocity_error][1]);
}

TEST_CASE("guidance without effect leaves v as it is") {
  const Tensor<double> v = guided_velocity({}, LabelledNet{}, make_batch());
  for (std::size_t i = 0; i < v.size(); ++i)
    CHECK(v[i] == doctest::Approx(make_batch().v[i]).epsilon(1e-14));
}

TEST_CASE("a guided objective needs jumps if the objective in it does") {
  CHECK(needs_jumps(Guided<MeanFlow>{}));
  CHECK_FALSE(needs_jumps(Guided<FlowMatching>{}));
  CHECK(instantaneous(Guided<AnyFlow>{.objective = {FlowMatching{}}}));
}

TEST_CASE("guidance at sampling is u(null) + scale (u(class) - u(null))") {
  const LabelledNet net;
  const GuidedSampling guided(net, 3);
  static_assert(Net<GuidedSampling<LabelledNet>>);
  const Tensor<double> noise = numbers({2, 2}, 3);
  const LabelCondition<double> condition{Tensor<std::int32_t>::from({2}, {0, 1})};
  const Tensor<double> x = sample(guided, noise, 1, condition);
  for (std::size_t row = 0; row < 2; ++row)
    for (std::size_t c = 0; c < 2; ++c) {
      const std::size_t i = 2 * row + c;
      const double null = noise[i] + net.table.data()[4 + c];
      const double of_class = noise[i] + net.table.data()[2 * row + c];
      CHECK(x[i] == doctest::Approx(noise[i] - (null + 3 * (of_class - null))).epsilon(1e-14));
    }
}

TEST_CASE("guidance at sampling takes nets that give their parameters by value") {
  const LabelledNet net;
  const ByValue by_value{net};
  const GuidedSampling guided(by_value, 3);
  static_assert(!std::is_reference_v<decltype(guided.parameters())>);
  CHECK(guided.parameters().flat_size() == net.parameters().flat_size());
}

TEST_CASE("dropping conditions exactly takes the last rows, those with r = t first") {
  const DroppedRows rule = ConditionDropout{.rate = 0.25, .count = DropCount::exact}.rule(20, 1);
  for (std::size_t row = 0; row < 20; ++row) CHECK(rule(row, 7) == (row >= 15));
  const DroppedRows none = ConditionDropout{.count = DropCount::exact}.rule(20, 1);
  for (std::size_t row = 0; row < 20; ++row) CHECK_FALSE(none(row, 7));
}

TEST_CASE("an exact share that is no whole number of rows is exact in the mean") {
  const DroppedRows rule = ConditionDropout{.rate = 0.1, .count = DropCount::exact}.rule(14, 1);
  std::size_t dropped = 0;
  for (std::uint64_t step = 0; step < 1000; ++step) {
    std::size_t of_step = 0;
    for (std::size_t row = 0; row < 14; ++row) of_step += rule(row, step);
    CHECK((of_step == 1 || of_step == 2));
    dropped += of_step;
  }
  CHECK(static_cast<double>(dropped) / 14000 == doctest::Approx(0.1).epsilon(0.04));
}

TEST_CASE("dropping conditions by chance meets the rate on average and repeats itself") {
  const ConditionDropout dropout{.rate = 0.25};
  std::size_t dropped = 0;
  for (std::uint64_t step = 0; step < 100; ++step)
    for (std::size_t row = 0; row < 100; ++row) {
      dropped += dropout.rule(100, 1)(row, step);
      CHECK(dropout.rule(100, 1)(row, step) == dropout.rule(200, 1)(row, step));
    }
  CHECK(dropped > 2300);
  CHECK(dropped < 2700);
}

TEST_CASE("what cannot work is refused in one sentence") {
  const double none = std::numeric_limits<double>::quiet_NaN();
  check_refused({.omega = none}, "Guidance: omega is nan, but must be finite");
  check_refused({.kappa = 1}, "Guidance: kappa is 1.000000, but must be in [0, 1)");
  check_refused({.t_start = 0.5, .t_end = 0.25},
                "Guidance: t_start is 0.500000, but must be at most t_end, which is 0.250000");
  CHECK_THROWS_WITH_AS(ConditionDropout{.rate = 1.5}.check(),
                       "ConditionDropout: rate is 1.500000, but must be in [0, 1]", SettingError);
  const NetWithoutNullClass net;
  CHECK_THROWS_WITH_AS((GuidedSampling(net, 2)),
                       "guidance at sampling needs a null condition, but the net has none",
                       SettingError);
  Batch batch = make_batch();
  batch.condition.labels = {};
  CHECK_THROWS_WITH_AS((void)guided_velocity({}, LabelledNet{}, batch),
                       "guidance: the batch comes without the condition that the net is guided by",
                       ShapeError);
}

TEST_CASE("conditions of floats are dropped and guided as labels are") {
  using Net = Mlp<double>;
  const Net net({.hidden = 4, .layers = 1, .condition = 3});
  const auto null = null_condition_of(net, "test");
  REQUIRE(null.values.shape() == Shape{1, 3});
  VectorCondition<double> given{numbers({rows, 3}, 5)};
  for (std::size_t c = 0; c < 3; ++c) given.values[3 + c] = 0;
  const auto is_null = null_rows<Cpu>(given, null, rows);
  for (std::size_t row = 0; row < rows; ++row) CHECK(is_null[row] == (row == 1));
  const auto without = with_null<Cpu>(given, null, rows);
  for (const double value : without.values.span()) CHECK(value == 0);
  CHECK(given.values[0] != 0);
  CHECK_THROWS_WITH_AS((void)null_condition_of(Net({.hidden = 4, .layers = 1}), "test"),
                       "Mlp: condition is 0, so there is no null condition", SettingError);
}
