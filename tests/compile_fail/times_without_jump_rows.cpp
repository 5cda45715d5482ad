// error: sampler\.jump_rows\(
// SPDX-License-Identifier: MIT
#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

struct OwnTimes {
  [[nodiscard]] TimePair<float> sample(RandomStream& stream, bool jump) const {
    const float t = stream.uniform<float>();
    return {jump ? 0 : t, t};
  }
};

using Trainer =
    MeanFlowTrainer<Mlp<float>, Recipe<MeanFlow, ConstantWeighting, LinearPath, OwnTimes>>;

void train(Mlp<float> net) { Trainer trainer(std::move(net)); }
