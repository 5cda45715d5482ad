// SPDX-License-Identifier: MIT
// Recipes beyond the default one, step by step beside the plain loops: other optimizers, groups,
// several outputs, losses that couple rows, conditions of numbers, held-out losses.
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/cuda.hpp>

using namespace meanflow;

namespace {

constexpr std::size_t rows = 12;

/// Two outputs of one trunk; told two numbers.
template <class Device>
class TwoOutputNet {
 public:
  using value_type = double;
  using device_type = Device;
  using condition_type = VectorCondition<double, Device>;

  [[nodiscard]] const Parameters<double, Device>& parameters() const { return parameters_; }

  template <class X>
  [[nodiscard]] std::array<X, 2> both(const X& z, const X& r, const X& t,
                                      const condition_type& condition) const {
    const X told = constant_like(z, condition.values);
    const X x = in_(concat(z, r, t, told), Silu{});
    return {u_(x), v_(x)};
  }
  template <class X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t,
                             const condition_type& condition) const {
    return both(z, r, t, condition)[0];
  }

 private:
  Parameters<double, Device> parameters_{/*seed=*/1};
  Linear<double, Device> in_{parameters_, "in", 6, 16}, u_{parameters_, "u", 16, 2},
      v_{parameters_, "v", 16, 2};
};

struct TwoOutputObjective {
  static constexpr std::array metrics{Metric{"squared_error"}, Metric{"other_error"}};

  template <class N, class W>
  [[nodiscard]] auto operator()(const N& net, const FlowBatchOf<N>& batch,
                                const StepContext<N, W>& context) const {
    using Device = typename N::device_type;
    const auto [z, r, t] = inputs_along(batch, batch.v.rows(0, batch.jump_rows), context.tape);
    const auto [u, v] = net.both(z, r, t, batch.condition);
    auto of_u = mean_flow_losses(context, batch, velocity_and_jvp(u));
    auto of_v = squared_error(context, v, batch.v);
    accumulate(Device{}, of_u.loss.size(), of_v.loss.data(), of_u.loss.data());
    return RowLosses<double, Device, 2, 2>{
        of_u.loss, {of_u.outputs[0], of_v.output}, {of_u.metrics[0], of_v.squared_error}};
  }
};

/// The square of the mean of all outputs, which no row knows alone.
struct MeanObjective {
  static constexpr std::array metrics{Metric{"mean"}};
  [[nodiscard]] static constexpr bool needs_jumps() { return false; }

  template <class N>
  [[nodiscard]] auto output(const N& net, const FlowBatchOf<N>& batch,
                            Tape<double, typename N::device_type>& tape) const {
    const Var z(tape, batch.z), r(tape, batch.r), t(tape, batch.t);
    return net(z, r, t, batch.condition);
  }

  template <class Device>
  [[nodiscard]] RowLosses<double, Device, 1, 1> losses(const Tensor<double, Device>& x,
                                                       const Tensor<double, Device>&) const {
    const Tensor<double> host = to_host(x);
    double mean = 0;
    for (const double value : host.span()) mean += value / static_cast<double>(host.size());
    RowLosses<double, Device, 1, 1> result{
        Tensor<double, Device>::full({x.rows()}, mean * mean),
        {{{0, Tensor<double, Device>::full(x.shape(), 2 * mean / static_cast<double>(x.size()))}}},
        {Tensor<double, Device>::full({x.rows()}, mean)}};
    return result;
  }
};

template <class Device>
[[nodiscard]] VectorCondition<double, Device> told(std::uint64_t seed, std::size_t count = rows) {
  return {to_device<Device>(normal_noise<double>({count, 2}, seed + 100))};
}

struct Outcome {
  std::vector<double> numbers;  // losses and metrics of the steps, then the parameters
};

template <class Trainer>
void add(Outcome& outcome, const StepReport& report, const Trainer& trainer) {
  outcome.numbers.push_back(report.loss);
  for (std::size_t m = 0; m < report.metrics.size(); ++m)
    outcome.numbers.push_back(static_cast<double>(report.metrics.value(m)));
  if (report.step < 5) return;
  const Tensor<double> values = to_host(trainer.net().parameters().values());
  outcome.numbers.insert(outcome.numbers.end(), values.span().begin(), values.span().end());
}

template <class Device, class R>
[[nodiscard]] Outcome outcome_of(R recipe, TrainerSettings settings) {
  MeanFlowTrainer trainer(TwoOutputNet<Device>(), settings, std::move(recipe));
  Outcome outcome;
  for (std::uint64_t step = 0; step < 6; ++step)
    add(outcome,
        trainer.step(to_device<Device>(normal_noise<double>({rows, 2}, step + 1)),
                     told<Device>(step)),
        trainer);
  struct HeldOut {
    using condition_type = VectorCondition<double>;
    [[nodiscard]] Shape row_shape() const { return {2}; }
    void fill(Tensor<double>& x, condition_type& condition, std::uint64_t seed,
              std::uint64_t step) const {
      condition = told<Cpu>(seed + step, x.rows());
      x = normal_noise<double>(x.shape(), seed + step);
    }
  };
  outcome.numbers.push_back(trainer.evaluate(HeldOut{}, 2).loss);
  return outcome;
}

template <class R>
void expect_same_on_device(const R& recipe, const TrainerSettings& settings) {
  const Outcome expected = outcome_of<Reference>(recipe, settings);
  const Outcome found = outcome_of<Cuda>(recipe, settings);
  REQUIRE(found.numbers.size() == expected.numbers.size());
  for (std::size_t i = 0; i < found.numbers.size(); ++i) {
    INFO("number ", i);
    CHECK(std::abs(found.numbers[i] - expected.numbers[i]) <=
          1e-9 * (1 + std::abs(expected.numbers[i])));
  }
}

[[nodiscard]] TrainerSettings settings() {
  return {.steps = 6, .batch = rows, .learning_rate = {.peak = 1e-2}, .clip_norm = 1};
}

[[nodiscard]] bool is_bias(const ParameterEntry& entry) { return entry.shape.rank() == 1; }

}  // namespace

TEST_CASE(
    "on a device as with plain loops: Muon, with groups, two outputs, conditions of numbers") {
  Recipe<TwoOutputObjective, AdaptiveWeighting, LinearPath, PairedTimes<LogitNormalTime>, Muon>
      recipe;
  recipe.optimizer.weight_decay = 0.1;
  TrainerSettings with_groups = settings();
  with_groups.groups = {
      {.contains = is_bias, .rate_scale = 0.5, .decay_scale = 0},
      {.contains = [](const ParameterEntry& e) { return e.name == "v.weight"; }, .frozen = true}};
  expect_same_on_device(recipe, with_groups);
}

TEST_CASE("on a device as with plain loops: SGD, with accumulated gradients") {
  Recipe<TwoOutputObjective, ConstantWeighting, LinearPath, PairedTimes<LogitNormalTime>, Sgd>
      recipe;
  recipe.optimizer.momentum = 0.9;
  TrainerSettings accumulated = settings();
  accumulated.batch = rows / 2;
  accumulated.gradient_accumulation = 2;
  expect_same_on_device(recipe, accumulated);
}

TEST_CASE("on a device as with plain loops: a loss that couples rows") {
  expect_same_on_device(Recipe<MeanObjective>{}, settings());
}

TEST_CASE("on a device as with plain loops: data paired with noise by optimal transport") {
  expect_same_on_device(
      Recipe<TwoOutputObjective, ConstantWeighting, LinearPath, PairedTimes<LogitNormalTime>, Adam,
             SingleProcess, OptimalTransport>{},
      settings());
}

TEST_CASE("on a device as with plain loops: objectives that are chosen at run time") {
  AlphaFlow early = alpha_flow();
  early.gap.begin = 0.2;
  for (const AnyFlow& objective :
       {AnyFlow{early}, AnyFlow{so_flow()}, AnyFlow{SplitMeanFlow{}}, AnyFlow{shortcut()},
        AnyFlow{
            MeanFlow{.tangent = {.mixing = 0.5, .normalise = 0.1, .clip = 0.5, .warmup_steps = 4}}},
        AnyFlow{MeanFlow{.tangent = {.difference = 1e-3}}}}) {
    INFO("objective ", objective.objective.index());
    Recipe<AnyFlow, AdaptiveWeighting> recipe;
    recipe.objective = objective;
    expect_same_on_device(recipe, settings());
  }
}
