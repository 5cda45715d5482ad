// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>
#include <vector>

#include <archetypes.hpp>
#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/flow/any_flow.hpp>
#include <meanflow/flow/guidance.hpp>
#include <meanflow/flow/loss_weighting.hpp>
#include <meanflow/flow/mean_flow.hpp>
#include <meanflow/flow/objective.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/ops/concat.hpp>
#include <meanflow/ops/elementwise.hpp>

using namespace meanflow;
using test::numbers;
using test::relative_error;
using test::Values;

static_assert(LossWeighting<ConstantWeighting> && LossWeighting<AdaptiveWeighting>);
static_assert(LossWeighting<test::ArchetypeWeighting>);
static_assert(Objective<MeanFlow, Mlp<double>> && Objective<FlowMatching, Mlp<float>>);
static_assert(Objective<test::ArchetypeObjective, test::ArchetypeNet>);

namespace {

struct NeedsOneArgument {
  double operator()(double) const { return 1; }
};
struct GivesNothing {
  template <class N, class B, class C>
  void operator()(const N&, const B&, const C&) const {}
};
static_assert(!LossWeighting<NeedsOneArgument> && !Objective<GivesNothing, Mlp<float>>);
static_assert(Objective<AnyFlow, Mlp<float>> && Objective<Guided<AnyFlow>, Mlp<float>>);
static_assert(!BatchObjective<MeanFlow, Mlp<float>>);

// u = r z + t^2: du/dt along (v, 0, 1) is r v + 2 t.
struct KnownNet {
  using value_type = double;
  using device_type = Cpu;
  Parameters<double> store{};
  [[nodiscard]] const Parameters<double>& parameters() const { return store; }
  template <class X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t) const {
    return r * z + t * t;
  }
};

struct WrongShape : KnownNet {
  template <class X>
  [[nodiscard]] X operator()(const X& z, const X&, const X&) const {
    return slice_last(z, 0, 1);
  }
};

constexpr std::size_t rows = 6;

template <class N = KnownNet>
FlowBatchOf<N> make_batch(std::size_t jumps) {
  FlowBatchOf<N> batch{numbers({rows, 2}, 1),
                       numbers({rows, 2}, 2),
                       numbers({rows, 1}, 3, 0, 0.5),
                       numbers({rows, 1}, 4, 0.5, 1),
                       jumps,
                       {}};
  for (std::size_t i = jumps; i < rows; ++i) batch.r[i] = batch.t[i];
  return batch;
}

/// The losses of an objective whose rows all weigh 1 in a batch of 2, so that the gradient is the
/// error.
template <class O, class N>
auto losses_of(const O& objective, const N& net, const FlowBatchOf<N>& batch, Tape<double>& tape) {
  const ConstantWeighting weighting;
  return objective(net, batch, StepContext<N, ConstantWeighting>{tape, weighting, 2});
}

}  // namespace

TEST_CASE("the losses of a net with a known derivative") {
  const KnownNet net;
  for (const std::size_t jumps : {std::size_t{0}, std::size_t{4}, rows}) {
    const auto batch = make_batch(jumps);
    for (const bool improved : {false, true}) {
      INFO("jumps = ", jumps, ", improved = ", improved);
      Tape<double> tape;
      const auto losses = improved ? losses_of(ImprovedMeanFlow{}, net, batch, tape)
                                   : losses_of(MeanFlow{}, net, batch, tape);
      const Values& gradient = losses.outputs[0].gradient;
      REQUIRE(losses.loss.shape() == Shape{rows});
      for (std::size_t i = 0; i < rows; ++i) {
        const double r = batch.r[i], t = batch.t[i];
        double square = 0, velocity_square = 0, derivative_square = 0;
        for (std::size_t c = 0; c < 2; ++c) {
          const double z = batch.z[2 * i + c], v = batch.v[2 * i + c], u = r * z + t * t;
          const double along = improved ? t * z + t * t : v;  // u(z, t, t) in the improved one
          const double slope = i < jumps ? r * along + 2 * t : 0;
          const double error = u - (v - (t - r) * slope);
          CHECK(gradient[2 * i + c] == doctest::Approx(error));
          square += error * error;
          velocity_square += (u - v) * (u - v);
          derivative_square += slope * slope;
        }
        CHECK(losses.loss[i] == doctest::Approx(square));
        CHECK(losses.metrics[0][i] == doctest::Approx(square));
        CHECK(losses.metrics[1][i] == doctest::Approx(velocity_square));
        CHECK(losses.metrics[2][i] == doctest::Approx(std::sqrt(derivative_square)));
      }
    }
  }
}

TEST_CASE("the direction of the derivative can be changed for ablations") {
  Tape<double> tape;
  const auto batch = make_batch(rows);
  const auto found = velocity_and_jvp(KnownNet{}, batch, batch.v, tape, JvpMode::joint,
                                      {.z = 0.5, .r = 2, .t = -1});
  for (std::size_t i = 0; i < 2 * rows; ++i) {
    const double r = batch.r[i / 2], t = batch.t[i / 2];
    CHECK(found.dudt[i] == doctest::Approx(0.5 * r * batch.v[i] + 2 * batch.z[i] - 2 * t));
  }
}

TEST_CASE("flow matching compares u(z, t, t) with v") {
  Tape<double> tape;
  const auto batch = make_batch(3);
  const auto losses = losses_of(FlowMatching{}, KnownNet{}, batch, tape);
  for (std::size_t i = 0; i < 2 * rows; ++i) {
    const double t = batch.t[i / 2];
    CHECK(losses.outputs[0].gradient[i] == doctest::Approx(t * batch.z[i] + t * t - batch.v[i]));
  }
}

TEST_CASE("any of the objectives, chosen at run time, is that one") {
  const auto batch = make_batch(3);
  const auto expect_same = [&](const auto& objective) {
    Tape<double> tape;
    const AnyFlow any{objective};
    const auto a = losses_of(any, KnownNet{}, batch, tape),
               b = losses_of(objective, KnownNet{}, batch, tape);
    CHECK(test::same_bits(a.outputs[0].gradient, b.outputs[0].gradient));
    CHECK(needs_jumps(any) == needs_jumps(objective));
    CHECK(instantaneous(any) == instantaneous(objective));
  };
  expect_same(MeanFlow{});
  expect_same(ImprovedMeanFlow{});
  expect_same(FlowMatching{});
}

TEST_CASE("joint and detached derivatives agree, and so do their gradients") {
  using Net = Mlp<double>;
  const Net net({.hidden = 16, .layers = 2});
  const auto batch = make_batch<Net>(4);
  std::array<Values, 2> errors, gradients;
  for (const int k : {0, 1}) {
    Tape<double> tape;
    gradients[k] = Values::zeros({net.parameters().flat_size()});
    tape.bind(net.parameters(), gradients[k]);
    const auto losses =
        losses_of(MeanFlow{.mode = k ? JvpMode::detached : JvpMode::joint}, net, batch, tape);
    const auto& [node, gradient] = losses.outputs[0];
    errors[k] = gradient.clone();
    tape.backward(node, gradient);
    CHECK(test::same_bits(gradient, errors[k]));
  }
  CHECK(relative_error(errors[1], errors[0]) <= 1e-14);
  CHECK(relative_error(gradients[1], gradients[0]) <= 1e-14);
}

TEST_CASE("the first rows do not depend on how many carry a tangent") {
  using Net = Mlp<double>;
  const Net net({.hidden = 16, .layers = 2});
  Tape<double> tape;
  auto batch = make_batch<Net>(rows);
  const auto all = losses_of(MeanFlow{}, net, batch, tape);
  batch.jump_rows = 3;
  const auto some = losses_of(MeanFlow{}, net, batch, tape);
  CHECK(relative_error(some.outputs[0].gradient.rows(0, 3), all.outputs[0].gradient.rows(0, 3)) <=
        1e-14);
}

TEST_CASE("rows are weighed, and the gradient is that of the mean over the whole batch") {
  Tape<double> tape;
  const auto batch = make_batch(4);
  const auto plain = losses_of(MeanFlow{}, KnownNet{}, batch, tape);
  const AdaptiveWeighting weighting{.p = 0.75, .epsilon = 0.1};
  const StepContext<KnownNet, AdaptiveWeighting> context{tape, weighting, 10};
  const auto losses = MeanFlow{}(KnownNet{}, batch, context);
  const Values target = numbers({rows, 2}, 9);
  const auto towards = squared_error(context, std::size_t{7}, batch.z, target);
  CHECK(towards.output.node == 7);
  for (std::size_t i = 0; i < rows; ++i) {
    const double square = plain.loss[i], weight = std::pow(square + 0.1, -0.75);
    CHECK(losses.loss[i] == doctest::Approx(weight * square));
    CHECK(losses.outputs[0].gradient[2 * i] ==
          doctest::Approx(2 * weight * plain.outputs[0].gradient[2 * i] / 10));
    double other = 0;
    for (std::size_t c = 0; c < 2; ++c)
      other += std::pow(batch.z[2 * i + c] - target[2 * i + c], 2);
    CHECK(towards.squared_error[i] == doctest::Approx(other));
    CHECK(towards.loss[i] == doctest::Approx(other * std::pow(other + 0.1, -0.75)));
    CHECK(towards.output.gradient[2 * i] == doctest::Approx(2 * std::pow(other + 0.1, -0.75) *
                                                            (batch.z[2 * i] - target[2 * i]) / 10));
  }
}

TEST_CASE("a weight that is negative or not finite makes the loss NaN") {
  struct Negative {
    double operator()(double, std::size_t) const { return -1; }
  };
  Tape<double> tape;
  const Negative weighting;
  const auto losses =
      MeanFlow{}(KnownNet{}, make_batch(4), StepContext<KnownNet, Negative>{tape, weighting, 10});
  for (std::size_t i = 0; i < rows; ++i) CHECK(std::isnan(losses.loss[i]));
}

TEST_CASE("inputs along a direction carry its tangents, and lose them on demand") {
  Tape<double> tape;
  const auto batch = make_batch(4);
  const auto [z, r, t] = inputs_along(batch, batch.v.rows(0, 4), tape, {.z = 2, .r = 3, .t = 4});
  CHECK(z.value().tangent()[7] == 2 * batch.v[7]);
  CHECK(r.value().tangent()[3] == 3);
  CHECK(t.value().tangent()[0] == 4);
  CHECK(test::same_bits(without_tangent(z).value(), batch.z));
  CHECK(test::same_bits(without_tangent(z.value()), batch.z));
  const auto plain = inputs(batch, tape);
  CHECK(test::same_bits(plain.t.value(), batch.t));
}

TEST_CASE("a head without tangents is differentiated as one with") {
  using Net = Mlp<double>;
  const Net net({.hidden = 16, .layers = 2});
  const auto batch = make_batch<Net>(4);
  const auto gradient = [&](bool tangents) {
    Tape<double> tape;
    auto flat = Values::zeros({net.parameters().flat_size()});
    tape.bind(net.parameters(), flat);
    const auto [z, r, t] = inputs_along(batch, batch.v.rows(0, 4), tape);
    const auto hidden = net(z, r, t);
    const auto node = tangents ? square(hidden).node() : square(without_tangent(hidden)).node();
    tape.backward(node, batch.v.clone());
    return flat;
  };
  CHECK(relative_error(gradient(true), gradient(false)) <= 1e-15);
}

TEST_CASE("weightings") {
  CHECK(ConstantWeighting{}(3, 4) == 1);
  CHECK(ConstantWeighting{Reduction::mean}(3, 4) == 0.25);
  CHECK(AdaptiveWeighting{.p = 1, .epsilon = 0.5}(3, 4) == doctest::Approx(1 / 3.5));
  CHECK(AdaptiveWeighting{.p = 0.5, .epsilon = 1}(3, 4) == doctest::Approx(0.5));
  CHECK(AdaptiveWeighting{.p = 0}(3, 4) == 1);
  // The mean's loss is (square / n) / (square / n + epsilon)^p.
  CHECK(AdaptiveWeighting{.p = 1, .epsilon = 0.25, .reduction = Reduction::mean}(3, 4) ==
        doctest::Approx(0.25));
}

TEST_CASE("a net must return the shape of z") {
  Tape<double> tape;
  CHECK_THROWS_WITH_AS(
      (void)losses_of(MeanFlow{}, WrongShape{}, make_batch<WrongShape>(0), tape),
      "objective: shape (6, 1) does not fit shape (6, 2) (the net must return the shape of z)",
      ShapeError);
}
