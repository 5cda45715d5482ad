// error: an optimizer must have state, Numbers<T>
// SPDX-License-Identifier: MIT
#include <array>

#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

struct OwnOptimizer {
  static constexpr std::array state{"first"};

  template <class V>
  static void update(const V& gradient, V& parameter, V&) {
    parameter -= gradient;
  }
};

using Slots = Recipe<MeanFlow, ConstantWeighting, LinearPath, LogitNormalTimes, OwnOptimizer>;

void train(Mlp<float> net) { MeanFlowTrainer<Mlp<float>, Slots> trainer(std::move(net)); }
