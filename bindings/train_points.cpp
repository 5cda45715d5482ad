// SPDX-License-Identifier: MIT
#include "train_points.hpp"

#include <meanflow/data/point_set.hpp>
#include <meanflow/flow/coupling.hpp>
#include <meanflow/flow/loss_weighting.hpp>
#include <meanflow/flow/time_sampler.hpp>
#include <meanflow/nn/mlp.hpp>
#include <meanflow/train/trainer.hpp>

#include "loaded_model.hpp"

namespace bindings {

TrainedPoints train_points(std::span<const double> values, std::size_t dim,
                           const PointTraining& settings,
                           const std::function<void(std::uint64_t, double)>& progress) {
  using namespace meanflow;
  use_threads();
  const PointSet points(values, dim, {.holdout = 0, .seed = settings.seed});
  const Mlp<float> net({.dimension = dim,
                        .hidden = settings.hidden,
                        .layers = settings.layers,
                        .octaves = settings.octaves,
                        .residual = true,
                        .time = low_frequencies(),
                        .seed = settings.seed});
  MeanFlowTrainer trainer(
      net,
      {.steps = settings.steps,
       .batch = settings.batch,
       .learning_rate = {.peak = settings.learning_rate, .decay = Decay::cosine},
       .averages = {WarmupEma{}},
       .seed = settings.seed},
      Recipe{.weighting = AdaptiveWeighting{.p = 0.3},
             .times = LogitNormalTimes{.t = {.deviation = 1.6}},
             .optimizer = Adam{.beta2 = 0.99, .weight_decay = 0.03},
             .coupling = OptimalTransport{}});
  TrainedPoints trained{nullptr, Tensor<float>({settings.steps})};
  trainer.fit(points, [&](const StepReport& report) {
    trained.losses[report.step] = static_cast<float>(report.loss);
    progress(report.steps_done(), report.loss);
  });
  net.parameters().assign(trainer.best_values());
  trained.model = std::make_shared<LoadedModel<Mlp<float>>>(
      Model<Mlp<float>>{net,
                        {.scaling = points.scaling(),
                         .row_shape = {dim},
                         .objective = detail::describe(trainer.recipe().objective),
                         .path = detail::describe(trainer.recipe().path)}});
  return trained;
}

}  // namespace bindings
