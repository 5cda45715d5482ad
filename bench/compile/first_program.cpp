// SPDX-License-Identifier: MIT
// What a first program costs to compile: a net, a trainer and one step.
#include <meanflow/meanflow.hpp>

int main() {
  meanflow::Mlp<float> net({.dimension = 2, .hidden = 16, .layers = 1});
  meanflow::MeanFlowTrainer trainer(net, {.batch = 64});
  trainer.step(meanflow::normal_noise({64, 2}, 1));
}
