// compiles
// SPDX-License-Identifier: MIT
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

struct OwnNet {
  using value_type = float;
  using device_type = Cpu;
  Parameters<float> store{0};

  [[nodiscard]] const Parameters<float>& parameters() const { return store; }

  template <class X>
  [[nodiscard]] X operator()(const X& z, const X&, const X&) const {
    return z;
  }
};

void train(OwnNet net) { MeanFlowTrainer<OwnNet> trainer(std::move(net)); }
