// SPDX-License-Identifier: MIT
// What one training step asks of a GPU, counted with Thrust on the processor in its place: a table
// of launches, calls of libraries, copies and arithmetic. Fails where a step launches more or moves
// more than it is allowed to.
#include <cstdint>
#include <cstdio>
#include <string>

#include <meanflow/cuda.hpp>

namespace {

using namespace meanflow;

/// Bytes a second that an H200's memory gives to a plain copy.
constexpr double bandwidth = 4e12;

void print(const std::string& name, const kernels::cuda::Work& work) {
  std::printf("| %s | %llu | %.1f | %.2f | %.2f | %llu | %llu | %llu | %llu | %.2f | %.1f |\n",
              name.c_str(), static_cast<unsigned long long>(work.launches),
              static_cast<double>(work.elements) * 1e-6, work.moved * 1e-9,
              work.moved / bandwidth * 1e3, static_cast<unsigned long long>(work.products),
              static_cast<unsigned long long>(work.convolutions),
              static_cast<unsigned long long>(work.copies),
              static_cast<unsigned long long>(work.transfers),
              static_cast<double>(work.bytes) * 1e-6, work.multiply_adds * 1e-9);
  std::fflush(stdout);
}

/// What a step may launch, and move in gigabytes.
struct Budget {
  std::uint64_t launches;
  double moved;
};

template <class Objective, class Net>
[[nodiscard]] bool count(const std::string& name, Net net, const Shape& shape, double jump_fraction,
                         Budget budget) {
  MeanFlowTrainer trainer(
      std::move(net), {.batch = shape.rows()},
      Recipe<Objective, AdaptiveWeighting>{.times = {.jump_fraction = jump_fraction}});
  const auto x = normal_noise<float, Cuda>(shape, 1);
  trainer.step(x);  // what is made once is not counted
  kernels::cuda::counts_traffic() = true;
  kernels::cuda::work() = {};
  trainer.step(x);
  const kernels::cuda::Work work = kernels::cuda::work();
  kernels::cuda::counts_traffic() = false;
  print(name, work);
  if (work.launches <= budget.launches && work.moved * 1e-9 <= budget.moved) return true;
  std::printf("too much: %s may launch %llu kernels and move %.2f GB\n", name.c_str(),
              static_cast<unsigned long long>(budget.launches), budget.moved);
  return false;
}

}  // namespace

int main() {
  using LargeMlp = Mlp<float, Cuda>;
  using UNet = SongUNet<float, Cuda>;
  const auto mlp = [] { return LargeMlp({.hidden = 256, .layers = 4}); };
  const Shape points{4096, 2}, images{4, 32, 32, 3}, more{8, 32, 32, 3};
  std::printf(
      "| step | launches | elements, M | they move, GB | at 4 TB/s, ms | products | convolutions | "
      "copies | transfers | copied and "
      "transferred, MB | multiply-adds, G |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  bool fits = true;
  fits &=
      count<FlowMatching>("Mlp 256 x 4, 4096 points, flow matching", mlp(), points, 0, {30, 0.15});
  fits &=
      count<MeanFlow>("Mlp 256 x 4, 4096 points, Mean Flows, 75 %", mlp(), points, 0.75, {40, 0.2});
  fits &= count<FlowMatching>("SongUNet, 4 images, flow matching", UNet(), images, 0, {850, 6});
  fits &= count<FlowMatching>("SongUNet, 8 images, flow matching", UNet(), more, 0, {850, 8});
  fits &= count<MeanFlow>("SongUNet, 4 images, Mean Flows, 75 %", UNet(), images, 0.75, {850, 6.5});
  return fits ? 0 : 1;
}
