// SPDX-License-Identifier: MIT
// One experiment: demonstrations, training, episodes, durations, a picture.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>
#include <omp.h>

#include <meanflow/meanflow.hpp>

#include "../json_file.hpp"
#include "expert.hpp"
#include "pictures.hpp"
#include "policies.hpp"
#include "simulator.hpp"

namespace policy {

/// Shares of the episodes, and durations of decisions.
struct Score {
  double success = 0, touched = 0, late = 0;
  double left = 0;     ///< of the successes, passed on the left
  double seconds = 0;  ///< to the goal, mean of the successes
  std::size_t decisions = 0;
  double median_us = 0, p99_us = 0;
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Score, success, touched, late, left, seconds, decisions,
                                   median_us, p99_us)

[[nodiscard]] inline double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  const auto place = static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + place, values.end());
  return values[static_cast<std::size_t>(place)];
}

/// Drives in worlds that the demonstrations do not show, the same for every driver.
[[nodiscard]] inline Score evaluate(const Settings& s, const Demonstrations& shown,
                                    const Driver& driver) {
  Score score;
  std::vector<double> microseconds;
  std::size_t successes = 0, lefts = 0;
  const double one = 1 / static_cast<double>(s.episodes);
  for (std::uint64_t number = 0; number < s.episodes; ++number) {
    const World world = draw_world(s.seed + 1, number);
    const Episode episode = drive(s, shown, driver, world, number, microseconds);
    if (episode.outcome == Outcome::touched) score.touched += one;
    if (episode.outcome == Outcome::late) score.late += one;
    if (episode.outcome != Outcome::reached) continue;
    ++successes;
    lefts += passed_left(world, episode) ? 1 : 0;
    score.seconds += time_step * static_cast<double>(episode.states.size() - 1);
  }
  score.success = one * static_cast<double>(successes);
  if (successes > 0) {
    score.left = static_cast<double>(lefts) / static_cast<double>(successes);
    score.seconds /= static_cast<double>(successes);
  }
  score.decisions = microseconds.size();
  score.median_us = quantile(microseconds, 0.5);
  score.p99_us = quantile(microseconds, 0.99);
  return score;
}

/// Ways past one obstacle, from starts that lie side by side.
[[nodiscard]] inline Ways ways(const Settings& s, const Demonstrations& shown, const Driver& driver,
                               const World& world) {
  constexpr std::size_t count = 30;
  Ways panel{.title = driver.name, .note = "", .episodes = {}};
  std::vector<double> unused;
  std::size_t reached = 0;
  for (std::size_t i = 0; i < count; ++i) {
    World moved = world;
    moved.start += 0.3 * ((static_cast<double>(i) + 0.5) / count - 0.5);
    panel.episodes.push_back(drive(s, shown, driver, moved, s.episodes + i, unused));
    reached += panel.episodes.back().outcome == Outcome::reached ? 1 : 0;
  }
  panel.note = std::to_string(reached) + " of " + std::to_string(count) + " reach the goal";
  return panel;
}

inline void print_row(const Driver& driver, const Score& score) {
  std::printf("%-24s %8.1f%% %8.1f%% %6.1f%% %6.0f%%", driver.name.c_str(), 100 * score.success,
              100 * score.touched, 100 * score.late, 100 * score.left);
  if (score.decisions > 0) std::printf("  %10.1f  %8.1f", score.median_us, score.p99_us);
  std::printf("\n");
}

inline void write_metrics(const std::filesystem::path& path, const Settings& s,
                          const Demonstrations& shown, const nlohmann::json& scores,
                          const meanflow::KernelReport& kernels) {
  const nlohmann::json metrics{{"policies", scores},
                               {"pairs", shown.chunks.rows()},
                               {"settings", s},
                               {"kernels", to_string(kernels)}};
  write_json(path, metrics);
}

/// Learns, drives, compares, and writes everything to `settings.out`.
inline void run(const Settings& s) {
  s.check();
  if (s.threads > 0) omp_set_num_threads(s.threads);
  const meanflow::KernelReport kernels = meanflow::kernel_report();
  if (!s.quiet) std::cerr << "kernels: " << to_string(kernels) << '\n';
  const std::filesystem::path out = s.out;
  std::filesystem::create_directories(out);
  const Demonstrations shown = collect(s.demonstrations, s.history, s.chunk, s.seed);
  const std::vector<Driver> drivers = make_drivers(s, shown);

  omp_set_num_threads(1);  // a robot's computer has other things to do
  const World world{.start = {0, -1.1}, .goal = {0, 1.1}, .obstacle = {0, 0}, .radius = 0.33};
  std::vector<Ways> panels;
  nlohmann::json scores;
  std::printf("\n%-24s %9s %9s %7s %7s  %10s  %8s\n", "", "success", "touched", "late", "left",
              "median, us", "99 %, us");
  for (const Driver& driver : drivers) {
    const Score score = evaluate(s, shown, driver);
    print_row(driver, score);
    scores[driver.key] = score;
    panels.push_back(ways(s, shown, driver, world));
  }
  draw_ways(out / "ways.png", world, panels);
  write_metrics(out / "metrics.json", s, shown, scores, kernels);
  std::printf("\nwritten to %s: ways.png, metrics.json\n", s.out.c_str());
}

}  // namespace policy
