// SPDX-License-Identifier: MIT
// Learns two moons, draws points that are generated in one step, and saves the model.
// [docs:first]
#include <meanflow/meanflow.hpp>

int main() {
  using namespace meanflow;
  Mlp<float> net({.dimension = 2, .hidden = 128, .layers = 4, .octaves = 3, .residual = true});
  MeanFlowTrainer trainer(net, {.steps = 3000, .batch = 512, .learning_rate = {.peak = 5e-3}},
                          Recipe{.coupling = OptimalTransport{}});
  trainer.fit(Toy2dSource{Toy2d::two_moons}, ProgressBar("training"));
  Tensor<float> points = trainer.sample(normal_noise({2000, 2}, 1));  // one step: e - u(e, 0, 1)
  save_scatter("two_moons.png", points.span());
  save_model("two_moons.safetensors", trainer);
}
// [docs:end]
