// error: callback's on_step must accept
// SPDX-License-Identifier: MIT
#include <meanflow/data/source.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

struct OwnCallback {
  void on_step(const StepReport&) {}
  template <class Trainer>
  void on_end(Trainer&) {}
};

void train(Mlp<float> net) {
  MeanFlowTrainer trainer(std::move(net));
  trainer.fit(Toy2dSource{Toy2d::rings}, OwnCallback{});
}
