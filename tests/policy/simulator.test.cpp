// SPDX-License-Identifier: MIT
#include "simulator.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <doctest/doctest.h>

#include "expert.hpp"

using namespace policy;

namespace {

const World world{.start = {0, -1}, .goal = {0, 1}, .obstacle = {0, 0}, .radius = 0.3};

Episode drive_towards(Point command) {
  return run_episode(world, [=](const World&, const State&) { return command; });
}

}  // namespace

TEST_CASE("an obstacle stands between start and goal, and touches neither") {
  for (std::uint64_t episode = 0; episode < 200; ++episode) {
    const World drawn = draw_world(1, episode);
    CHECK(distance_of_way(drawn.start, drawn.goal, drawn.obstacle) < 0.5 * drawn.radius);
    CHECK(std::abs(drawn.start - drawn.obstacle) > drawn.radius + 0.2);
    CHECK(std::abs(drawn.goal - drawn.obstacle) > drawn.radius + 0.2);
  }
  CHECK(draw_world(1, 3).start == draw_world(1, 3).start);
  CHECK(draw_world(1, 3).start != draw_world(2, 3).start);
}

TEST_CASE("the robot takes the velocity that it is told, up to its top speed") {
  State state{};
  for (int step = 0; step < 50; ++step) state = advance(state, {3, 4});
  CHECK(state.velocity.real() == doctest::Approx(0.6));
  CHECK(state.velocity.imag() == doctest::Approx(0.8));
  CHECK(advance({}, {0.5, 0}).velocity == response * Point(0.5, 0));
}

TEST_CASE("an episode ends at the obstacle, at the goal or when time is up") {
  const Episode ahead = drive_towards({0, 1});
  CHECK(ahead.outcome == Outcome::touched);
  CHECK(ahead.states.back().position.imag() < 0);
  const Episode nowhere = drive_towards(0);
  CHECK(nowhere.outcome == Outcome::late);
  CHECK(nowhere.states.size() == time_limit + 1);
  World open = world;
  open.obstacle = {5, 5};
  const Episode free = run_episode(open, [](const World&, const State&) { return Point(0, 1); });
  CHECK(free.outcome == Outcome::reached);
  CHECK(std::abs(free.states.back().position - open.goal) < goal_radius);
}

TEST_CASE("an obstacle between two steps is touched") {
  CHECK(distance_of_way({-1, 0.1}, {1, 0.1}, 0) == doctest::Approx(0.1));
  CHECK(distance_of_way({1, 0}, {2, 0}, 0) == doctest::Approx(1));
  CHECK(distance_of_way({3, 4}, {3, 4}, 0) == doctest::Approx(5));
}

TEST_CASE("the expert passes on the side that it is told") {
  for (std::uint64_t episode = 0; episode < 200; ++episode) {
    const World drawn = draw_world(7, episode);
    for (const double side : {1.0, -1.0}) {
      const Episode driven = run_episode(drawn, Expert{side});
      CHECK(driven.outcome == Outcome::reached);
      CHECK(passed_left(drawn, driven) == (side > 0));
    }
  }
}

TEST_CASE("a history starts with the first observation and drops the oldest") {
  History history(2);
  history.see(world, {{0, -1}, 0});
  REQUIRE(history.numbers().size() == 2 * observed);
  CHECK(history.numbers()[1] == -1);
  CHECK(history.numbers()[observed + 1] == -1);
  history.see(world, {{0.5, 0}, {0, 1}});
  history.see(world, {{1, 0}, {0, 1}});
  REQUIRE(history.numbers().size() == 2 * observed);
  CHECK(history.numbers()[0] == 0.5);
  CHECK(history.numbers()[observed] == 1);
  CHECK(history.numbers()[observed + 4] == -1);  // from the robot to the goal
}

TEST_CASE("demonstrations are standardised pairs, the same for the same seed") {
  const Demonstrations shown = collect(20, 2, 4, 5);
  CHECK(shown.episodes == 20);
  CHECK(shown.histories.rows() == shown.chunks.rows());
  CHECK(shown.histories.row_size() == 2 * observed);
  CHECK(shown.chunks.row_size() == 8);
  double sum = 0, squares = 0;
  for (const float value : shown.chunks.span()) {
    sum += value;
    squares += value * value;
  }
  const double count = static_cast<double>(shown.chunks.size());
  CHECK(sum / count == doctest::Approx(0).epsilon(1e-4));
  CHECK(squares / count == doctest::Approx(1).epsilon(1e-4));
  const Demonstrations again = collect(20, 2, 4, 5);
  REQUIRE(again.chunks.size() == shown.chunks.size());
  for (std::size_t i = 0; i < shown.chunks.size(); ++i) REQUIRE(again.chunks[i] == shown.chunks[i]);
}

TEST_CASE("a source gives chunks with the history that belongs to them") {
  const Demonstrations shown = collect(3, 1, 2, 5);
  const ChunkSource source{shown};
  meanflow::Tensor<float> x({16, 4});
  meanflow::VectorCondition<float> told;
  source.fill(x, told, /*seed=*/1, /*step=*/2);
  CHECK(told.values.shape() == meanflow::Shape{16, observed});
  for (std::size_t row = 0; row < 16; ++row) {
    bool found = false;
    for (std::size_t i = 0; i < shown.chunks.rows() && !found; ++i)
      found =
          std::equal(x.row(row), x.row(row) + 4, shown.chunks.row(i)) &&
          std::equal(told.values.row(row), told.values.row(row) + observed, shown.histories.row(i));
    CHECK(found);
  }
}
