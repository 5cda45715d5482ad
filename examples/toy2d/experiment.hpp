// SPDX-License-Identifier: MIT
// One experiment: data, training, samples, measures, pictures.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <meanflow/meanflow.hpp>

#include "../json_file.hpp"
#include "pictures.hpp"
#include "settings.hpp"
#include "training.hpp"

namespace toy2d {

[[nodiscard]] inline Trained train(const Settings& s, const Data& data,
                                   const std::string& objective, std::uint64_t steps) {
  if (s.device == "cuda") return train_on_cuda(s, data, objective, steps);
  return train_on<meanflow::Cpu>(s, data, objective, steps);
}

// --------------------------------------------------------------------------- measures

/// Samples in `steps` steps: by the average velocity, or for flow matching by Euler's rule.
[[nodiscard]] inline Tensor<float> generate(const meanflow::Mlp<float>& net,
                                            const std::string& objective, std::size_t count,
                                            std::size_t steps, std::uint64_t seed) {
  const auto noise = meanflow::normal_noise({count, 2}, seed);
  if (objective == "flow-matching") return meanflow::solve(net, noise, steps);
  return meanflow::sample(net, noise, steps);
}

/// One row of the table: how a net was sampled, and how far from the data the samples are.
struct Measure {
  std::string objective;
  std::size_t steps;
  double energy_distance, precision, recall;
  Points samples;
};

[[nodiscard]] inline Measure compare(const std::string& name, std::size_t steps, Points samples,
                                     const Points& fresh) {
  const double distance = meanflow::energy_distance(samples, fresh, 2);
  const auto [precision, recall] = meanflow::precision_recall(samples, fresh, 2);
  return {name, steps, distance, precision, recall, std::move(samples)};
}

[[nodiscard]] inline Measure measure(const Settings& s, const Trained& trained,
                                     const std::string& objective, std::size_t steps,
                                     const Points& fresh) {
  return compare(objective, steps,
                 to_points(generate(trained.net, objective, s.samples, steps, s.seed)), fresh);
}

// --------------------------------------------------------------------------- pictures

[[nodiscard]] inline double reach_of(const Points& points) {
  float largest = 0;
  for (float value : points) largest = std::max(largest, std::abs(value));
  return 1.15 * static_cast<double>(largest);
}

inline void draw_samples(const std::filesystem::path& file, const Points& fresh,
                         const std::vector<Measure>& measures) {
  constexpr double side = 250, gap = 24, top = 34, bottom = 24;
  const std::size_t columns = std::min<std::size_t>(measures.size() + 1, 3);
  const std::size_t rows = (measures.size() + 1 + columns - 1) / columns;
  const Page page(static_cast<int>(gap + static_cast<double>(columns) * (side + gap)),
                  static_cast<int>(static_cast<double>(rows) * (top + side + bottom)));
  const double reach = reach_of(fresh);
  for (std::size_t i = 0; i <= measures.size(); ++i) {
    const double left = gap + static_cast<double>(i % columns) * (side + gap);
    const double y = top + static_cast<double>(i / columns) * (top + side + bottom);
    if (i == 0) {
      Panel(page, left, y, side, reach, "data").points(fresh, ink);
      continue;
    }
    const Measure& m = measures[i - 1];
    char note[64];
    std::snprintf(note, sizeof note, "precision %.3f, recall %.3f", m.precision, m.recall);
    const std::string title =
        m.objective + ", " + std::to_string(m.steps) + (m.steps == 1 ? " step" : " steps");
    Panel(page, left, y, side, reach, title, note)
        .points(m.samples, m.objective == "flow-matching" ? orange : blue);
  }
  page.save(file.string());
}

/// Where z is on the way from noise to data: z_s = e - (1 - s) u(e, s, 1) for an average velocity,
/// the solution of the differential equation for flow matching.
[[nodiscard]] inline std::vector<Points> paths(const meanflow::Mlp<float>& net,
                                               const std::string& objective, std::uint64_t seed) {
  constexpr std::size_t count = 150, stages = 40;
  std::vector<Points> result{to_points(meanflow::normal_noise({count, 2}, seed))};
  const auto noise = meanflow::normal_noise({count, 2}, seed);
  for (std::size_t i = 1; i <= stages; ++i) {
    const double s = 1 - static_cast<double>(i) / stages;
    if (objective != "flow-matching") {
      result.push_back(to_points(meanflow::sample(net, noise, std::vector<double>{1, s})));
      continue;
    }
    std::vector<double> times(i + 1);
    for (std::size_t k = 0; k <= i; ++k) times[k] = 1 - static_cast<double>(k) / stages;
    result.push_back(to_points(meanflow::solve(net, noise, times)));
  }
  return result;
}

inline void draw_paths(const std::filesystem::path& file, const Points& fresh,
                       const std::vector<std::pair<std::string, std::vector<Points>>>& all) {
  constexpr double side = 360, gap = 24, top = 34;
  const Page page(static_cast<int>(gap + static_cast<double>(all.size()) * (side + gap)),
                  static_cast<int>(side + top + gap));
  const double reach = std::max(3.2, reach_of(fresh));
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto& [objective, stages] = all[i];
    const bool baseline = objective == "flow-matching";
    const Panel panel(page, gap + static_cast<double>(i) * (side + gap), top, side, reach,
                      objective, baseline ? "40 small steps" : "one step to each point");
    panel.trails(stages, baseline ? orange : blue);
    panel.points(stages.front(), faint, 2, 1);
    panel.points(stages.back(), ink, 2, 0.9);
  }
  page.save(file.string());
}

inline void draw_losses(const std::filesystem::path& file, const std::string& objective,
                        const Trained& trained) {
  const Page page(760, 360);
  std::vector<Curve> curves{{"|u - target|^2", blue, trained.squared_error},
                            {"|u - v|^2", green, trained.velocity_error}};
  if (trained.loss != trained.squared_error)
    curves.push_back({"weighted loss", purple, trained.loss});
  draw_curves(page, 60, 44, 670, 260, objective, curves);
  page.save(file.string());
}

// -------------------------------------------------------------------------- everything

[[nodiscard]] inline nlohmann::json kernels_json(const meanflow::KernelReport& report) {
  return {{"blas", report.blas},
          {"onednn", report.onednn},
          {"vectors", report.vectors},
          {"threads", report.threads},
          {"warnings", report.warnings}};
}

inline double mean_of_last(const std::vector<double>& values) {
  const std::size_t count = std::max<std::size_t>(1, values.size() / 10);
  double sum = 0;
  for (std::size_t i = values.size() - count; i < values.size(); ++i) sum += values[i];
  return sum / static_cast<double>(count);
}

inline void print_table(const std::vector<Measure>& measures, const Measure& best) {
  std::printf("\n%-20s %6s  %15s  %9s  %6s\n", "objective", "steps", "energy distance", "precision",
              "recall");
  const auto line = [](const Measure& m, const std::string& steps) {
    std::printf("%-20s %6s  %15.5f  %9.3f  %6.3f\n", m.objective.c_str(), steps.c_str(),
                m.energy_distance, m.precision, m.recall);
  };
  for (const Measure& m : measures) line(m, std::to_string(m.steps));
  line(best, "-");
}

/// The arguments of `toy2d sample`.
struct SampleSettings {
  std::string model, out = "samples.npy";
  std::size_t nfe = 1, count = 8000;
  std::uint64_t seed = 0;
};

/// Samples again from the file of a trained model.
inline void sample(const SampleSettings& request) {
  const auto model = meanflow::load_model<meanflow::Mlp<float>>(request.model);
  const auto x = model.sample(request.count, {.steps = request.nfe, .seed = request.seed});
  meanflow::save_npy(request.out, std::vector<std::size_t>{request.count, 2}, x.span());
}

/// Trains, samples, measures, and writes everything to `settings.out`. Of several processes, all
/// train, and the root does the rest.
inline void run(const Settings& s) {
  const bool root = is_root(s.processes);
  const meanflow::KernelReport kernels = meanflow::kernel_report();
  if (!s.quiet && root) std::cerr << "kernels: " << to_string(kernels) << '\n';
  const std::filesystem::path out = s.out;
  const Data data(s);
  data.check_held_out();
  by_root(s.processes, [&] { std::filesystem::create_directories(out); });

  const Trained trained = train(s, data, s.objective, s.steps);
  const std::string baseline_name = "flow-matching";
  std::optional<Trained> baseline;
  if (s.baseline_steps > 0) baseline.emplace(train(s, data, baseline_name, s.baseline_steps));
  if (!root) return;
  meanflow::save_model(out / "model.safetensors", trained.net,
                       {.scaling = data.scaling(),
                        .instantaneous = s.objective == "flow-matching",
                        .metadata = {{"toy2d.settings", nlohmann::json(s).dump()}}});
  const Points fresh = data.fresh(s.samples, s.seed + 1);
  const Measure best = compare("fresh data", 0, data.training(s.samples, s.seed + 2), fresh);

  nlohmann::json distances, precisions, recalls;
  std::vector<Measure> measures;
  for (std::size_t steps : {1, 2, 4}) {
    measures.push_back(measure(s, trained, s.objective, steps, fresh));
    const std::string key = std::to_string(steps);
    distances[key] = measures.back().energy_distance;
    precisions[key] = measures.back().precision;
    recalls[key] = measures.back().recall;
    Points original = measures.back().samples;
    data.scaling().undo(std::span(original));
    meanflow::save_npy(out / ("samples_" + key + ".npy"), std::vector<std::size_t>{s.samples, 2},
                       original);
  }
  std::vector<std::pair<std::string, std::vector<Points>>> all_paths{
      {s.objective, paths(trained.net, s.objective, s.seed)}};
  if (baseline) {
    for (std::size_t steps : {1, 100})
      measures.push_back(measure(s, *baseline, baseline_name, steps, fresh));
    all_paths.emplace_back(baseline_name, paths(baseline->net, baseline_name, s.seed));
    draw_losses(out / "loss_flow_matching.png", baseline_name, *baseline);
  }
  draw_samples(out / "samples.png", fresh, measures);
  draw_paths(out / "paths.png", fresh, all_paths);
  draw_losses(out / "loss.png", s.objective, trained);

  const nlohmann::json metrics{
      {"energy_distance", distances},
      {"precision", precisions},
      {"recall", recalls},
      {"fresh_data",
       {{"energy_distance", best.energy_distance},
        {"precision", best.precision},
        {"recall", best.recall}}},
      {"ms_per_step", 1e3 * trained.seconds / static_cast<double>(s.steps)},
      {"loss", mean_of_last(trained.loss)},
      {"squared_error", mean_of_last(trained.squared_error)},
      {"velocity_error", mean_of_last(trained.velocity_error)},
      {"settings", s},
      {"kernels", kernels_json(kernels)}};
  write_json(out / "metrics.json", metrics);
  print_table(measures, best);
  std::printf(
      "\nwritten to %s: samples.png, paths.png, loss.png, metrics.json, model.safetensors\n",
      s.out.c_str());
}

}  // namespace toy2d
