// error: path\.sigma\(
// SPDX-License-Identifier: MIT
#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

struct OwnPath {
  template <class T>
  [[nodiscard]] T alpha(const T& t) const {
    return 1 - t;
  }
};

using Trainer = MeanFlowTrainer<Mlp<float>, Recipe<MeanFlow, ConstantWeighting, OwnPath>>;

void train(Mlp<float> net) { Trainer trainer(std::move(net)); }
