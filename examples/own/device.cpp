// SPDX-License-Identifier: MIT
// A custom device: the processor, with a product that keeps count. Nets, objectives and
// trainers find it by the type of their tensors.
#include <atomic>
#include <cstdint>
#include <cstdio>

#include <meanflow/meanflow.hpp>

// [docs:device]
namespace own {

/// The processor, which counts the multiplications of its products.
struct Counting : meanflow::Cpu {
  static constexpr const char* name = "counting";
  static inline std::atomic<std::uint64_t> multiplications{0};
};

template <class T>
void gemm(Counting, meanflow::Transpose transpose_a, meanflow::Transpose transpose_b, std::size_t m,
          std::size_t n, std::size_t k, const T* a, const T* b, T beta, T* c) {
  Counting::multiplications += std::uint64_t{m} * n * k;
  gemm(meanflow::Cpu{}, transpose_a, transpose_b, m, n, k, a, b, beta, c);
}

}  // namespace own

static_assert(meanflow::kernels::Device<own::Counting>);

/// Millions of multiplications in a training step whose share `jumps` of rows has r < t.
template <class Objective>
double millions_per_step(Objective objective, double jumps) {
  meanflow::MeanFlowTrainer trainer(
      meanflow::Mlp<float, own::Counting>({.hidden = 256, .layers = 4}),
      {.steps = 1, .batch = 1024},
      meanflow::Recipe{.objective = objective,
                       .times = meanflow::PairedTimes{.t = meanflow::LogitNormalTime{},
                                                      .jump_fraction = jumps}});
  own::Counting::multiplications = 0;
  trainer.fit(meanflow::Toy2dSource{meanflow::Toy2d::two_moons});
  return static_cast<double>(own::Counting::multiplications) / 1e6;
}
// [docs:end]

int main() {
  const double plain = millions_per_step(meanflow::FlowMatching{}, 0);
  std::printf("%-28s %8s %6s\n", "objective", "millions", "ratio");
  std::printf("%-28s %8.1f %6.2f\n", "flow matching", plain, 1.0);
  bool right = plain > 0;
  for (const double jumps : {0.25, 0.75, 1.0}) {
    const double all = millions_per_step(meanflow::MeanFlow{}, jumps);
    std::printf("Mean Flows, %3.0f %% of the rows  %8.1f %6.2f\n", 100 * jumps, all, all / plain);
    // Forward and backward pass are three products for each layer, and a tangent is one more; the
    // first layer has no gradient by its input.
    right = right && all / plain > 1 + 0.3 * jumps && all / plain < 1 + 0.4 * jumps;
  }
  return right ? 0 : 1;
}
