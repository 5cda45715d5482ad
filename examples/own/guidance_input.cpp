// SPDX-License-Identifier: MIT
// A net that is told how much it is to be guided: one training run, any scale at sampling, one
// evaluation each. Prints, for some scales, how many samples are nearest to their own class, and
// how much of it they cover.
#include <cmath>
#include <cstdio>
#include <numbers>
#include <vector>

#include <meanflow/meanflow.hpp>

using namespace meanflow;

namespace {

constexpr std::int32_t classes = 4;

/// Four classes: broad Gaussians on a circle, which overlap.
void draw(std::int32_t label, RandomStream& random, float* point) {
  const float angle = std::numbers::pi_v<float> / 2 * static_cast<float>(label);
  point[0] = std::cos(angle) + 0.5F * random.normal<float>();
  point[1] = std::sin(angle) + 0.5F * random.normal<float>();
}

struct ClassSource {
  using condition_type = LabelCondition<float>;

  [[nodiscard]] Shape row_shape() const { return {2}; }

  void fill(Tensor<float>& x, condition_type& condition, std::uint64_t seed,
            std::uint64_t number) const {
    condition.labels = Tensor<std::int32_t>({x.rows()});
    for (std::size_t row = 0; row < x.rows(); ++row) {
      RandomStream random(seed, Purpose::data, 0, number * x.rows() + row);
      condition.labels[row] = static_cast<std::int32_t>(random.below(classes));
      draw(condition.labels[row], random, x.row(row));
    }
  }
};

// [docs:net]
/// A net with two heads that is told a class, a guidance scale and an interval: `ImfNet`.
class GuidedNet {
 public:
  using value_type = float;
  using device_type = Cpu;
  using condition_type = GuidanceCondition<float>;

  GuidedNet() { initialize(table_, {Distribution::normal}); }

  [[nodiscard]] const Parameters<float>& parameters() const { return parameters_; }
  [[nodiscard]] std::int32_t null_class() const { return classes; }

  template <Differentiable X>
  [[nodiscard]] X operator()(const X& z, const X& r, const X& t, const condition_type& told) const {
    return u_(trunk(z, r, t, told));
  }
  template <Differentiable X>
  [[nodiscard]] auto heads(const X& z, const X& r, const X& t, const condition_type& told) const {
    const X x = trunk(z, r, t, told);
    auto v = v_(without_tangent(x));  // nobody needs dv/dt
    return ImfHeads<X, decltype(v)>{u_(x), v};
  }
  template <Differentiable X>
  [[nodiscard]] X velocity(const X& z, const X& t, const condition_type& told) const {
    return v_(trunk(z, t, t, told));
  }

 private:
  template <class X>
  [[nodiscard]] X trunk(const X& z, const X& r, const X& t, const condition_type& told) const {
    const auto scale = told.omega.empty() ? Tensor<float>::full({z.rows(), 1}, 1) : told.omega;
    const auto low = told.t_min.empty() ? Tensor<float>::zeros({z.rows(), 1}) : told.t_min;
    const auto high = told.t_max.empty() ? Tensor<float>::full({z.rows(), 1}, 1) : told.t_max;
    const X guidance =
        concat(log(constant_like(t, scale)), constant_like(t, low), constant_like(t, high));
    const X x = concat(z, t, t - r, guidance, class_embedding(table_, told.labels, z));  // (B, 15)
    return middle_(in_(x, Silu{}), Silu{});
  }

  Parameters<float> parameters_{/*seed=*/1};
  Parameter<float> table_ = parameters_.add("classes", {classes + 1, 8});
  Linear<float> in_{parameters_, "in", 2 + 2 + 3 + 8, 192},
      middle_{parameters_, "middle", 192, 192};
  Linear<float> u_{parameters_, "u", 192, 2}, v_{parameters_, "v", 192, 2};
};
static_assert(ImfNet<GuidedNet>);
// [docs:end]

/// The class whose centre is nearest.
std::int32_t nearest_class(const float* point) {
  const float angle = std::atan2(point[1], point[0]) / (std::numbers::pi_v<float> / 2);
  return (static_cast<std::int32_t>(std::lround(angle)) + classes) % classes;
}

struct Measured {
  double agreement = 0;  ///< share of samples that are nearest to their own class
  double precision = 0, recall = 0;
};

/// Of samples of all classes, each against points of its own class.
Measured measure(const GuidedNet& net, const GuidanceInput& guidance) {
  constexpr std::size_t count = 2000;
  Measured mean;
  for (std::int32_t label = 0; label < classes; ++label) {
    std::vector<float> real(2 * count);
    for (std::size_t i = 0; i < count; ++i) {
      RandomStream random(9, Purpose::user, static_cast<std::uint64_t>(label), i);
      draw(label, random, &real[2 * i]);
    }
    const GuidanceCondition<float> told{Tensor<std::int32_t>::full({count}, label)};
    // [docs:sampling]
    const auto points =
        sample(net, normal_noise({count, 2}, 1), 1, with_guidance(told, guidance, count));
    // [docs:end]
    const PrecisionRecall found = precision_recall(points.span(), real, 2);
    mean.precision += found.precision / classes;
    mean.recall += found.recall / classes;
    for (std::size_t i = 0; i < count; ++i)
      mean.agreement += (nearest_class(points.row(i)) == label) / double(classes * count);
  }
  return mean;
}

void print(const GuidanceInput& guidance, const Measured& measured) {
  std::printf("%5.1f  [%.1f, %.1f]  %9.3f  %9.3f  %6.3f\n", guidance.omega, guidance.t_min,
              guidance.t_max, measured.agreement, measured.precision, measured.recall);
}

}  // namespace

int main() {
  // [docs:training]
  MeanFlowTrainer trainer(GuidedNet{},
                          {.steps = 4000, .batch = 512, .learning_rate = {.peak = 3e-3}},
                          Recipe<ImfObjective>{.times = {.jump_fraction = 0.5}});
  trainer.fit(ClassSource{});
  // [docs:end]
  std::printf("omega  interval    own class  precision  recall\n");
  std::vector<Measured> found;
  for (const double omega : {1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0}) {
    found.push_back(measure(trainer.net(), {.omega = omega}));
    print({.omega = omega}, found.back());
  }
  const GuidanceInput inside{.omega = 5, .t_min = 0.2, .t_max = 0.9};
  print(inside, measure(trainer.net(), inside));
  const bool guides = found[2].agreement > found[0].agreement + 0.05;
  return guides && found[0].recall > 0.8 && found[0].precision > 0.9 ? 0 : 1;
}
