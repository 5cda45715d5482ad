// SPDX-License-Identifier: MIT
// A loss that couples the rows of a batch: one-step generators trained by the energy distance,
// which is the maximum mean discrepancy with the kernel -|x - y| (Szekely and Rizzo, 2013). All
// tiles are run forward, every generated point is pulled to the data and pushed from the others,
// and then all tiles are run backward.
#include <array>
#include <cmath>

#include <meanflow/meanflow.hpp>

#include "two_moons.hpp"

using namespace meanflow;

// [docs:batch-objective]
struct EnergyObjective {
  static constexpr std::array metrics{Metric{"energy"}};
  [[nodiscard]] static constexpr bool needs_jumps() { return false; }  // times are not used

  /// The generated points, x = e - u(e, 0, 1).
  template <class N>
  [[nodiscard]] Var<Tensor<float>> output(const N& net, const FlowBatchOf<N>& batch,
                                          Tape<float>& tape) const {
    const Var noise(tape, batch.noise);
    const Var r(tape, Tensor<float>::zeros(batch.t.shape()));
    const Var t(tape, Tensor<float>::full(batch.t.shape(), 1));
    return noise - evaluate(net, noise, r, t, batch.condition);
  }

  /// Row i of 2 E|x - y| - E|x - x'|, whose gradient by x_i is
  /// 2 / B (mean over j of (x_i - y_j) / |x_i - y_j| - mean over j != i of the same with x_j).
  [[nodiscard]] RowLosses<float, Cpu, 1, 1> losses(const Tensor<float>& x,
                                                   const Tensor<float>& data) const {
    const std::size_t rows = x.rows(), dimension = x.row_size();
    RowLosses<float, Cpu, 1, 1> result{
        Tensor<double>({rows}), {{{0, Tensor<float>::zeros(x.shape())}}}, {Tensor<float>({rows})}};
    float* const gradient = result.outputs[0].gradient.data();
    parallel_for(Cpu{}, rows, 16, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) {
        const auto mean_distance = [&](const Tensor<float>& y, double count, double sign) {
          double sum = 0;
          for (std::size_t j = 0; j < rows; ++j) {
            double square = 0;
            for (std::size_t c = 0; c < dimension; ++c)
              square += std::pow(x.row(i)[c] - y.row(j)[c], 2);
            const double distance = std::sqrt(square);
            sum += distance;
            if (distance == 0) continue;
            for (std::size_t c = 0; c < dimension; ++c)
              gradient[i * dimension + c] += static_cast<float>(
                  sign * 2 * (x.row(i)[c] - y.row(j)[c]) / (distance * count * double(rows)));
          }
          return sum / count;
        };
        const double to_data = mean_distance(data, double(rows), 1);
        const double to_others = mean_distance(x, double(rows - 1), -1);
        result.loss[i] = 2 * to_data - to_others;
        result.metrics[0][i] = static_cast<float>(result.loss[i]);
      }
    });
    return result;
  }
};
// [docs:end]

int main() {
  MeanFlowTrainer trainer(Mlp<float>({.hidden = 128, .layers = 3}), {.steps = 2000, .batch = 512},
                          Recipe<EnergyObjective>{});
  trainer.fit(Toy2dSource{Toy2d::two_moons}, ProgressBar("training"));
  return status_of(trainer, 0.02);
}
