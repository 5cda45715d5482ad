// SPDX-License-Identifier: MIT
// An expert that passes the obstacle on either side, and demonstrations by it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <meanflow/data/scaling.hpp>
#include <meanflow/error.hpp>
#include <meanflow/nn/condition.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/tensor/tensor.hpp>

#include "simulator.hpp"

namespace policy {

// ----------------------------------------------------------------------------- expert

/// Drives at the goal until the obstacle is near, then along the tangent of a circle around it, on
/// the side that it was told.
struct Expert {
  double side = 1;  ///< 1: passes on the left, -1: on the right

  static constexpr double margin = 0.12;   // distance kept from the obstacle
  static constexpr double reaction = 0.4;  // distance from the obstacle at which it turns
  static constexpr double braking = 0.3;   // distance from the goal at which it slows down

  [[nodiscard]] Point operator()(const World& world, const State& state) const {
    const Point to_goal = world.goal - state.position,
                to_obstacle = world.obstacle - state.position;
    const double kept = world.radius + margin, distance = std::abs(to_obstacle);
    const bool is_free = distance_of_way(state.position, world.goal, world.obstacle) >= kept;
    if (is_free || distance > world.radius + reaction)
      return top_speed * std::min(1.0, std::abs(to_goal) / braking) * to_goal / std::abs(to_goal);
    const double angle = std::asin(std::min(1.0, kept / distance));
    // Nearer than it should be, it also moves away.
    const double outwards = std::max(0.0, kept / distance - 1);
    const Point ahead = to_obstacle / distance;
    const Point way = ahead * std::polar(1.0, side * angle) - 3 * outwards * ahead;
    return top_speed * way / std::abs(way);
  }
};

/// An expert that throws a coin.
[[nodiscard]] inline Expert draw_expert(std::uint64_t seed, std::uint64_t episode) {
  return {meanflow::RandomStream(seed, meanflow::Purpose::user, 1, episode).bernoulli(0.5) ? 1.0
                                                                                           : -1.0};
}

// ----------------------------------------------------------------------- observations

inline constexpr std::size_t observed = 9;  // numbers of an observation

/// The last observations, oldest first: what a policy is told. Before the start the robot stood
/// still.
class History {
 public:
  explicit History(std::size_t length) : length_(length) {}

  void see(const World& world, const State& state) {
    const Point goal = world.goal - state.position, obstacle = world.obstacle - state.position;
    const std::vector<double> now{
        state.position.real(), state.position.imag(), state.velocity.real(),
        state.velocity.imag(), goal.real(),           goal.imag(),
        obstacle.real(),       obstacle.imag(),       world.radius};
    numbers_.insert(numbers_.end(), now.begin(), now.end());
    while (numbers_.size() < length_ * observed)
      numbers_.insert(numbers_.end(), now.begin(), now.end());
    if (numbers_.size() > length_ * observed)
      numbers_.erase(numbers_.begin(), numbers_.begin() + observed);
  }

  [[nodiscard]] const std::vector<double>& numbers() const { return numbers_; }

 private:
  std::size_t length_;
  std::vector<double> numbers_;
};

// --------------------------------------------------------------------- demonstrations

/// What the policies learn from: histories and the commands that the expert gave then, each column
/// with zero mean and unit variance.
struct Demonstrations {
  std::size_t episodes = 0;
  meanflow::Tensor<float> histories{}, chunks{};  ///< (N, history * observed), (N, 2 * chunk)
  meanflow::Scaling history_scaling{}, chunk_scaling{};
};

/// One demonstration. What the robot is made to do differs a little from what the expert says, so
/// that the demonstrations also show the way back.
struct Demonstration {
  Episode episode;
  std::vector<std::vector<double>> histories;
  std::vector<Point> commands;
};

[[nodiscard]] inline Demonstration demonstrate(std::size_t history, std::uint64_t seed,
                                               std::uint64_t number) {
  constexpr double disturbance = 0.15;
  meanflow::RandomStream random(seed, meanflow::Purpose::user, 2, number);
  const Expert expert = draw_expert(seed, number);
  History seen(history);
  Demonstration result;
  result.episode =
      run_episode(draw_world(seed, number), [&](const World& world, const State& state) {
        seen.see(world, state);
        result.histories.push_back(seen.numbers());
        result.commands.push_back(expert(world, state));
        const double x = random.normal<double>(), y = random.normal<double>();
        return result.commands.back() + disturbance * Point(x, y);
      });
  return result;
}

/// Appends each history of a demonstration and the commands from then on; beyond the end the last
/// one is repeated.
inline void append_pairs(const Demonstration& shown, std::size_t chunk,
                         std::vector<double>& histories, std::vector<double>& chunks) {
  const std::size_t steps = shown.commands.size();
  for (std::size_t step = 0; step < steps; ++step) {
    histories.insert(histories.end(), shown.histories[step].begin(), shown.histories[step].end());
    for (std::size_t k = 0; k < chunk; ++k) {
      const Point command = shown.commands[std::min(step + k, steps - 1)];
      chunks.push_back(command.real());
      chunks.push_back(command.imag());
    }
  }
}

[[nodiscard]] inline meanflow::Tensor<float> to_table(std::vector<double> values,
                                                      std::size_t columns,
                                                      const meanflow::Scaling& scaling) {
  scaling.apply(std::span(values));
  meanflow::Tensor<float> table({values.size() / columns, columns});
  std::transform(values.begin(), values.end(), table.data(),
                 [](double value) { return static_cast<float>(value); });
  return table;
}

/// `count` demonstrations that reach the goal; the few that do not are left out.
[[nodiscard]] inline Demonstrations collect(std::size_t count, std::size_t history,
                                            std::size_t chunk, std::uint64_t seed) {
  std::vector<double> histories, chunks;
  Demonstrations all;
  for (std::uint64_t number = 0; all.episodes < count; ++number) {
    const Demonstration shown = demonstrate(history, seed, number);
    if (shown.episode.outcome != Outcome::reached) continue;
    append_pairs(shown, chunk, histories, chunks);
    ++all.episodes;
  }
  all.history_scaling = meanflow::measure_scaling(histories, history * observed);
  all.chunk_scaling = meanflow::measure_scaling(chunks, 2 * chunk);
  all.histories = to_table(std::move(histories), history * observed, all.history_scaling);
  all.chunks = to_table(std::move(chunks), 2 * chunk, all.chunk_scaling);
  return all;
}

// [docs:source]
/// Chunks of commands, and the histories that they were given after.
struct ChunkSource {
  using condition_type = meanflow::VectorCondition<float>;
  const Demonstrations& shown;

  [[nodiscard]] meanflow::Shape row_shape() const { return {shown.chunks.row_size()}; }

  void fill(meanflow::Tensor<float>& x, condition_type& condition, std::uint64_t seed,
            std::uint64_t number) const {
    condition.values = meanflow::Tensor<float>({x.rows(), shown.histories.row_size()});
    for (std::size_t row = 0; row < x.rows(); ++row) {
      meanflow::RandomStream random(seed, meanflow::Purpose::data, 0, number * x.rows() + row);
      const std::size_t pick = random.below(shown.chunks.rows());
      std::copy_n(shown.chunks.row(pick), x.row_size(), x.row(row));
      std::copy_n(shown.histories.row(pick), shown.histories.row_size(), condition.values.row(row));
    }
  }
};
// [docs:end]

}  // namespace policy
