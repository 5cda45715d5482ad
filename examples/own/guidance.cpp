// SPDX-License-Identifier: MIT
// A net that is told labels, guided at sampling and guided by its training. Prints how far either
// is from the flow that guidance describes.
#include <cmath>
#include <cstdio>
#include <numbers>

#include <meanflow/meanflow.hpp>

using namespace meanflow;

// [docs:labels]
/// Four classes: broad Gaussians on a circle, which overlap.
struct ClassSource {
  static constexpr std::int32_t classes = 4;
  using condition_type = LabelCondition<float>;

  [[nodiscard]] Shape row_shape() const { return {2}; }

  void fill(Tensor<float>& x, condition_type& condition, std::uint64_t seed,
            std::uint64_t number) const {
    condition.labels = Tensor<std::int32_t>({x.rows()});
    for (std::size_t row = 0; row < x.rows(); ++row) {
      RandomStream random(seed, Purpose::data, 0, number * x.rows() + row);
      const auto label = static_cast<std::int32_t>(random.below(classes));
      const float angle = std::numbers::pi_v<float> / 2 * static_cast<float>(label);
      condition.labels[row] = label;
      x.row(row)[0] = std::cos(angle) + 0.5F * random.normal<float>();
      x.row(row)[1] = std::sin(angle) + 0.5F * random.normal<float>();
    }
  }
};

/// A net that is told a class by a row of a table. The last row stands for none: `null_class()`.
class LabelledNet {
 public:
  using value_type = float;
  using device_type = Cpu;
  using condition_type = LabelCondition<float>;

  LabelledNet() { initialize(table_, {Distribution::normal}); }

  [[nodiscard]] const Parameters<float>& parameters() const { return parameters_; }
  [[nodiscard]] std::int32_t null_class() const { return classes; }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t, const condition_type& told) const {
    const X h = t - r;
    const X x = concat(z, t, h, class_embedding(table_, told.labels, z));  // (B, 12)
    return out_(middle_(in_(x, Silu{}), Silu{}));
  }

 private:
  static constexpr std::int32_t classes = ClassSource::classes;
  Parameters<float> parameters_{/*seed=*/1};
  Parameter<float> table_ = parameters_.add("classes", {classes + 1, 8});
  Linear<float> in_{parameters_, "in", 2 + 2 + 8, 128}, middle_{parameters_, "middle", 128, 128};
  Linear<float> out_{parameters_, "out", 128, 2};
};
// [docs:end]

// [docs:training]
/// Guided at sampling: a tenth of the rows is told nothing, each by chance.
auto plain_trainer() {
  return MeanFlowTrainer(LabelledNet{}, {.steps = 4000,
                                         .batch = 512,
                                         .learning_rate = {.peak = 3e-3},
                                         .condition_dropout = {.rate = 0.1}});
}

/// Guidance trained in, of scale omega / (1 - kappa) = 2.
auto guided_trainer() {
  return MeanFlowTrainer(
      LabelledNet{},
      {.steps = 4000,
       .batch = 512,
       .learning_rate = {.peak = 3e-3},
       .condition_dropout = {.rate = 0.1, .count = DropCount::exact}},
      Recipe<Guided<MeanFlow>>{.objective = {.guidance = {.omega = 1, .kappa = 0.5}}});
}
// [docs:end]

int main() {
  constexpr std::size_t count = 4000;
  auto plain = plain_trainer();
  plain.fit(ClassSource{});
  auto guided = guided_trainer();
  guided.fit(ClassSource{});

  // [docs:sampling]
  const Tensor<float> noise = normal_noise({count, 2}, /*seed=*/1);
  const LabelCondition<float> first_class{Tensor<std::int32_t>::full({count}, 0)};
  const auto at_sampling = [&](std::size_t steps) {
    return plain.sample(noise, {.steps = steps, .guidance = 2}, first_class);
  };
  const Tensor<float> trained_in = guided.sample(noise, 1, first_class);
  // What guidance means: dz/dt = u(null) + 2 (u(class) - u(null)), solved with care.
  const Tensor<float> flow =
      plain.sample(noise, {.steps = 200, .solver = Solver::heun, .guidance = 2}, first_class);
  // [docs:end]
  const auto distance = [&](const Tensor<float>& x) {
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i)
      sum += std::hypot(x.row(i)[0] - flow.row(i)[0], x.row(i)[1] - flow.row(i)[1]);
    return sum / count;
  };
  std::printf("mean distance from the guided flow, of the same noise\n");
  std::printf("unguided, 1 step                %.3f\n",
              distance(plain.sample(noise, 1, first_class)));
  for (const std::size_t steps : {1, 2, 4, 8})
    std::printf("guided at sampling, %zu step%s    %.3f\n", steps, steps == 1 ? " " : "s",
                distance(at_sampling(steps)));
  std::printf("guidance trained in, 1 step     %.3f\n", distance(trained_in));
  return distance(trained_in) < distance(at_sampling(1)) ? 0 : 1;
}
