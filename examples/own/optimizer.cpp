// SPDX-License-Identifier: MIT
// A custom optimizer. The trainer clips, schedules, groups, averages, writes checkpoints and
// vectorises it.
#include <array>

#include <meanflow/meanflow.hpp>

#include "two_moons.hpp"

using namespace meanflow;

// [docs:optimizer]
/// Lion (Chen et al., arXiv 2302.06675): steps of one length, along the sign of the momentum.
struct Lion {
  double beta1 = 0.9, beta2 = 0.99, weight_decay = 0;
  static constexpr std::array state{"momentum"};

  template <class T>
  struct Numbers {
    T rate, beta1, beta2, decay;
  };
  template <class T>
  [[nodiscard]] Numbers<T> numbers(const StepRates& r) const {
    return {T(r.learning_rate), T(beta1), T(beta2),
            T(1 - r.learning_rate * weight_decay * r.decay_scale)};
  }
  template <class T, class V>
  static void update(const Numbers<T>& n, const V& g, V& p, V& m) {
    const V direction = m + (1 - n.beta1) * (g - m);
    const V step = select(direction > V(0), V(n.rate), V(-n.rate));
    p = p * n.decay - select(direction == V(0), V(0), step);
    m = m + (1 - n.beta2) * (g - m);
  }
};
// [docs:end]

int main() {
  MeanFlowTrainer trainer(Mlp<float>({.hidden = 128, .layers = 3}),
                          {.steps = 2000, .batch = 256, .learning_rate = {.peak = 3e-4}},
                          Recipe{.optimizer = Lion{.weight_decay = 0.01}});
  trainer.fit(Toy2dSource{Toy2d::two_moons}, ProgressBar("training"));
  return status_of(trainer, 0.03);
}
