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
  static constexpr std::array metrics = flow_metrics;

  template <class N, class W>
  [[nodiscard]] auto operator()(const N& net, const FlowBatchOf<N>& batch,
                                const StepContext<N, W>& context) const {
    return FlowMatching{}(net, batch, context);
  }
};

using Trainer = MeanFlowTrainer<Mlp<float>, Recipe<OwnObjective, OwnWeighting, OwnPath, OwnTimes>>;

void train(Mlp<float> net) { Trainer trainer(std::move(net)); }
