// error: weighting\(square, elements\)
// SPDX-License-Identifier: MIT
#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

struct OwnWeighting {
  double weight = 1;
};

using Trainer = MeanFlowTrainer<Mlp<float>, Recipe<MeanFlow, OwnWeighting>>;

void train(Mlp<float> net) { Trainer trainer(std::move(net)); }
