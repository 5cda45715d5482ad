// error: an objective must be callable with \(net, batch, context\)
// SPDX-License-Identifier: MIT
#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

struct OwnObjective {
  template <class N, class W>
  [[nodiscard]] double operator()(const N& net, const FlowBatchOf<N>& batch,
                                  const StepContext<N, W>& context) const {
    return context.tape.size() + batch.z.rows() + net.parameters().flat_size();
  }
};

using Trainer = MeanFlowTrainer<Mlp<float>, Recipe<OwnObjective>>;

void train(Mlp<float> net) { Trainer trainer(std::move(net)); }
