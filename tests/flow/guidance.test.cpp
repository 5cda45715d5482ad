// SPDX-License-Identifier: MIT
#include <limits>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/flow/guidance.hpp>
#include <meanflow/flow/sampler.hpp>
#include <meanflow/ops/embedding.hpp>

using namespace meanflow;
using test::numbers;

namespace {

/// u = z + table[label], with labels 0, 1 and the null class 2.
struct LabelledNet {
  using value_type = double;
  using device_type = Cpu;
  LabelledNet() : table(store.add("table", {3, 2})) {
    for (std::size_t i = 0; i < 6; ++i) table.data()[i] = static_cast<double>(1 + i * i);
  }
  [[nodiscard]] const Parameters<double>& parameters() const { return store; }
  [[nodiscard]] std::int32_t null_class() const { return 2; }
  template <class X>
  [[nodiscard]] X operator()(const X& z, const X&, const X&, const Condition<double>& c) const {
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
FlowBatch<double> make_batch(std::size_t jumps = 2) {
  FlowBatch<double> batch{numbers({rows, 2}, 1),
                          numbers({rows, 2}, 2),
                          Tensor<double>::from({rows, 1}, {0.05, 0.1, 0.5, 0.9}),
                          Tensor<double>::from({rows, 1}, {0.1, 0.3, 0.5, 0.9}),
                          jumps,
                          {}};
  batch.condition.labels = Tensor<std::int32_t>::from({rows}, {0, 1, 2, 1});
  return batch;
}

template <class... Settings>
void check_refused(const Guided<MeanFlow>& guided, const char* message) {
  CHECK_THROWS_WITH_AS(guided.check(), message, SettingError);
}

struct ByValue {
  using value_type = double;
  using device_type = Cpu;
  const LabelledNet& net;
  [[nodiscard]] Parameters<double> parameters() const { return net.parameters(); }
  [[nodiscard]] std::int32_t null_class() const { return 2; }
  template <class X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t,
                             const Condition<double>& condition) const {
    return net(z, r, t, condition);
  }
};

}  // namespace

TEST_CASE(
    "guidance mixes v with the net's own velocities, within the interval and where a label "
    "is left") {
  const LabelledNet net;
  const FlowBatch<double> batch = make_batch();
  const double omega = 1.5, kappa = 0.25;
  const Guided<MeanFlow> guided{.omega = omega, .kappa = kappa, .t_start = 0.2, .t_end = 0.95};
  const Tensor<double> v = guided.guided_velocity(net, batch);
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
  const Guided<MeanFlow> guided{.omega = 2, .kappa = 0.5};
  const FlowBatch<double> batch = make_batch();
  FlowBatch<double> by_hand = batch;
  by_hand.v = guided.guided_velocity(net, batch);
  Tape<double> tape;
  const auto a = guided(net, batch, tape), b = MeanFlow{}(net, by_hand, tape);
  for (std::size_t i = 0; i < a.error.size(); ++i) CHECK(a.error[i] == b.error[i]);
}

TEST_CASE("guidance without effect leaves v as it is") {
  const Tensor<double> v = Guided<MeanFlow>{}.guided_velocity(LabelledNet{}, make_batch());
  for (std::size_t i = 0; i < v.size(); ++i)
    CHECK(v[i] == doctest::Approx(make_batch().v[i]).epsilon(1e-14));
}

TEST_CASE("a guided objective needs jumps if the objective in it does") {
  static_assert(Guided<MeanFlow>::needs_jumps && !Guided<FlowMatching>::needs_jumps);
}

TEST_CASE("guidance at sampling is u(null) + scale (u(class) - u(null))") {
  const LabelledNet net;
  const GuidedSampling guided(net, 3);
  static_assert(Net<GuidedSampling<LabelledNet>>);
  const Tensor<double> noise = numbers({2, 2}, 3);
  const Condition<double> condition{Tensor<std::int32_t>::from({2}, {0, 1}), {}};
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

TEST_CASE("dropping labels exactly takes the last rows, those with r = t first") {
  const DroppedRows rule = LabelDropout{.rate = 0.25}.rule(20, 1);
  for (std::size_t row = 0; row < 20; ++row) CHECK(rule(row, 7) == (row >= 15));
  const DroppedRows none = LabelDropout{}.rule(20, 1);
  for (std::size_t row = 0; row < 20; ++row) CHECK_FALSE(none(row, 7));
  CHECK_THROWS_WITH_AS(static_cast<void>(LabelDropout{.rate = 0.1}.rule(4, 1)),
                       "label dropout: 0.100000 of a batch of 4 rows is not one row: take a larger "
                       "batch, or count by_chance",
                       SettingError);
}

TEST_CASE("dropping labels by chance meets the rate on average and repeats itself") {
  const LabelDropout dropout{.rate = 0.25, .count = DropCount::by_chance};
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
  check_refused({.omega = none}, "Guided: omega is nan, but must be finite");
  check_refused({.kappa = 1}, "Guided: kappa is 1.000000, but must be in [0, 1)");
  check_refused({.t_start = 0.5, .t_end = 0.25},
                "Guided: t_start is 0.500000, but must be at most t_end, which is 0.250000");
  CHECK_THROWS_WITH_AS(LabelDropout{.rate = 1.5}.check(),
                       "LabelDropout: rate is 1.500000, but must be in [0, 1]", SettingError);
  const NetWithoutNullClass net;
  CHECK_THROWS_WITH_AS((GuidedSampling(net, 2)),
                       "guidance at sampling needs a null class, but none was set and the net has "
                       "none",
                       SettingError);
  CHECK_NOTHROW((void)GuidedSampling(net, 2, 2));
  FlowBatch<double> batch = make_batch();
  batch.condition.labels = {};
  CHECK_THROWS_WITH_AS((void)Guided<MeanFlow>{}.guided_velocity(LabelledNet{}, batch),
                       "guidance: a batch of 4 rows has 0 labels", ShapeError);
}
