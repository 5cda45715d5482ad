// error: TrainingCallback
// SPDX-License-Identifier: MIT
#include <meanflow/data/source.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

void train(Mlp<float> net) {
  MeanFlowTrainer trainer(std::move(net));
  trainer.fit(Toy2dSource{Toy2d::rings}, [](int step) { return step > 10; });
}
