// error: objective\(net, batch, tape\).*return-type-requirement|same_as<double, FlowResidual
// SPDX-License-Identifier: MIT
#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

struct OwnObjective {
  template <class N, class T, class Device>
  [[nodiscard]] double operator()(const N& net, const FlowBatch<T, Device>& batch,
                                  Tape<T, Device>& tape) const {
    return tape.size() + batch.z.rows() + net.parameters().flat_size();
  }
};

using Trainer =
    MeanFlowTrainer<Mlp<float>, LinearPath, LogitNormalTimes, ConstantWeighting, OwnObjective>;

void train(Mlp<float> net) { Trainer trainer(std::move(net)); }
