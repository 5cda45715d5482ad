// SPDX-License-Identifier: MIT
// A robot that is a point in the plane, a goal, and a round obstacle between the two.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <meanflow/random/philox.hpp>

namespace policy {

/// Of the plane. A turn is a product, a length is `abs`.
using Point = std::complex<double>;

inline constexpr double time_step = 0.1;       // seconds
inline constexpr double top_speed = 1;         // per second
inline constexpr double response = 0.5;        // share of the wanted change of velocity in a step
inline constexpr double goal_radius = 0.1;     // how near the goal counts as there
inline constexpr std::size_t time_limit = 60;  // steps of an episode

/// What stays as it is during an episode.
struct World {
  Point start, goal, obstacle;
  double radius;  ///< of the obstacle
};

struct State {
  Point position, velocity;
};

/// World number `episode` of a seed: from below to above, the obstacle about half way.
[[nodiscard]] inline World draw_world(std::uint64_t seed, std::uint64_t episode) {
  meanflow::RandomStream random(seed, meanflow::Purpose::user, 0, episode);
  const auto within = [&](double low, double high) {
    return low + (high - low) * random.uniform<double>();
  };
  World world{};
  world.start = {within(-0.7, 0.7), within(-1.2, -1)};
  world.goal = {within(-0.7, 0.7), within(1, 1.2)};
  world.obstacle = world.start + within(0.45, 0.6) * (world.goal - world.start);
  world.obstacle += within(-0.06, 0.06);
  world.radius = within(0.25, 0.4);
  return world;
}

/// The state after one step with `command`, the velocity that the robot is to take.
[[nodiscard]] inline State advance(const State& state, Point command) {
  if (const double speed = std::abs(command); speed > top_speed) command *= top_speed / speed;
  const Point velocity = state.velocity + response * (command - state.velocity);
  return {state.position + time_step * velocity, velocity};
}

[[nodiscard]] inline double dot(Point a, Point b) { return (std::conj(a) * b).real(); }
[[nodiscard]] inline double cross(Point a, Point b) { return (std::conj(a) * b).imag(); }

/// How near a straight way from `a` to `b` comes to `point`.
[[nodiscard]] inline double distance_of_way(Point a, Point b, Point point) {
  const double square = std::norm(b - a);
  const double share = square > 0 ? std::clamp(dot(b - a, point - a) / square, 0.0, 1.0) : 0;
  return std::abs(a + share * (b - a) - point);
}

enum class Outcome { reached, touched, late };

struct Episode {
  Outcome outcome = Outcome::late;
  std::vector<State> states;  ///< the first is the start
};

/// Runs `controller(world, state)`, which gives commands, until the goal is reached, the obstacle
/// is touched or time is up.
template <class Controller>
[[nodiscard]] Episode run_episode(const World& world, Controller&& controller) {
  Episode episode{.states = {{world.start, 0}}};
  for (std::size_t step = 0; step < time_limit; ++step) {
    const State before = episode.states.back();
    const State after = advance(before, controller(world, before));
    episode.states.push_back(after);
    if (distance_of_way(before.position, after.position, world.obstacle) < world.radius) {
      episode.outcome = Outcome::touched;
      break;
    }
    if (std::abs(after.position - world.goal) < goal_radius) {
      episode.outcome = Outcome::reached;
      break;
    }
  }
  return episode;
}

/// Whether the obstacle lay to the right when the robot was nearest to it.
[[nodiscard]] inline bool passed_left(const World& world, const Episode& episode) {
  const auto distance = [&](const State& s) { return std::abs(s.position - world.obstacle); };
  const auto nearest =
      std::min_element(episode.states.begin(), episode.states.end(),
                       [&](const State& a, const State& b) { return distance(a) < distance(b); });
  return cross(world.goal - world.start, nearest->position - world.obstacle) > 0;
}

}  // namespace policy
