// SPDX-License-Identifier: MIT
// A net that is told numbers: points on a circle, given their angle. One step of it makes points at
// any requested angle.
#include <cmath>
#include <cstdio>
#include <numbers>

#include <meanflow/meanflow.hpp>

using namespace meanflow;

// [docs:float-condition]
struct CircleSource {
  using condition_type = VectorCondition<float>;

  [[nodiscard]] Shape row_shape() const { return {2}; }

  void fill(Tensor<float>& x, condition_type& condition, std::uint64_t seed,
            std::uint64_t number) const {
    condition.values = Tensor<float>({x.rows(), 2});
    for (std::size_t row = 0; row < x.rows(); ++row) {
      RandomStream random(seed, Purpose::data, 0, number * x.rows() + row);
      const float angle = 2 * std::numbers::pi_v<float> * random.uniform<float>();
      float *point = x.row(row), *given = condition.values.row(row);
      given[0] = std::cos(angle);
      given[1] = std::sin(angle);
      for (int c = 0; c < 2; ++c) point[c] = given[c] + 0.05f * random.normal<float>();
    }
  }
};

Tensor<float> points_at(float angle, std::size_t count) {
  MeanFlowTrainer trainer(Mlp<float>({.hidden = 64, .layers = 3, .condition = 2}),
                          {.steps = 1500, .batch = 256});
  trainer.fit(CircleSource{});
  VectorCondition<float> wanted{Tensor<float>({count, 2})};
  for (std::size_t row = 0; row < count; ++row) {
    wanted.values.row(row)[0] = std::cos(angle);
    wanted.values.row(row)[1] = std::sin(angle);
  }
  return trainer.sample(normal_noise({count, 2}, /*seed=*/1), /*steps=*/1, wanted);
}
// [docs:end]

int main() {
  const float angle = 1;
  const Tensor<float> points = points_at(angle, 500);
  double distance = 0;
  for (std::size_t row = 0; row < 500; ++row)
    distance +=
        std::hypot(points.row(row)[0] - std::cos(angle), points.row(row)[1] - std::sin(angle)) /
        500.0;
  std::printf("mean distance from the requested angle: %.3f\n", distance);
  return distance < 0.15 ? 0 : 1;
}
