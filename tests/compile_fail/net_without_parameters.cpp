// error: net\.parameters\(\)
// SPDX-License-Identifier: MIT
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

struct OwnNet {
  using value_type = float;
  using device_type = Cpu;

  template <class X>
  [[nodiscard]] X operator()(const X& z, const X&, const X&) const {
    return z;
  }
};

void train(OwnNet net) { MeanFlowTrainer<OwnNet> trainer(std::move(net)); }
