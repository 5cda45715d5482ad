// SPDX-License-Identifier: MIT
// What one training step asks of a GPU, counted with Thrust on the processor in its place: a table
// of launches, calls of libraries, copies and arithmetic.
#include <cstdio>
#include <string>

#include <meanflow/cuda.hpp>

namespace {

using namespace meanflow;

void print(const std::string& name, const kernels::cuda::Work& work) {
  std::printf(
      "| %s | %llu | %.1f | %llu | %llu | %llu | %llu | %.2f | %.1f |\n", name.c_str(),
      static_cast<unsigned long long>(work.launches), static_cast<double>(work.elements) * 1e-6,
      static_cast<unsigned long long>(work.products),
      static_cast<unsigned long long>(work.convolutions),
      static_cast<unsigned long long>(work.copies), static_cast<unsigned long long>(work.transfers),
      static_cast<double>(work.bytes) * 1e-6, work.multiply_adds * 1e-9);
  std::fflush(stdout);
}

template <class Objective, class Net>
void count(const std::string& name, Net net, const Shape& shape, double jump_fraction) {
  MeanFlowTrainer trainer(
      std::move(net), {.batch = shape.rows()},
      Recipe<Objective, AdaptiveWeighting>{.times = {.jump_fraction = jump_fraction}});
  const auto x = normal_noise<float, Cuda>(shape, 1);
  trainer.step(x);  // what is made once is not counted
  kernels::cuda::work() = {};
  trainer.step(x);
  print(name, kernels::cuda::work());
}

}  // namespace

int main() {
  using LargeMlp = Mlp<float, Cuda>;
  using UNet = SongUNet<float, Cuda>;
  const auto mlp = [] { return LargeMlp({.hidden = 256, .layers = 4}); };
  const Shape points{4096, 2}, images{4, 32, 32, 3}, more{8, 32, 32, 3};
  std::printf(
      "| step | launches | elements, M | products | convolutions | copies | transfers | copied and "
      "transferred, MB | multiply-adds, G |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  count<FlowMatching>("Mlp 256 x 4, 4096 points, flow matching", mlp(), points, 0);
  count<MeanFlow>("Mlp 256 x 4, 4096 points, Mean Flows, 75 %", mlp(), points, 0.75);
  count<FlowMatching>("SongUNet, 4 images, flow matching", UNet(), images, 0);
  count<FlowMatching>("SongUNet, 8 images, flow matching", UNet(), more, 0);
  count<MeanFlow>("SongUNet, 4 images, Mean Flows, 75 %", UNet(), images, 0.75);
}
