// SPDX-License-Identifier: MIT
// Simulations as data to learn from, and the net that is trained on them.
#pragma once

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/meanflow.hpp>

#include "settings.hpp"
#include "tasks.hpp"

namespace posterior {

using meanflow::Mlp;
using meanflow::Tensor;
using meanflow::VectorCondition;

/// Between theta and the numbers w that the net makes: w = L^-1 (theta - A x - b), with A x + b the
/// linear regression of theta on x, and L L^T the covariance of what it leaves over. The net has
/// only that left to learn, in all directions at one scale; L is invertible, so nothing is lost.
class Coordinates {
 public:
  /// theta (N, D), x (N, C) with columns of zero mean.
  Coordinates(std::span<const double> theta, std::span<const double> x, std::size_t rows) {
    const Eigen::MatrixXd t = as_matrix(theta, rows), given = as_matrix(x, rows);
    const double count = static_cast<double>(rows);
    offset_ = t.colwise().mean();
    const Eigen::MatrixXd centred = t.rowwise() - offset_;
    slope_ = (given.transpose() * given).ldlt().solve(given.transpose() * centred);
    const Eigen::MatrixXd left = centred - given * slope_;
    const Eigen::LLT<Eigen::MatrixXd> root(left.transpose() * left / count);
    if (root.info() != Eigen::Success)
      throw meanflow::Error("theta follows from x exactly in these simulations, use more of them");
    root_ = root.matrixL();
  }

  [[nodiscard]] std::vector<double> to_net(std::span<const double> theta, std::span<const double> x,
                                           std::size_t rows) const {
    const Eigen::MatrixXd left =
        (as_matrix(theta, rows) - as_matrix(x, rows) * slope_).rowwise() - offset_;
    const Rows w = root_.triangularView<Eigen::Lower>().solve(left.transpose()).transpose();
    return {w.data(), w.data() + w.size()};
  }

  /// theta of the rows w (N, D), which are all for one x.
  [[nodiscard]] std::vector<float> to_theta(const Tensor<float>& w,
                                            std::span<const double> x) const {
    const Eigen::Map<const RowsOf<float>> all(w.data(), Eigen::Index(w.rows()), offset_.size());
    const Eigen::RowVectorXd centre = offset_ + as_matrix(x, 1) * slope_;
    const RowsOf<float> theta =
        ((all.cast<double>() * root_.transpose()).rowwise() + centre).cast<float>();
    return {theta.data(), theta.data() + theta.size()};
  }

 private:
  template <class T>
  using RowsOf = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Rows = RowsOf<double>;

  [[nodiscard]] static Eigen::Map<const Rows> as_matrix(std::span<const double> values,
                                                        std::size_t rows) {
    return {values.data(), Eigen::Index(rows), Eigen::Index(values.size() / rows)};
  }

  Eigen::RowVectorXd offset_;  // b
  Eigen::MatrixXd slope_;      // A, transposed (C, D)
  Eigen::MatrixXd root_;       // L
};

// [docs:source]
/// Some of the simulated pairs, in the scale of the net: theta to be made, x to be told.
struct Pairs {
  using condition_type = VectorCondition<float>;

  Tensor<float> theta, x;  // (N, parameters), (N, observables)

  [[nodiscard]] meanflow::Shape row_shape() const { return {theta.row_size()}; }

  void fill(Tensor<float>& rows, condition_type& condition, std::uint64_t seed,
            std::uint64_t number) const {
    condition.values = Tensor<float>({rows.rows(), x.row_size()});
    for (std::size_t i = 0; i < rows.rows(); ++i) {
      RandomStream random(seed, meanflow::Purpose::data, 0, number * rows.rows() + i);
      const std::size_t pair = random.below(theta.rows());
      std::copy_n(theta.row(pair), theta.row_size(), rows.row(i));
      std::copy_n(x.row(pair), x.row_size(), condition.values.row(i));
    }
  }
};
// [docs:end]

/// theta and x (N, ...) of N simulations.
struct Table {
  std::vector<double> theta, x;
};

/// Draws from the prior, and what the simulator makes of them. Other streams give other draws.
[[nodiscard]] inline Table simulate(const Task& task, std::size_t count, std::uint64_t seed,
                                    std::uint64_t stream) {
  Table table{std::vector<double>(count * task.parameters()),
              std::vector<double>(count * task.observables())};
  for (std::size_t i = 0; i < count; ++i) {
    RandomStream random(seed, meanflow::Purpose::user, stream, i);
    const auto theta = std::span(table.theta).subspan(i * task.parameters(), task.parameters());
    task.draw(theta, random);
    task.simulate(theta, std::span(table.x).subspan(i * task.observables(), task.observables()),
                  random);
  }
  return table;
}

/// The simulations of a task, a tenth of them held out, and their scales.
class Simulations {
 public:
  Simulations(const Task& task, const Settings& s)
      : Simulations(task, s, simulate(task, s.simulations, s.seed, training_stream)) {}

  [[nodiscard]] const Pairs& training() const { return training_; }
  [[nodiscard]] const Pairs& held_out() const { return held_out_; }

  /// An observation in the scale of the net.
  [[nodiscard]] std::vector<double> scaled(std::span<const double> x) const {
    std::vector<double> values(x.begin(), x.end());
    x_scaling_.apply(std::span(values));
    return values;
  }

  /// What the net is told of an observation: one row.
  [[nodiscard]] VectorCondition<float> told(std::span<const double> x) const {
    VectorCondition<float> condition{Tensor<float>({1, x.size()})};
    std::ranges::copy(scaled(x), condition.values.data());
    return condition;
  }

  /// theta of what the net made for an observation.
  [[nodiscard]] std::vector<float> to_theta(const Tensor<float>& w,
                                            std::span<const double> x) const {
    return coordinates_.to_theta(w, scaled(x));
  }

 private:
  static constexpr std::uint64_t training_stream = 10;

  Simulations(const Task& task, const Settings& s, const Table& table)
      : x_scaling_(meanflow::measure_scaling(table.x, task.observables())),
        coordinates_(table.theta, scaled(table.x), s.simulations) {
    const std::size_t held_out = s.simulations / 10;
    const std::vector<double> x = scaled(table.x);
    const std::vector<double> theta = coordinates_.to_net(table.theta, x, s.simulations);
    const auto rows = [](std::span<const double> values, std::size_t dim, std::size_t first,
                         std::size_t last) {
      Tensor<float> part({last - first, dim});
      std::ranges::copy(values.subspan(first * dim, (last - first) * dim), part.data());
      return part;
    };
    held_out_ = {rows(theta, task.parameters(), 0, held_out),
                 rows(x, task.observables(), 0, held_out)};
    training_ = {rows(theta, task.parameters(), held_out, s.simulations),
                 rows(x, task.observables(), held_out, s.simulations)};
  }

  meanflow::Scaling x_scaling_;
  Coordinates coordinates_;
  Pairs training_, held_out_;
};

/// The averaged net when it did best on simulations held out.
struct Trained {
  Mlp<float> net;
  std::uint64_t steps = 0, best_step = 0;
  double seconds = 0, held_out_error = std::numeric_limits<double>::infinity();
};

[[nodiscard]] inline Mlp<float> make_net(const Task& task, const Settings& s) {
  return Mlp<float>({.dimension = task.parameters(),
                     .hidden = s.hidden,
                     .layers = s.layers,
                     .octaves = s.octaves,
                     .residual = true,
                     .condition = task.observables(),
                     .time = meanflow::low_frequencies(),
                     .seed = s.seed});
}

/// What training and its examination have in common.
// [docs:recipe]
template <class Objective>
[[nodiscard]] auto make_recipe(const Settings& s, Objective objective) {
  return meanflow::Recipe{
      .objective = objective,
      .weighting = meanflow::AdaptiveWeighting{.p = s.weighting_p},
      .times = meanflow::LogitNormalTimes{.t = {-0.4, 1.6}, .jump_fraction = s.jump_fraction},
      .optimizer = meanflow::Adam{.beta2 = 0.99},
      .coupling = meanflow::OptimalTransport{.block = s.coupling_block,
                                             .condition_weight = s.condition_weight}};
}
// [docs:end]

/// A callback that keeps the averaged net whose velocities u(z, t, t) are the best on simulations
/// held out, and stops when they have not improved for long. That error, of flow matching, is small
/// if and only if the velocity is right; those of mean flows depend on the net's own derivative.
class KeepBest {
 public:
  KeepBest(const Task& task, const Simulations& simulations, const Settings& s, Trained& trained)
      : held_out_(simulations.held_out()),
        every_(std::max<std::uint64_t>(1, s.steps / 40)),
        examiner_(make_net(task, s), {.batch = s.batch, .averages = {}, .seed = s.seed},
                  make_recipe(s, meanflow::FlowMatching{})),
        trained_(trained) {}

  template <class Trainer>
  bool on_step(Trainer& trainer, const meanflow::StepReport& report) {
    trained_.steps = trainer.steps_done();
    trained_.seconds = report.seconds;
    if (trained_.steps % every_ != 0) return false;
    examiner_.net().parameters().assign(trainer.best_values());
    const double error = examiner_.evaluate(held_out_, 8).metrics["velocity_error"];
    if (!(error < trained_.held_out_error))
      return trained_.steps > trained_.best_step + 10 * every_;
    trained_.net.parameters().assign(trainer.best_values());
    trained_.best_step = trained_.steps;
    trained_.held_out_error = error;
    return false;
  }

 private:
  using Examiner =
      meanflow::MeanFlowTrainer<Mlp<float>,
                                decltype(make_recipe(Settings{}, meanflow::FlowMatching{}))>;

  Pairs held_out_;
  std::uint64_t every_;
  Examiner examiner_;
  Trained& trained_;
};

[[nodiscard]] inline Trained train(const Task& task, const Simulations& simulations,
                                   const Settings& s) {
  Trained trained{.net = make_net(task, s)};
  // [docs:train]
  meanflow::MeanFlowTrainer trainer(make_net(task, s),
                                    {.steps = s.steps,
                                     .batch = s.batch,
                                     .learning_rate = {.peak = s.lr},
                                     .averages = {meanflow::WarmupEma{s.ema}},
                                     .clip_norm = 1,
                                     .seed = s.seed,
                                     .warnings = !s.quiet},
                                    make_recipe(s, meanflow::MeanFlow{}));
  KeepBest keep_best(task, simulations, s, trained);
  if (s.quiet)
    trainer.fit(simulations.training(), keep_best);
  else
    trainer.fit(simulations.training(), keep_best, meanflow::ProgressBar(task.name()));
  // [docs:end]
  return trained;
}

}  // namespace posterior
