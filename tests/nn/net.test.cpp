// SPDX-License-Identifier: MIT
// The concept from both sides.
#include <archetypes.hpp>
#include <doctest/doctest.h>

#include <meanflow/nn/baselines.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/nn/net.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

static_assert(Net<Mlp<float>> && Net<Mlp<double>> && Net<Mlp<float, Reference>>);
static_assert(Net<AffineNet<float>> && Net<test::ArchetypeNet>);
static_assert(DataSource<test::ArchetypeSource, float>);

namespace {

struct Base {
  using value_type = float;
  using device_type = Cpu;
  Parameters<float> store{};
  [[nodiscard]] const Parameters<float>& parameters() const { return store; }
};

struct WithConditions : Base {
  using condition_type = LabelCondition<float>;
  template <class X>
  X operator()(const X& z, const X&, const X&, const LabelCondition<float>&) const {
    return z;
  }
};
static_assert(Net<WithConditions>);

struct WithoutConditionType : Base {
  template <class X>
  X operator()(const X& z, const X&, const X&, const LabelCondition<float>&) const {
    return z;
  }
};
static_assert(!Net<WithoutConditionType>);

struct IgnoresItsCondition : Base {
  using condition_type = LabelCondition<float>;
  template <class X>
  X operator()(const X& z, const X&, const X&) const {
    return z;
  }
};
static_assert(!Net<IgnoresItsCondition>);

struct AnotherConditionType : WithoutConditionType {
  using condition_type = VectorCondition<float>;
};
static_assert(!Net<AnotherConditionType>);

// [docs:own-condition]
/// Sequences of tokens of different lengths.
struct OwnCondition {
  Tensor<float> tokens{};          // (B, L, C)
  Tensor<std::int32_t> lengths{};  // (B)

  static constexpr void fields(auto f, auto&... c) {
    f("tokens", c.tokens...);
    f("lengths", c.lengths...);
  }
};
// [docs:end]
static_assert(Condition<OwnCondition> && Condition<NoCondition<float>> && !Condition<int>);

struct OnlyTensors : Base {
  Tensor<float> operator()(const Tensor<float>& z, const Tensor<float>&,
                           const Tensor<float>&) const {
    return z;
  }
};
static_assert(!Net<OnlyTensors>);

struct OneTime : Base {
  template <class X>
  X operator()(const X& z, const X&) const {
    return z;
  }
};
static_assert(!Net<OneTime>);

struct NotConstant : Base {
  template <class X>
  X operator()(const X& z, const X&, const X&) {
    return z;
  }
};
static_assert(!Net<NotConstant>);

struct AnotherResult : Base {
  template <class X>
  float operator()(const X&, const X&, const X&) const {
    return 0;
  }
};
static_assert(!Net<AnotherResult>);

struct NoParameters {
  using value_type = float;
  using device_type = Cpu;
  template <class X>
  X operator()(const X& z, const X&, const X&) const {
    return z;
  }
};
static_assert(!Net<NoParameters>);

struct NoTypes {
  Parameters<float> store{};
  [[nodiscard]] const Parameters<float>& parameters() const { return store; }
  template <class X>
  X operator()(const X& z, const X&, const X&) const {
    return z;
  }
};
static_assert(!Net<NoTypes>);

struct NoShape {
  void fill(Tensor<float>&, std::uint64_t, std::uint64_t) {}
};
struct NoStep {
  Shape row_shape() { return {2}; }
  void fill(Tensor<float>&, std::uint64_t) {}
};
static_assert(!DataSource<NoShape, float> && !DataSource<NoStep, float>);
static_assert(!DataSource<test::ArchetypeSource, double>);

// Rows and what the net is told about them: row i is (i, -i), of class i % 2.
struct LabelledSource {
  Shape row_shape() { return {2}; }
  void fill(Tensor<float>& x, LabelCondition<float>& condition, std::uint64_t, std::uint64_t) {
    condition.labels = Tensor<std::int32_t>({x.rows()});
    for (std::size_t i = 0; i < x.rows(); ++i) {
      x.row(i)[0] = static_cast<float>(i);
      x.row(i)[1] = -x.row(i)[0];
      condition.labels[i] = static_cast<std::int32_t>(i % 2);
    }
  }
};
static_assert(DataSource<LabelledSource, float, LabelCondition<float>>);
static_assert(!DataSource<LabelledSource, float, VectorCondition<float>>);
static_assert(!DataSource<LabelledSource, float> && !DataSource<LabelledSource, double>);

// The same, which says what it gives, so that any net can be asked whether it is told that.
struct NamedSource : LabelledSource {
  using condition_type = LabelCondition<float>;
};
static_assert(DataSource<NamedSource, float>);

// u = z + table[label]
struct LabelledNet : Base {
  LabelledNet() : table(store.add("table", {3, 2})) {
    for (std::size_t i = 0; i < 6; ++i) table.data()[i] = static_cast<float>(i);
  }
  using condition_type = LabelCondition<float>;
  template <class X>
  X operator()(const X& z, const X&, const X&, const condition_type& condition) const {
    return z + class_embedding(table, condition.labels, z);
  }
  Parameter<float> table;
};
static_assert(Net<LabelledNet>);

}  // namespace

TEST_CASE("evaluate calls nets with and without conditions") {
  const auto z = Tensor<float>::zeros({2, 2}), t = Tensor<float>::full({2, 1}, 1);
  CHECK(evaluate(LabelledNet{}, z, t, t, {Tensor<std::int32_t>::from({2}, {2, 0})})[0] == 4);
  CHECK(evaluate(test::ArchetypeNet(1), z, t, t, {})[0] == 0);
}

TEST_CASE("labels reach a net through the sampler and the trainer") {
  const LabelledNet net;
  const auto noise = Tensor<float>::zeros({4, 2});
  const LabelCondition<float> condition{Tensor<std::int32_t>::from({4}, {2, 0, 1, 2})};
  const auto x = sample(net, noise, 1, condition);
  CHECK(x[0] == -4);
  CHECK(x[2] == 0);
  CHECK(x[4] == -2);

  // Rows with label 1 alone get a gradient in row 1 of the table.
  MeanFlowTrainer trainer(LabelledNet{}, {.batch = 4, .tile_rows = 2});
  const LabelCondition<float> ones{Tensor<std::int32_t>::full({4}, 1)};
  trainer.step(normal_noise({4, 2}, 1), ones);
  CHECK(trainer.gradient()[0] == 0);
  CHECK(trainer.gradient()[2] != 0);
  CHECK(trainer.gradient()[4] == 0);
}

TEST_CASE("fit takes labels from a source that gives nothing without them") {
  MeanFlowTrainer trainer(LabelledNet{}, {.steps = 1, .batch = 4});
  trainer.fit(LabelledSource{});
  CHECK(trainer.gradient()[0] != 0);
  CHECK(trainer.gradient()[2] != 0);
  CHECK(trainer.gradient()[4] == 0);  // of class 2, which the source does not give
}

TEST_CASE("a source is matched with what the net is told by the names of the parts") {
  MeanFlowTrainer labelled(LabelledNet{}, {.steps = 1, .batch = 4});
  labelled.fit(NamedSource{});
  CHECK(labelled.gradient()[2] != 0);
  MeanFlowTrainer untold(test::ArchetypeNet(1), {.steps = 1, .batch = 4});
  CHECK_THROWS_WITH_AS(
      untold.fit(NamedSource{}),
      "the data provide labels, but the net takes nothing (parts are matched by name "
      "and by the type of their numbers)",
      SettingError);
  MeanFlowTrainer told(Mlp<>({.hidden = 4, .layers = 1, .condition = 1}), {.steps = 1, .batch = 4});
  CHECK_THROWS_WITH_AS(
      told.fit(NamedSource{}),
      "the data provide labels, but the net takes values (parts are matched by name "
      "and by the type of their numbers)",
      SettingError);
}

TEST_CASE("conditions are cut with the batch") {
  ImageCondition<float> condition{.labels = Tensor<std::int32_t>::from({3}, {5, 6, 7})};
  CHECK(condition_rows(condition, 1, 3).labels[0] == 6);
  CHECK(condition_rows(condition, 1, 3).augmentation.empty());
  condition.augmentation = Tensor<float>::from({3, 1}, {1, 2, 3});
  CHECK(condition_rows(condition, 2, 3).augmentation[0] == 3);
  const OwnCondition own{.tokens = Tensor<float>::from({2, 1, 2}, {1, 2, 3, 4}),
                         .lengths = Tensor<std::int32_t>::from({2}, {8, 9})};
  CHECK(condition_rows(own, 1, 2).tokens[0] == 3);
  CHECK(condition_rows(own, 1, 2).lengths[0] == 9);
}
