// SPDX-License-Identifier: MIT
// A tour of the parts, each usable alone. The documentation quotes the marked regions.
#include <cmath>
#include <cstdio>
#include <string>

#include <meanflow/meanflow.hpp>

using namespace meanflow;

// [docs:own-net]
/// One hidden layer on (z, t, t - r). The operator is a template: it serves sampling, derivatives
/// and training alike.
class OwnNet {
 public:
  using value_type = float;
  using device_type = Cpu;

  [[nodiscard]] const Parameters<float>& parameters() const { return parameters_; }

  template <class X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t) const {
    return out_(silu(in_(concat(z, t, t - r))));  // (B, 2)
  }

 private:
  Parameters<float> parameters_{/*seed=*/7};
  Linear<float> in_{parameters_, "in", 4, 64};
  Linear<float> out_{parameters_, "out", 64, 2};
};
// [docs:end]

// [docs:own-path]
/// More noise early on: z_t = (1 - t)^2 x + t (2 - t) e. Its derivatives come from Dual.
struct OwnPath {
  template <class T>
  T alpha(const T& t) const {
    return 1 - sigma(t);
  }
  template <class T>
  T sigma(const T& t) const {
    return t * (2 - t);
  }
};
// [docs:end]

// [docs:own-weighting]
/// Rows with a large error count less, but never less than a tenth.
struct OwnWeighting {
  double operator()(double square, std::size_t /*elements*/) const {
    return std::max(0.1, 1 / (1 + square));
  }
};
// [docs:end]

void derivative_of_a_function() {
  // [docs:jvp-scalar]
  const auto f = [](auto x) { return x * sin(x); };
  const auto [value, slope] = jvp(f, 2.0, 1.0);  // f(2) and f'(2)
  // [docs:end]
  std::printf("f(2) = %.4f, f'(2) = %.4f\n", value, slope);
}

void derivative_of_a_net() {
  // [docs:jvp-net]
  const Mlp<float> net({.hidden = 32, .layers = 2});
  const Tensor<float> z = normal_noise({5, 2}, 1), v = normal_noise({5, 2}, 2);  // (B, 2)
  const auto r = Tensor<float>::full({5, 1}, 0.25f), t = Tensor<float>::full({5, 1}, 0.75f);

  // du/dt = v . grad_z u + du/dt|_z: the derivative along (v, 0, 1).
  const auto u = net(DualTensor(z, v), DualTensor(r, Tensor<float>::zeros({5, 1})),
                     DualTensor(t, Tensor<float>::full({5, 1}, 1)));
  const Tensor<float> value = u.primal(), dudt = u.tangent();  // (B, 2) each
  // [docs:end]
  std::printf("u = %.4f, du/dt = %.4f\n", static_cast<double>(value[0]),
              static_cast<double>(dudt[0]));
}

void gradient_of_a_net() {
  // [docs:gradient]
  const OwnNet net;
  const Tensor<float> z = normal_noise({5, 2}, 1), times = Tensor<float>::full({5, 1}, 0.5f);
  auto gradient = Tensor<float>::zeros({net.parameters().flat_size()});
  Tape<float> tape;
  tape.bind(net.parameters(), gradient);
  const auto u = net(Var(tape, z), Var(tape, times), Var(tape, times));
  tape.backward(u.node(), Tensor<float>::full({5, 2}, 1));  // of the sum of all u
  // [docs:end]
  std::printf("gradient of out.bias: %.1f\n",
              static_cast<double>(gradient[net.parameters()["out.bias"].offset()]));
}

void own_parts() {
  // [docs:own-parts]
  MeanFlowTrainer trainer(OwnNet{}, {.steps = 200, .batch = 256},
                          Recipe{.objective = ImprovedMeanFlow{},
                                 .weighting = OwnWeighting{},
                                 .path = OwnPath{},
                                 .times = UniformTimes{.jump_fraction = 0.5}});
  trainer.fit(Toy2dSource{Toy2d::rings}, [](const StepReport& report) {
    if (report.step % 100 == 0) std::printf("%.3f\n", report.metrics["squared_error"]);
    return report.metrics["squared_error"] < 0.01;  // true stops the training
  });
  // [docs:end]
}

void another_optimizer() {
  // [docs:optimizer]
  MeanFlowTrainer trainer(
      OwnNet{},
      {.steps = 20,
       .groups = {{.contains = [](const ParameterEntry& p) { return p.name.starts_with("in."); },
                   .frozen = true},
                  {.contains = is_vector, .decay_scale = 0}}},  // no decay of norms and biases
      Recipe{.optimizer = Muon{.weight_decay = 0.01}});
  // [docs:end]
  trainer.fit(Toy2dSource{Toy2d::rings});
}

void pairs_that_lie_close() {
  // [docs:coupling]
  MeanFlowTrainer trainer(Mlp<float>(), {.steps = 100, .batch = 256},
                          Recipe{.coupling = OptimalTransport{}});
  trainer.fit(Toy2dSource{});
  // [docs:end]
}

void sampling() {
  const Mlp<float> net({.hidden = 32, .layers = 2});
  // [docs:sampling]
  const Tensor<float> noise = normal_noise({100, 2}, /*seed=*/1);
  const Tensor<float> one = sample(net, noise);                              // e - u(e, 0, 1)
  const Tensor<float> four = sample(net, noise, 4);                          // equal steps
  const Tensor<float> two = sample(net, noise, std::vector{1.0, 0.3, 0.0});  // your own times
  const Tensor<float> fine = solve(net, noise, 100, Solver::heun);           // flow matching
  // [docs:end]
  std::printf("%zu %zu %zu %zu\n", one.rows(), two.rows(), four.rows(), fine.rows());
}

void saving() {
  const Mlp<float> net({.hidden = 32, .layers = 2});
  // [docs:saving]
  save_parameters("tour.safetensors", net.parameters(), {{"made by", "the tour"}});
  load_parameters("tour.safetensors", net.parameters());
  // [docs:end]
}

void kernels_in_use() {
  // [docs:kernels]
  const KernelReport report = kernel_report();
  std::printf("%s\n", to_string(report).c_str());
  for (const std::string& warning : report.warnings) std::printf("warning: %s\n", warning.c_str());
  // [docs:end]
}

int main() {
  derivative_of_a_function();
  derivative_of_a_net();
  gradient_of_a_net();
  own_parts();
  another_optimizer();
  pairs_that_lie_close();
  sampling();
  saving();
  kernels_in_use();
}
