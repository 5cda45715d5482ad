// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/flow/any_flow.hpp>
#include <meanflow/flow/guidance.hpp>
#include <meanflow/flow/lipschitz_penalty.hpp>
#include <meanflow/flow/mean_flow.hpp>
#include <meanflow/nn/mlp.hpp>

using namespace meanflow;
using test::numbers;
using test::relative_error;
using test::Values;

namespace {

constexpr std::size_t rows = 6, jumps = 4;
using Small = Mlp<double>;

Small make_net() {
  Small net({.hidden = 8, .layers = 2, .seed = 5});
  return net;
}

FlowBatchOf<Small> make_batch() {
  FlowBatchOf<Small> batch{numbers({rows, 2}, 1),
                           numbers({rows, 2}, 2),
                           numbers({rows, 1}, 3, 0, 0.5),
                           numbers({rows, 1}, 4, 0.5, 1),
                           jumps,
                           {},
                           numbers({rows, 2}, 5),
                           numbers({rows, 2}, 6)};
  for (std::size_t i = jumps; i < rows; ++i) batch.r[i] = batch.t[i];
  return batch;
}

template <class O>
auto losses_of(const O& objective, const Small& net, Tape<double>& tape,
               const FlowBatchOf<Small>& batch = make_batch()) {
  static const ConstantWeighting weighting;
  return objective(net, batch, StepContext<Small, ConstantWeighting>{tape, weighting, rows});
}

/// The mean over the batch of what the penalty adds to the losses.
double penalty(const LipschitzPenalty<MeanFlow>& objective, const Small& net) {
  Tape<double> tape;
  const auto with = losses_of(objective, net, tape);
  const auto without = losses_of(MeanFlow{}, net, tape);
  double sum = 0;
  for (std::size_t i = 0; i < rows; ++i) sum += with.loss[i] - without.loss[i];
  return sum / rows;
}

static_assert(Objective<LipschitzPenalty<MeanFlow>, Small>);
static_assert(Objective<LipschitzPenalty<Guided<AnyFlow>>, Small>);
static_assert(Objective<Guided<LipschitzPenalty<MeanFlow>>, Small>);
static_assert(LipschitzPenalty<MeanFlow>::metrics.back().name == "stretch");

}  // namespace

TEST_CASE("the penalty is weight |J d|^2, with d of numbers -1 and 1") {
  const Small net = make_net();
  const auto batch = make_batch();
  const double weight = 0.7;
  Tape<double> tape;
  const auto with = losses_of(LipschitzPenalty<MeanFlow>{.weight = weight}, net, tape);
  const auto without = losses_of(MeanFlow{}, net, tape);
  for (std::size_t i = 0; i < rows; ++i) {
    const double found = with.metrics[3][i];
    CHECK(with.loss[i] - without.loss[i] == doctest::Approx(weight * found * found));
    // One of the two directions that differ by more than their sign, by central differences.
    bool matches = false;
    for (const double second : {-1.0, 1.0}) {
      const double h = 1e-5;
      const auto at = [&](double sign) {
        Values z = batch.z.clone();
        z[2 * i] += sign * h;
        z[2 * i + 1] += sign * second * h;
        return net(z, batch.r, batch.t);
      };
      const Values ahead = at(1), behind = at(-1);
      const double stretch =
          std::hypot(ahead[2 * i] - behind[2 * i], ahead[2 * i + 1] - behind[2 * i + 1]) / (2 * h);
      matches = matches || std::abs(stretch - found) < 1e-7 * (1 + found);
    }
    CHECK(matches);
  }
}

TEST_CASE("its gradient is that of the penalty, by central differences of the parameters") {
  const Small net = make_net();
  const LipschitzPenalty<MeanFlow> objective{.weight = 0.7, .step = 1e-4};
  Tape<double> tape;
  auto gradient = Values::zeros({net.parameters().flat_size()});
  tape.bind(net.parameters(), gradient);
  auto losses = losses_of(objective, net, tape);
  for (std::size_t i = 1; i < losses.outputs.size(); ++i)
    tape.add_gradient(losses.outputs[i].node, std::move(losses.outputs[i].gradient));
  tape.backward();
  const auto values = net.parameters().values();
  Values expected(gradient.shape());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double kept = values[i], h = 1e-5;
    auto moved = values.clone();
    moved[i] = kept + h;
    net.parameters().assign(moved);
    const double above = penalty(objective, net);
    moved[i] = kept - h;
    net.parameters().assign(moved);
    const double below = penalty(objective, net);
    moved[i] = kept;
    net.parameters().assign(moved);
    expected[i] = (above - below) / (2 * h);
  }
  CHECK(relative_error(gradient, expected) < 1e-6);
}

TEST_CASE("a row's penalty depends on that row alone, and on its noise") {
  const Small net = make_net();
  Tape<double> tape;
  const LipschitzPenalty<FlowMatching> objective{};
  const auto all = losses_of(objective, net, tape);
  auto batch = make_batch();
  const FlowBatchOf<Small> last{
      batch.z.rows(3, 6), batch.v.rows(3, 6),    batch.r.rows(3, 6), batch.t.rows(3, 6), 0, {},
      batch.data,         batch.noise.rows(3, 6)};
  const auto part = losses_of(objective, net, tape, last);
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(part.metrics[3][i] == doctest::Approx(all.metrics[3][3 + i]).epsilon(1e-12));
  batch.noise = numbers({rows, 2}, 7);
  const auto other = losses_of(objective, net, tape, batch);
  std::size_t differ = 0;
  for (std::size_t i = 0; i < rows; ++i)
    differ += std::abs(other.metrics[3][i] - all.metrics[3][i]) > 1e-6;
  CHECK(differ > 0);
  CHECK(differ < rows);
}

TEST_CASE("what cannot work is refused in one sentence") {
  CHECK_THROWS_WITH_AS(LipschitzPenalty<MeanFlow>{.weight = -1}.check(),
                       "LipschitzPenalty: weight is -1.000000, but must be finite and at least 0",
                       SettingError);
  CHECK_THROWS_WITH_AS(
      LipschitzPenalty<MeanFlow>{.step = 0}.check(),
      "LipschitzPenalty: step is 0.000000, but must be finite and at least 0.00001", SettingError);
}
