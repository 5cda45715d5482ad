// SPDX-License-Identifier: MIT
// Learns two moons and generates 1000 points in one step.
// [docs:first]
#include <meanflow/meanflow.hpp>

int main() {
  using namespace meanflow;
  Mlp<float> net({.dimension = 2, .hidden = 128, .layers = 3});
  MeanFlowTrainer trainer(net, {.steps = 3000, .batch = 512});
  trainer.fit(Toy2dSource{Toy2d::two_moons}, ProgressBar("training"));
  Tensor<float> points = trainer.sample(normal_noise({1000, 2}, 1));  // one step: e - u(e, 0, 1)
  save_npy("two_moons.npy", {1000, 2}, points.span());
}
// [docs:end]
