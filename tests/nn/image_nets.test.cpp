// SPDX-License-Identifier: MIT
// What the image nets promise beside what the parity program compares.
#include <cstdint>
#include <initializer_list>
#include <tuple>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/autodiff/check.hpp>
#include <meanflow/flow/guidance.hpp>
#include <meanflow/flow/mean_flow.hpp>
#include <meanflow/kernels/cpu/conv.hpp>
#include <meanflow/kernels/cpu/norm.hpp>
#include <meanflow/nn/attention_unet.hpp>
#include <meanflow/nn/mean_flow_net.hpp>
#include <meanflow/nn/net.hpp>
#include <meanflow/nn/song_unet.hpp>
#include <meanflow/ops/reduce.hpp>
#include <meanflow/train/trainer.hpp>

#include "nn/stirred.hpp"

using namespace meanflow;

static_assert(Net<MeanFlowNet<float>> && Net<SongUNet<float>> && Net<AttentionUNet<float>>);

using test::numbers;
using test::same_bits;
using test::stirred;
using test::Values;

namespace {

constexpr std::size_t rows = 2;

template <class N>
void expect_derivatives(const N& net, const ImageCondition<double>& condition) {
  const std::tuple x(numbers({rows, 8, 8, 3}, 1), numbers({rows, 1}, 2, 0, 0.5),
                     numbers({rows, 1}, 3, 0.5, 1));
  const std::tuple dx(numbers({rows, 8, 8, 3}, 4), numbers({rows, 1}, 5), numbers({rows, 1}, 6));
  const auto u = [&](const auto&... arguments) { return net(arguments..., condition); };
  CHECK(check_jvp(u, x, dx).error < 1e-6);
  CHECK(check_adjoint(u, x, dx, numbers({rows, 8, 8, 3}, 7)).error < 1e-12);
  const auto loss = [&](auto& tape) {
    return std::apply(
        [&](const auto&... v) { return sum(square(net(Var(tape, v)..., condition))); }, x);
  };
  CHECK(check_gradient(loss, net.parameters(), 2).error < 1e-6);
}

ImageCondition<double> condition_of(std::initializer_list<std::int32_t> labels) {
  ImageCondition<double> condition{.labels = Tensor<std::int32_t>::from({rows}, labels)};
  condition.dropout = {1, Tensor<std::uint64_t>::full({1}, 2),
                       Tensor<std::uint64_t>::from({rows}, {4, 9})};
  return condition;
}

SongUNet<double> dropping_net() {
  return stirred(SongUNet<double>({.resolution = 8,
                                   .classes = 3,
                                   .dropout = 0.3,
                                   .model_channels = 4,
                                   .channel_mult = {1},
                                   .blocks = 1,
                                   .attention_resolutions = {}}));
}

}  // namespace

TEST_CASE("AttentionUNet is differentiated, and needs no sizes that are not there") {
  const AttentionUNetSettings small{
      .dimension = 4, .multipliers = {1, 2}, .blocks = 1, .heads = 2, .classes = 3};
  expect_derivatives(stirred(AttentionUNet<double>(small)), condition_of({2, 0}));
  CHECK(parameter_count<AttentionUNet<float>>(AttentionUNetSettings{}) == 38631939);
  AttentionUNetSettings wrong = small;
  wrong.heads = 3;
  CHECK(test::message_of<SettingError>([&] { AttentionUNet<double>{wrong}; }) ==
        "AttentionUNet: a level has 4 channels, but they must be divisible by heads, which is 3");
}

TEST_CASE("image nets that recompute their blocks give the same gradients") {
  // Sums of a feature map's gradients are made in another order.
  const auto expect_same = [](auto settings, auto make) {
    const auto gradient = [&] {
      const auto net = stirred(make(settings));
      Tape<double> tape;
      const auto flat = Values::zeros({net.parameters().flat_size()});
      tape.bind(net.parameters(), flat);
      const auto u =
          net(Var(tape, numbers({rows, 8, 8, 3}, 1)), Var(tape, numbers({rows, 1}, 2, 0, 0.5)),
              Var(tape, numbers({rows, 1}, 3, 0.5, 1)), condition_of({2, 0}));
      tape.backward(u.node(), numbers(u.shape(), 4));
      return flat;
    };
    const Values kept = gradient();
    settings.recompute = true;
    CHECK(test::relative_error(gradient(), kept) <= 1e-13);
  };
  expect_same(
      AttentionUNetSettings{
          .dimension = 4, .multipliers = {1, 2}, .blocks = 1, .heads = 2, .classes = 3},
      [](const auto& s) { return AttentionUNet<double>(s); });
  expect_same(MeanFlowNetSettings{.base = 4,
                                  .multipliers = {1, 2},
                                  .blocks = 1,
                                  .classes = 3,
                                  .embedding = 4,
                                  .condition = 8},
              [](const auto& s) { return MeanFlowNet<double>(s); });
  expect_same(dropping_net().settings(), [](const auto& s) { return SongUNet<double>(s); });
}

TEST_CASE("MeanFlowNet with attention is differentiated") {
  expect_derivatives(stirred(MeanFlowNet<double>({.base = 4,
                                                  .multipliers = {1, 2},
                                                  .blocks = 1,
                                                  .classes = 3,
                                                  .embedding = 4,
                                                  .condition = 6,
                                                  .attention_levels = {1}})),
                     condition_of({0, 3}));
}

TEST_CASE("MeanFlowNet of patches is differentiated, and works on a quarter of the pixels") {
  const MeanFlowNetSettings small{.patch_size = 2,
                                  .base = 4,
                                  .multipliers = {1, 2},
                                  .blocks = 1,
                                  .classes = 3,
                                  .embedding = 4,
                                  .condition = 6};
  const MeanFlowNet<double> net = stirred(MeanFlowNet<double>(small));
  expect_derivatives(net, condition_of({0, 3}));
  CHECK(net.parameters()["conv_in.weight"].shape() == Shape{4, 12, 3, 3});
  CHECK(net.parameters()["conv_out.weight"].shape() == Shape{12, 4, 3, 3});
  CHECK(test::message_of<ShapeError>([&] {
          (void)net(numbers({rows, 6, 8, 3}, 1), numbers({rows, 1}, 2), numbers({rows, 1}, 3), {});
        }) ==
        "MeanFlowNet: z has shape (2, 6, 8, 3), but must be (B, H, W, 3) with H and W divisible by "
        "4");
}

TEST_CASE("SongUNet with classes and dropout is differentiated, under one mask") {
  expect_derivatives(stirred(SongUNet<double>({.resolution = 8,
                                               .classes = 3,
                                               .dropout = 0.3,
                                               .model_channels = 4,
                                               .channel_mult = {1, 2},
                                               .blocks = 1,
                                               .attention_resolutions = {4}})),
                     condition_of({0, 3}));
}

TEST_CASE("SongUNet drops in training alone, and tells classes apart") {
  const auto net = dropping_net();
  const Values z = numbers({rows, 8, 8, 3}, 1), t = numbers({rows, 1}, 3, 0.5, 1);
  ImageCondition<double> sampling = condition_of({0, 3});
  const Values trained = net(z, t, t, sampling);
  sampling.dropout = {};
  const Values sampled = net(z, t, t, sampling);
  CHECK_FALSE(same_bits(trained, sampled));
  CHECK(same_bits(sampled, net(z, t, t, sampling)));
  CHECK(net.null_class() == 3);
  const Values null = net(z, t, t, {});
  CHECK_FALSE(same_bits(sampled.rows(0, 1).clone(), null.rows(0, 1).clone()));
  CHECK(same_bits(sampled.rows(1, 2).clone(), null.rows(1, 2).clone()));
  sampling.labels[0] = 4;
  CHECK_THROWS_WITH_AS((void)net(z, t, t, sampling),
                       "one_hot: label 4 is not in [0, 4), the classes and the null class",
                       ShapeError);
  sampling.labels = Tensor<std::int32_t>::full({3}, 0);
  CHECK_THROWS_WITH_AS((void)net(z, t, t, sampling), "one_hot: 3 labels for a batch of 2 rows",
                       ShapeError);
}

TEST_CASE("training with dropout does not depend on how the batch is cut") {
  const auto gradient = [](std::size_t tile_rows) {
    MeanFlowTrainer trainer(SongUNet<double>({.resolution = 8,
                                              .dropout = 0.5,
                                              .model_channels = 4,
                                              .channel_mult = {1},
                                              .blocks = 1,
                                              .attention_resolutions = {}}),
                            {.batch = 6, .tile_rows = tile_rows},
                            Recipe<>{.times = {.jump_fraction = 0.5}});
    trainer.step(numbers({6, 8, 8, 3}, 1));
    return trainer.gradient();
  };
  CHECK(test::relative_error(gradient(2), gradient(6)) < 1e-12);
}

TEST_CASE("the published sizes have the published numbers of parameters") {
  CHECK(MeanFlowNet<float>().parameters().count() == 14'933'443);
  CHECK(SongUNet<float>().parameters().count() == 55'929'347);
  CHECK(SongUNet<float>({.augmentation = 6}).parameters().count() == 55'932'419);
}

TEST_CASE("settings that no net can be built from are refused") {
  CHECK_THROWS_WITH_AS(MeanFlowNet<float>({.multipliers = {}}),
                       "MeanFlowNet: multipliers is 0, but must be at least 1", SettingError);
  CHECK_THROWS_WITH_AS(MeanFlowNet<float>({.base = 66}),
                       "down.0.blocks.0.norm1: 66 channels cannot be cut into 16 equal groups",
                       SettingError);
  CHECK_THROWS_WITH_AS(
      MeanFlowNet<float>({.embedding = 7}),
      "MeanFlowNet: the width of the embedding is 7, but must be even and at least 4",
      SettingError);
  CHECK_THROWS_WITH_AS(
      MeanFlowNet<float>({.attention_levels = {3}}),
      "MeanFlowNet: attention_levels has 3, but there are 3 levels, counted from 0", SettingError);
  CHECK_THROWS_WITH_AS(SongUNet<float>({.dropout = 1}),
                       "SongUNet: dropout is 1.000000, but must be in [0, 1)", SettingError);
  CHECK_THROWS_WITH_AS(SongUNet<float>({.resolution = 30}),
                       "SongUNet: resolution is 30, but must be divisible by 4 for 3 levels",
                       SettingError);
  CHECK_THROWS_WITH_AS(
      SongUNet<float>({.resolution = 48}),
      "SongUNet: attention_resolutions lists 16, but the resolutions of this net are 48, 24, 12",
      SettingError);
}

TEST_CASE("images that do not fit are refused by name") {
  const MeanFlowNet<float> net({.base = 8, .multipliers = {1, 2, 2}, .blocks = 1, .embedding = 8});
  const auto times = Tensor<float>::zeros({2, 1});
  CHECK_THROWS_WITH_AS(
      (void)net(Tensor<float>::zeros({2, 6, 8, 3}), times, times, {}),
      "MeanFlowNet: z has shape (2, 6, 8, 3), but must be (B, H, W, 3) with H and W divisible by 4",
      ShapeError);
}

TEST_CASE("dropout is left out of boundary and guiding velocities unless it is asked for") {
  const auto net = dropping_net();
  using Net = SongUNet<double>;
  FlowBatchOf<Net> batch{numbers({rows, 8, 8, 3}, 1),
                         numbers({rows, 8, 8, 3}, 2),
                         numbers({rows, 1}, 3, 0, 0.5),
                         numbers({rows, 1}, 4, 0.5, 1),
                         rows,
                         condition_of({0, 1})};
  FlowBatchOf<Net> plain = batch;
  plain.condition = without_dropout(batch.condition);
  const auto guided = [&](const auto& rows_of, bool dropout) {
    return guided_velocity({.omega = 2, .kappa = 0.5, .net_dropout = dropout}, net, rows_of);
  };
  CHECK(same_bits(guided(batch, false), guided(plain, true)));
  CHECK_FALSE(same_bits(guided(batch, true), guided(plain, true)));

  Tape<double> tape;
  const ConstantWeighting weighting;
  const StepContext<Net, ConstantWeighting> context{tape, weighting, rows};
  const auto loss = [&](bool dropout) {
    return ImprovedMeanFlow{.net_dropout = dropout}(net, batch, context).loss[0];
  };
  const auto boundary = net(batch.z, batch.t, batch.t, plain.condition);
  const auto expected =
      mean_flow_losses(context, batch, velocity_and_jvp(net, batch, boundary, tape));
  CHECK(loss(false) == expected.loss[0]);
  CHECK(loss(true) != expected.loss[0]);
}
