// SPDX-License-Identifier: MIT
// Writes a model that has learned two moons for a moment.
//
//   write_two_moons FILE
#include <meanflow/meanflow.hpp>

int main(int argc, char** argv) {
  using namespace meanflow;
  if (argc != 2) return 2;
  MeanFlowTrainer trainer(Mlp<float>({.hidden = 64}), {.steps = 20, .batch = 128});
  trainer.fit(Toy2dSource{Toy2d::two_moons});
  save_model(argv[1], trainer);
}
