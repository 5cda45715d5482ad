// compiles
// SPDX-License-Identifier: MIT
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/trainer.hpp>

using namespace meanflow;

struct OwnPath {
  template <class T>
  [[nodiscard]] T alpha(const T& t) const {
    return 1 - t;
  }

  template <class T>
  [[nodiscard]] T sigma(const T& t) const {
    return t;
  }
};

struct OwnTimes {
  [[nodiscard]] std::size_t jump_rows(std::size_t batch, RandomStream&) const { return batch / 2; }

  [[nodiscard]] TimePair<float> sample(RandomStream& stream, bool jump) const {
    const float t = stream.uniform<float>();
    return {jump ? 0 : t, t};
  }
};

struct OwnWeighting {
  [[nodiscard]] double operator()(double, std::size_t) const { return 1; }
};

struct OwnObjective {
  template <class N, class T, class Device>
  [[nodiscard]] FlowResidual<T, Device> operator()(const N& net, const FlowBatch<T, Device>& batch,
                                                   Tape<T, Device>& tape) const {
    return FlowMatching{}(net, batch, tape);
  }
};

using Trainer = MeanFlowTrainer<Mlp<float>, OwnPath, OwnTimes, OwnWeighting, OwnObjective>;

void train(Mlp<float> net) { Trainer trainer(std::move(net)); }
