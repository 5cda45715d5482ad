// SPDX-License-Identifier: MIT
// One experiment: simulations, training, samples, measures, files.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <meanflow/eval/classifier_test.hpp>
#include <meanflow/meanflow.hpp>

#include "../json_file.hpp"
#include "pictures.hpp"
#include "settings.hpp"
#include "tasks.hpp"
#include "training.hpp"

namespace posterior {

// [docs:sample]
/// theta given x (count, parameters). What lies outside the prior's bounds is drawn again, with
/// another seed. Throws meanflow::Error if next to nothing lies inside.
[[nodiscard]] inline Points sample(const Task& task, const Mlp<float>& net,
                                   const Simulations& simulations, std::span<const double> x,
                                   std::size_t count, meanflow::SamplingSettings settings) {
  const std::size_t dim = task.parameters();
  const VectorCondition<float> told = simulations.told(x);  // one row, meant for all samples
  Points points;
  const auto keep = [&](const Tensor<float>& w, std::size_t) {
    const Points drawn = simulations.to_theta(w, x);
    for (std::size_t row = 0; row < w.rows() && points.size() < count * dim; ++row) {
      const auto theta = std::span(drawn).subspan(row * dim, dim);
      if (task.inside(theta)) points.insert(points.end(), theta.begin(), theta.end());
    }
  };
  for (int round = 0; points.size() < count * dim; ++round, settings.seed += 1'000'003) {
    if (round == 1000)
      throw meanflow::Error(task.name() + ": the samples lie outside the prior; train for longer");
    meanflow::sample_batches(net, count, net.row_shape(), settings, keep, told);
  }
  return points;
}
// [docs:end]

/// One step of the average velocity.
[[nodiscard]] inline meanflow::SamplingSettings one_step(std::uint64_t seed) {
  return {.seed = seed};
}

/// Many small steps of dz/dt = u(z, t, t), which the same net knows.
[[nodiscard]] inline meanflow::SamplingSettings small_steps(std::uint64_t seed) {
  return {.steps = 100, .solver = meanflow::Solver::euler, .seed = seed};
}

// --------------------------------------------------------------------------- measures

struct MeanAndDeviation {
  double mean = 0, deviation = 0;
};

[[nodiscard]] inline MeanAndDeviation summary(const std::vector<double>& values) {
  MeanAndDeviation result;
  const double count = static_cast<double>(values.size());
  for (const double value : values) result.mean += value / count;
  for (const double value : values)
    result.deviation += count > 1 ? std::pow(value - result.mean, 2) / (count - 1) : 0;
  result.deviation = std::sqrt(result.deviation);
  return result;
}

/// What one task gave.
struct Outcome {
  std::string task;
  std::vector<double> c2st{}, c2st_euler{};  ///< of each observation
  double samples_per_second = 0, samples_per_second_euler = 0;
  double training_seconds = 0;
  std::uint64_t steps = 0, best_step = 0;
  double held_out_error = 0;
};

/// A net, and the observations that it is measured with.
class Experiment {
 public:
  Experiment(const Settings& settings, const Task& task)
      : s_(settings),
        task_(task),
        simulations_(task, settings),
        trained_(train(task, simulations_, settings)),
        observed_(simulate(task, settings.observations, observation_seed, 0)) {}

  /// Samples every observation, compares, and writes to `folder`.
  [[nodiscard]] Outcome measure(const std::filesystem::path& folder) const {
    Outcome outcome{.task = task_.name(),
                    .training_seconds = trained_.seconds,
                    .steps = trained_.steps,
                    .best_step = trained_.best_step,
                    .held_out_error = trained_.held_out_error};
    Points all_samples, all_references;
    Gallery gallery;
    for (std::size_t i = 0; i < s_.observations; ++i) {
      const Points reference = task_.reference(x(i), s_.samples, observation_seed + 1 + i);
      const Points samples = draw(i, one_step(s_.seed + i));
      outcome.c2st.push_back(c2st(reference, samples));
      if (s_.euler)
        outcome.c2st_euler.push_back(c2st(reference, draw(i, small_steps(s_.seed + i))));
      all_samples.insert(all_samples.end(), samples.begin(), samples.end());
      all_references.insert(all_references.end(), reference.begin(), reference.end());
      if (task_.parameters() == 2 && i < 5) gallery.add(reference, samples);
      if (!s_.quiet) say(i, outcome);
    }
    outcome.samples_per_second = speed(one_step(s_.seed));
    outcome.samples_per_second_euler = speed(small_steps(s_.seed));
    write(folder, all_samples, all_references, gallery);
    return outcome;
  }

 private:
  static constexpr std::uint64_t observation_seed = 2024;

  [[nodiscard]] std::span<const double> x(std::size_t i) const {
    return std::span(observed_.x).subspan(i * task_.observables(), task_.observables());
  }

  [[nodiscard]] Points draw(std::size_t i, const meanflow::SamplingSettings& settings) const {
    return sample(task_, trained_.net, simulations_, x(i), s_.samples, settings);
  }

  [[nodiscard]] double c2st(const Points& reference, const Points& samples) const {
    return meanflow::classifier_test(reference, samples, task_.parameters());
  }

  /// Samples per second, the best of three.
  [[nodiscard]] double speed(const meanflow::SamplingSettings& settings) const {
    double seconds = std::numeric_limits<double>::infinity();
    for (int i = 0; i < 3; ++i) {
      const auto start = std::chrono::steady_clock::now();
      const Points points = draw(0, settings);
      const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
      seconds = std::min(seconds, passed.count());
    }
    return static_cast<double>(s_.samples) / seconds;
  }

  void say(std::size_t i, const Outcome& outcome) const {
    std::fprintf(stderr, "%s: observation %zu, C2ST %.3f", task_.name().c_str(), i + 1,
                 outcome.c2st.back());
    if (s_.euler) std::fprintf(stderr, ", in 100 Euler steps %.3f", outcome.c2st_euler.back());
    std::fputc('\n', stderr);
  }

  void write(const std::filesystem::path& folder, const Points& samples, const Points& references,
             const Gallery& gallery) const {
    std::filesystem::create_directories(folder);
    const std::vector<std::size_t> shape{s_.observations, s_.samples, task_.parameters()};
    meanflow::save_npy(folder / "samples.npy", shape, samples);
    meanflow::save_npy(folder / "reference.npy", shape, references);
    meanflow::save_npy(folder / "observations.npy",
                       std::vector<std::size_t>{s_.observations, task_.observables()}, observed_.x);
    gallery.save(folder / "samples.png");
  }

  const Settings& s_;
  const Task& task_;
  Simulations simulations_;
  Trained trained_;
  Table observed_;
};

// -------------------------------------------------------------------------- everything

[[nodiscard]] inline nlohmann::json to_json(const Outcome& o) {
  const auto [mean, deviation] = summary(o.c2st);
  return {{"c2st", o.c2st},
          {"c2st_mean", mean},
          {"c2st_deviation", deviation},
          {"c2st_euler", o.c2st_euler},
          {"samples_per_second", o.samples_per_second},
          {"samples_per_second_euler", o.samples_per_second_euler},
          {"training_seconds", o.training_seconds},
          {"steps", o.steps},
          {"best_step", o.best_step},
          {"held_out_velocity_error", o.held_out_error}};
}

inline void print_table(const std::vector<Outcome>& outcomes) {
  const auto cell = [](const std::vector<double>& values) {
    if (values.empty()) return std::string("-");
    const auto [mean, deviation] = summary(values);
    char text[32];
    std::snprintf(text, sizeof text, "%.3f +- %.3f", mean, deviation);
    return std::string(text);
  };
  std::printf("\n%-16s  %-15s  %-15s  %13s  %13s  %8s\n", "", "C2ST", "C2ST", "samples/s",
              "samples/s", "seconds");
  std::printf("%-16s  %-15s  %-15s  %13s  %13s  %8s\n", "task", "1 step", "100 Euler steps",
              "1 step", "100 steps", "training");
  for (const Outcome& o : outcomes)
    std::printf("%-16s  %-15s  %-15s  %13.0f  %13.0f  %8.0f\n", o.task.c_str(),
                cell(o.c2st).c_str(), cell(o.c2st_euler).c_str(), o.samples_per_second,
                o.samples_per_second_euler, o.training_seconds);
}

/// Trains, samples, measures, and writes everything to `settings.out`.
inline void run(const Settings& s) {
  const meanflow::KernelReport kernels = meanflow::kernel_report();
  if (!s.quiet) std::fprintf(stderr, "kernels: %s\n", to_string(kernels).c_str());
  const std::filesystem::path out = s.out;
  std::filesystem::create_directories(out);
  std::vector<Outcome> outcomes;
  nlohmann::json metrics{{"settings", s}, {"tasks", nlohmann::json::object()}};
  for (const std::string& name : task_names) {
    if (s.task != name && s.task != "all") continue;
    const auto task = make_task(name);
    outcomes.push_back(Experiment(s, *task).measure(out / name));
    metrics["tasks"][name] = to_json(outcomes.back());
    write_json(out / "metrics.json", metrics);  // after each: a task takes minutes
  }
  print_table(outcomes);
  std::printf("\nwritten to %s: metrics.json, and samples of every task\n", s.out.c_str());
}

}  // namespace posterior
