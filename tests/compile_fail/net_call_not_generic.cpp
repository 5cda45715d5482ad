// error: CallableWith<.*DualTensor
// SPDX-License-Identifier: MIT
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

struct OwnNet {
  using value_type = float;
  using device_type = Cpu;
  Parameters<float> store{0};

  [[nodiscard]] const Parameters<float>& parameters() const { return store; }

  // Takes plain tensors, but no DualTensor and no Var.
  [[nodiscard]] Tensor<float> operator()(const Tensor<float>& z, const Tensor<float>&,
                                         const Tensor<float>&) const {
    return z;
  }
};

void train(OwnNet net) { MeanFlowTrainer<OwnNet> trainer(std::move(net)); }
