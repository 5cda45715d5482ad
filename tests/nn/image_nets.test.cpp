// SPDX-License-Identifier: MIT
// What the image nets promise beside what the parity program compares.
#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/autodiff/check.hpp>
#include <meanflow/kernels/cpu_conv.hpp>
#include <meanflow/kernels/cpu_norm.hpp>
#include <meanflow/nn/mean_flow_net.hpp>
#include <meanflow/nn/net.hpp>
#include <meanflow/nn/song_unet.hpp>

using namespace meanflow;

static_assert(Net<MeanFlowNet<float>> && Net<SongUNet<float>>);

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
  CHECK_THROWS_WITH_AS(SongUNet<float>({.resolution = 30}),
                       "SongUNet: resolution is 30, but must be divisible by 4 for 3 levels",
                       SettingError);
}

TEST_CASE("images that do not fit are refused by name") {
  const MeanFlowNet<float> net({.base = 8, .multipliers = {1, 2, 2}, .blocks = 1, .embedding = 8});
  const auto times = Tensor<float>::zeros({2, 1});
  CHECK_THROWS_WITH_AS(
      net(Tensor<float>::zeros({2, 6, 8, 3}), times, times, {}),
      "MeanFlowNet: z has shape (2, 6, 8, 3), but must be (B, H, W, 3) with H and W divisible by 4",
      ShapeError);
}
