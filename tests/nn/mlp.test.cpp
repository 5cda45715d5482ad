// SPDX-License-Identifier: MIT
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/autodiff/check.hpp>
#include <meanflow/nn/baselines.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/ops/reduce.hpp>

using namespace meanflow;
using test::numbers;
using test::Values;

namespace {

template <class N>
void expect_derivatives(const N& net) {
  const std::tuple x(numbers({6, 2}, 1), numbers({6, 1}, 2, 0, 0.5), numbers({6, 1}, 3, 0.5, 1));
  const std::tuple dx(numbers({6, 2}, 4), numbers({6, 1}, 5), numbers({6, 1}, 6));
  const auto u = [&](const auto&... arguments) { return net(arguments...); };
  CHECK(check_jvp(u, x, dx).error < 1e-7);
  CHECK(check_adjoint(u, x, dx, numbers({6, 2}, 7)).error < 1e-13);
  const auto loss = [&](auto& tape) {
    return std::apply([&](const auto&... v) { return sum(square(net(Var(tape, v)...))); }, x);
  };
  CHECK(check_gradient(loss, net.parameters(), 8).error < 1e-7);
}

}  // namespace

TEST_CASE("the usual network has 199,170 parameters") {
  const Mlp<> net({.time = {.inputs = TimeInputs::t_h}});
  CHECK(net.parameters().count() == 256 * 4 + 256 + 3 * (256 * 256 + 256) + 2 * 256 + 2);
  CHECK(net.parameters().count() == 199'170);
  CHECK(net.parameters().entries().size() == 10);
  CHECK(net.parameters()["layers.0.weight"].shape() == Shape{256, 4});
  CHECK(net.parameters()["layers.4.bias"].shape() == Shape{2});
}

TEST_CASE("every choice of times and encodings is differentiated") {
  for (const TimeInputs inputs :
       {TimeInputs::t_r, TimeInputs::t_h, TimeInputs::t_r_h, TimeInputs::h})
    for (const TimeEncoding encoding :
         {TimeEncoding::raw, TimeEncoding::sinusoidal, TimeEncoding::fourier}) {
      INFO("inputs ", static_cast<int>(inputs), ", encoding ", static_cast<int>(encoding));
      expect_derivatives(Mlp<double>({.hidden = 12,
                                      .layers = 2,
                                      .time = {.inputs = inputs,
                                               .encoding = encoding,
                                               .dimension = 8,
                                               .scale = 1.5,
                                               .fourier_deviation = 0.3}}));
    }
}

TEST_CASE("sinusoids of z and residual layers are differentiated, and are what they say") {
  expect_derivatives(Mlp<double>({.hidden = 12, .layers = 2, .octaves = 3, .frequency = 0.7}));
  expect_derivatives(Mlp<double>({.hidden = 12, .layers = 3, .residual = true}));
  const Mlp<double> net({.dimension = 1, .layers = 0, .octaves = 2, .frequency = 1.5});
  const auto& weight = net.parameters()["layers.0.weight"];
  CHECK(weight.shape() == Shape{1, 1 + 2 + 4});  // z, t, t - r, two cosines and two sines
  const auto z = Values::from({1, 1}, {0.4}), r = Values::from({1, 1}, {0.2}),
             t = Values::from({1, 1}, {0.9});
  const double inputs[] = {0.4,           0.9,           0.7,          std::cos(0.6),
                           std::cos(1.2), std::sin(0.6), std::sin(1.2)};
  double u = net.parameters()["layers.0.bias"].data()[0];
  for (std::size_t i = 0; i < 7; ++i) u += weight.data()[i] * inputs[i];
  CHECK(net(z, r, t)[0] == doctest::Approx(u).epsilon(1e-12));

  // x = W0 inputs + b0, x += W1 f(x) + b1, u = W2 f(x) + b2
  const Mlp<double> deep({.dimension = 1, .hidden = 3, .layers = 2, .residual = true});
  const auto layer = [&](const std::string& name, const std::vector<double>& x) {
    const auto &w = deep.parameters()[name + ".weight"], &b = deep.parameters()[name + ".bias"];
    std::vector<double> y(b.data(), b.data() + b.size());
    for (std::size_t i = 0; i < y.size(); ++i)
      for (std::size_t k = 0; k < x.size(); ++k) y[i] += w.data()[i * x.size() + k] * x[k];
    return y;
  };
  const auto activated = [](std::vector<double> x) {
    for (double& value : x) value /= 1 + std::exp(-value);
    return x;
  };
  std::vector<double> x = layer("layers.0", {0.4, 0.9, 0.7});
  const std::vector<double> added = layer("layers.1", activated(x));
  for (std::size_t i = 0; i < 3; ++i) x[i] += added[i];
  CHECK(deep(z, r, t)[0] == doctest::Approx(layer("layers.2", activated(x))[0]).epsilon(1e-12));
}

TEST_CASE("time embeddings") {
  const auto r = Values::from({1, 1}, {0.25}), t = Values::from({1, 1}, {1});
  const auto embed = [&](TimeEmbeddingSettings settings) {
    const TimeEmbedding<double> embedding(settings);
    const Values y = embedding(r, t);
    CHECK(y.shape() == Shape{1, embedding.width()});
    return y;
  };
  CHECK(test::same_bits(embed({.inputs = TimeInputs::t_r}), Values::from({1, 2}, {1, 0.25})));
  CHECK(test::same_bits(embed({.inputs = TimeInputs::t_h}), Values::from({1, 2}, {1, 0.75})));
  CHECK(
      test::same_bits(embed({.inputs = TimeInputs::t_r_h}), Values::from({1, 3}, {1, 0.25, 0.75})));
  CHECK(test::same_bits(embed({.inputs = TimeInputs::h, .scale = 1000}),
                        Values::from({1, 1}, {750})));
  const auto y = embed({.inputs = TimeInputs::h,
                        .encoding = TimeEncoding::sinusoidal,
                        .dimension = 4,
                        .max_period = 100,
                        .order = SinusoidOrder::sines_first});
  CHECK(y[1] == doctest::Approx(std::sin(0.75 * 0.1)));
  CHECK(y[2] == doctest::Approx(std::cos(0.75)));
  CHECK(sinusoid_frequencies<double>(8, 100, true)[3] == doctest::Approx(0.01));
  CHECK(sinusoid_frequencies<double>(8, 100)[2] == doctest::Approx(0.1));
  const auto f = fourier_frequencies<double>(8, 1, 5);
  CHECK(test::same_bits(f, fourier_frequencies<double>(8, 1, 5)));
  CHECK_FALSE(test::same_bits(f, fourier_frequencies<double>(8, 1, 6)));
  CHECK_THROWS_WITH_AS(embed({.encoding = TimeEncoding::fourier, .dimension = 5}),
                       "TimeEmbedding: dimension is 5, but must be even and at least 4",
                       SettingError);
}

TEST_CASE("affine nets, of full and of low rank") {
  const AffineNet<double> full({.dimension = 2});
  CHECK(full.parameters().count() == 2 * 4 + 2);
  expect_derivatives(full);
  const AffineNet<double> low({.dimension = 2, .rank = 1});
  CHECK(low.parameters().count() == 4 + 2 + 2);
  CHECK(low.parameters()["down.weight"].shape() == Shape{1, 4});
  expect_derivatives(low);
}

TEST_CASE("data of another number of columns are refused by the net's name") {
  const Mlp<double> net({.dimension = 2, .hidden = 4, .layers = 1});
  const Tensor<double> z = Tensor<double>::zeros({5, 3}), t = Tensor<double>::zeros({5, 1});
  CHECK_THROWS_WITH_AS(static_cast<void>(net(z, t, t)),
                       "Mlp: z has shape (5, 3), but must be (B, 2): the net's dimension is the "
                       "number of columns of the data",
                       ShapeError);
}

TEST_CASE("a net without hidden layers, and settings that are refused") {
  CHECK(Mlp<double>({.layers = 0}).parameters().count() == 4 * 2 + 2);
  CHECK_THROWS_AS(Mlp<double>({.dimension = 0}), SettingError);
  CHECK_THROWS_AS(Mlp<double>({.hidden = 0}), SettingError);
  CHECK_THROWS_AS(Mlp<double>({.octaves = 2, .frequency = 0}), SettingError);
}

TEST_CASE("nets of the same seed are the same, and copies share their parameters") {
  const Mlp<double> a({.seed = 4}), b({.seed = 4}), c({.seed = 5});
  CHECK(test::same_bits(a.parameters().values(), b.parameters().values()));
  CHECK_FALSE(test::same_bits(a.parameters().values(), c.parameters().values()));
  const Mlp<double> copy = a;
  CHECK(copy.parameters().values().data() == a.parameters().values().data());
}
