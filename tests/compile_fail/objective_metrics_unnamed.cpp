// error: an objective must name the metrics that it gives
// SPDX-License-Identifier: MIT
#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

struct OwnObjective {
  template <class N, class W>
  [[nodiscard]] auto operator()(const N& net, const FlowBatchOf<N>& batch,
                                const StepContext<N, W>& context) const {
    return FlowMatching{}(net, batch, context);
  }
};

void train(Mlp<float> net, const Tensor<float>& x) {
  MeanFlowTrainer trainer(std::move(net), {}, Recipe<OwnObjective>{});
  trainer.step(x);
}
