// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>
#include <vector>

#include <archetypes.hpp>
#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/flow/loss_weighting.hpp>
#include <meanflow/flow/objective.hpp>
#include <meanflow/nn/mlp.hpp>

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
  template <class N, class B, class T>
  void operator()(const N&, const B&, T&) const {}
};
static_assert(!LossWeighting<NeedsOneArgument> && !Objective<GivesNothing, Mlp<float>>);

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

constexpr std::size_t rows = 6;

FlowBatch<double> make_batch(std::size_t jumps) {
  FlowBatch<double> batch{numbers({rows, 2}, 1),
                          numbers({rows, 2}, 2),
                          numbers({rows, 1}, 3, 0, 0.5),
                          numbers({rows, 1}, 4, 0.5, 1),
                          jumps,
                          {}};
  for (std::size_t i = jumps; i < rows; ++i) batch.r[i] = batch.t[i];
  return batch;
}

}  // namespace

TEST_CASE("the residual of a net with a known derivative") {
  const KnownNet net;
  for (const std::size_t jumps : {std::size_t{0}, std::size_t{4}, rows}) {
    const auto batch = make_batch(jumps);
    for (const bool improved : {false, true}) {
      INFO("jumps = ", jumps, ", improved = ", improved);
      Tape<double> tape;
      const auto residual =
          improved ? ImprovedMeanFlow{}(net, batch, tape) : MeanFlow{}(net, batch, tape);
      REQUIRE(residual.square.shape() == Shape{rows});
      for (std::size_t i = 0; i < rows; ++i) {
        const double r = batch.r[i], t = batch.t[i];
        double square = 0, velocity_square = 0, derivative_square = 0;
        for (std::size_t c = 0; c < 2; ++c) {
          const double z = batch.z[2 * i + c], v = batch.v[2 * i + c], u = r * z + t * t;
          const double along = improved ? t * z + t * t : v;  // u(z, t, t) in the improved one
          const double slope = i < jumps ? r * along + 2 * t : 0;
          const double error = u - (v - (t - r) * slope);
          CHECK(residual.u[2 * i + c] == doctest::Approx(u));
          CHECK(residual.error[2 * i + c] == doctest::Approx(error));
          if (i < jumps) CHECK(residual.derivative[2 * i + c] == doctest::Approx(slope));
          square += error * error;
          velocity_square += (u - v) * (u - v);
          derivative_square += slope * slope;
        }
        CHECK(residual.square[i] == doctest::Approx(square));
        CHECK(residual.velocity_square[i] == doctest::Approx(velocity_square));
        CHECK(residual.derivative_square[i] == doctest::Approx(derivative_square));
      }
    }
  }
}

TEST_CASE("the direction of the derivative can be changed for ablations") {
  Tape<double> tape;
  const auto batch = make_batch(rows);
  const auto residual = MeanFlow{.direction = {.z = 0.5, .r = 2, .t = -1}}(KnownNet{}, batch, tape);
  for (std::size_t i = 0; i < 2 * rows; ++i) {
    const double r = batch.r[i / 2], t = batch.t[i / 2];
    CHECK(residual.derivative[i] == doctest::Approx(0.5 * r * batch.v[i] + 2 * batch.z[i] - 2 * t));
  }
}

TEST_CASE("flow matching compares u(z, t, t) with v") {
  Tape<double> tape;
  const auto batch = make_batch(3);
  const auto residual = FlowMatching{}(KnownNet{}, batch, tape);
  for (std::size_t i = 0; i < 2 * rows; ++i) {
    const double t = batch.t[i / 2];
    CHECK(residual.error[i] == doctest::Approx(t * batch.z[i] + t * t - batch.v[i]));
  }
}

TEST_CASE("joint and detached derivatives agree, and so do their gradients") {
  const Mlp<double> net({.hidden = 16, .layers = 2});
  const auto batch = make_batch(4);
  std::array<Values, 2> errors, gradients;
  for (const int k : {0, 1}) {
    Tape<double> tape;
    gradients[k] = Values::zeros({net.parameters().flat_size()});
    tape.bind(net.parameters(), gradients[k]);
    const auto residual =
        MeanFlow{.mode = k ? JvpMode::detached : JvpMode::joint}(net, batch, tape);
    errors[k] = residual.error.clone();
    tape.backward(residual.node, residual.error);
    CHECK(test::same_bits(residual.error, errors[k]));
  }
  CHECK(relative_error(errors[1], errors[0]) <= 1e-14);
  CHECK(relative_error(gradients[1], gradients[0]) <= 1e-14);
}

TEST_CASE("the first rows do not depend on how many carry a tangent") {
  const Mlp<double> net({.hidden = 16, .layers = 2});
  Tape<double> tape;
  auto batch = make_batch(rows);
  const auto all = MeanFlow{}(net, batch, tape);
  batch.jump_rows = 3;
  const auto some = MeanFlow{}(net, batch, tape);
  CHECK(relative_error(some.error.rows(0, 3), all.error.rows(0, 3)) <= 1e-14);
  CHECK(relative_error(some.u, all.u) <= 1e-14);
}

TEST_CASE("weigh gives losses and the gradient of their mean") {
  Tape<double> tape;
  auto residual = MeanFlow{}(KnownNet{}, make_batch(4), tape);
  const Values error = residual.error.clone();
  const auto losses = weigh(AdaptiveWeighting{.p = 0.75, .epsilon = 0.1}, residual, 10);
  for (std::size_t i = 0; i < rows; ++i) {
    const double weight = std::pow(residual.square[i] + 0.1, -0.75);
    CHECK(losses[i] == doctest::Approx(weight * residual.square[i]));
    CHECK(residual.error[2 * i] == doctest::Approx(2 * weight * error[2 * i] / 10));
  }
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

TEST_CASE("a net must give the shape of z") {
  const auto batch = make_batch(0);
  CHECK_THROWS_WITH_AS(
      (void)detail::make_residual(batch, Tape<double>::no_node, Values({rows, 3}), Values{}),
      "objective: shape (6, 3) does not fit shape (6, 2) (the net must give the shape of z)",
      ShapeError);
}
