// SPDX-License-Identifier: MIT
// A net with two outputs, the average velocity u and the velocity v, and the objective that trains
// both: improved Mean Flows with an auxiliary head (arXiv 2512.02012), whose v gives the direction
// of the derivative instead of the conditional velocity.
#include <array>
#include <cstdio>

#include <meanflow/meanflow.hpp>

#include "two_moons.hpp"

using namespace meanflow;

// [docs:two-heads]
template <class U, class V>
struct Heads {
  U u;
  V v;  // without tangents: nobody needs dv/dt
};

class TwoHeadNet {
 public:
  using value_type = float;
  using device_type = Cpu;

  [[nodiscard]] const Parameters<float>& parameters() const { return parameters_; }

  template <class X>
  [[nodiscard]] auto heads(const X& z, const X& r, const X& t) const {
    const X x = in_(concat(z, t, t - r), Silu{});
    return Heads{u_(middle_(x, Silu{})), v_(without_tangent(x))};
  }
  template <class X>  // what samplers call
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t) const {
    return heads(z, r, t).u;
  }

 private:
  Parameters<float> parameters_{/*seed=*/1};
  Linear<float> in_{parameters_, "in", 4, 128}, middle_{parameters_, "middle", 128, 128};
  Linear<float> u_{parameters_, "u", 128, 2}, v_{parameters_, "v", 128, 2};
};

struct TwoHeadObjective {
  static constexpr std::array metrics{Metric{"u_error"}, Metric{"v_error"}};

  template <class N, class W>
  [[nodiscard]] RowLosses<float, Cpu, 2, 2> operator()(const N& net, const FlowBatchOf<N>& batch,
                                                       const StepContext<N, W>& context) const {
    const auto rows = [&](const auto& x) { return x.rows(0, batch.jump_rows); };
    const auto dz = net.heads(rows(batch.z), rows(batch.t), rows(batch.t)).v;  // (K, 2)
    const auto [z, r, t] = inputs_along(batch, dz, context.tape);
    const auto [u, v] = net.heads(z, r, t);

    auto of_u = mean_flow_losses(context, batch, velocity_and_jvp(u));
    auto of_v = squared_error(context, v, batch.v);
    accumulate(Cpu{}, of_u.loss.size(), of_v.loss.data(), of_u.loss.data());
    return {of_u.loss, {of_u.outputs[0], of_v.output}, {of_u.metrics[0], of_v.squared_error}};
  }
};
// [docs:end]

int main() {
  MeanFlowTrainer trainer(TwoHeadNet{}, {.steps = 2000, .batch = 256}, Recipe<TwoHeadObjective>{});
  trainer.fit(Toy2dSource{Toy2d::two_moons}, [](const StepReport& report) {
    if (report.step % 500 == 499)
      std::printf("step %llu: u %.3f, v %.3f\n",
                  static_cast<unsigned long long>(report.steps_done()), report.metrics["u_error"],
                  report.metrics["v_error"]);
  });
  return status_of(trainer, 0.06);
}
