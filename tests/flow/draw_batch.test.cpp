// SPDX-License-Identifier: MIT
// What a training step draws, row by row, whatever the tile and the process.
#include <cmath>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>
#include <expect_op.hpp>

#include <meanflow/flow/draw_batch.hpp>

using namespace meanflow;
using test::numbers;
using test::Values;

namespace {

constexpr std::size_t rows = 12, jumps = 7;
constexpr std::uint64_t seed = 3, step = 7, jump_end = jumps;

using Labels = LabelCondition<double>;

FlowBatch<double, Cpu, Labels> drawn(const TileRows& tile, const ConditionDropout& dropout = {},
                                     const TileRows& own = {0, jumps, jumps, rows},
                                     std::size_t all = rows) {
  Labels labels{Tensor<std::int32_t>({own.count})};
  Values x({own.count, 2});
  const Values all_x = numbers({all, 2}, 1);
  for (std::size_t i = 0; i < own.count; ++i) {
    labels.labels[i] = static_cast<std::int32_t>(own[i]);
    for (std::size_t c = 0; c < 2; ++c) x[2 * i + c] = all_x[2 * own[i] + c];
  }
  return draw_batch(x, labels, tile, CosinePath{}, LogitNormalTimes{},
                    DrawSettings<Labels>{.seed = seed,
                                         .step = &step,
                                         .jump_end = &jump_end,
                                         .rows = own,
                                         .all_rows = all,
                                         .dropout = dropout,
                                         .null = {Tensor<std::int32_t>::full({1}, -1)}});
}

struct Backwards {
  std::size_t jump_rows(std::size_t, RandomStream&) const { return 0; }
  TimePair<float> sample(RandomStream& stream, bool) const {
    return {stream.uniform<float>() < 0.5f ? 2.0f : 0.0f, 0.5f};
  }
};

}  // namespace

TEST_CASE("a row is x and noise at its own times, with the derivative of the path") {
  const auto batch = drawn({0, jumps, jumps, rows});
  const Values x = numbers({rows, 2}, 1);
  for (std::size_t row = 0; row < rows; ++row) {
    RandomStream times(seed, Purpose::times, step, row), noise(seed, Purpose::noise, step, row);
    const auto pair = LogitNormalTimes{}.sample(times, row < jumps);
    CHECK(batch.r[row] == doctest::Approx(pair.r).epsilon(1e-6));
    CHECK(batch.t[row] == doctest::Approx(pair.t).epsilon(1e-6));
    CHECK((row < jumps) == (batch.r[row] < batch.t[row]));
    const double angle = std::acos(-1.0) / 2 * batch.t[row];
    for (std::size_t c = 0; c < 2; ++c) {
      const double e = noise.normal<double>(), data = x[2 * row + c];
      CHECK(batch.data[2 * row + c] == data);
      CHECK(batch.noise[2 * row + c] == e);
      CHECK(batch.z[2 * row + c] ==
            doctest::Approx(std::cos(angle) * data + std::sin(angle) * e).epsilon(1e-12));
      CHECK(batch.v[2 * row + c] ==
            doctest::Approx(std::acos(-1.0) / 2 * (std::cos(angle) * e - std::sin(angle) * data))
                .epsilon(1e-12));
    }
  }
}

TEST_CASE("a tile draws what the whole batch draws for its rows") {
  const auto whole = drawn({0, jumps, jumps, rows});
  // The last two of those that jump, of which one is counted among those that do not, and two more.
  const TileRows tile{5, 3, 9, 5};
  const auto part = drawn(tile);
  CHECK(part.jump_rows == 3);
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(part.t[i] == whole.t[tile[i]]);
    CHECK(part.condition.labels[i] == static_cast<std::int32_t>(tile[i]));
    for (std::size_t c = 0; c < 2; ++c) CHECK(part.z[2 * i + c] == whole.z[2 * tile[i] + c]);
  }
}

TEST_CASE("processes draw for their rows what one process draws") {
  for (const auto count : {DropCount::exact, DropCount::by_chance}) {
    const ConditionDropout dropout{.rate = 0.3, .count = count};
    const auto whole = drawn({0, jumps, jumps, rows}, dropout);
    std::vector<int> seen(rows, 0);
    for (std::size_t process = 0; process < 3; ++process) {
      const TileRows own = process_rows(rows / 3, jumps, 3, process);
      // One row more carries a tangent than jumps.
      const auto part = drawn({0, own.jumps + 1, own.jumps + 1, own.count}, dropout, own);
      for (std::size_t i = 0; i < own.count; ++i) {
        ++seen[own[i]];
        CHECK(part.t[i] == whole.t[own[i]]);
        CHECK(part.r[i] == whole.r[own[i]]);
        CHECK(part.noise[2 * i] == whole.noise[2 * own[i]]);
        CHECK(part.condition.labels[i] == whole.condition.labels[own[i]]);
      }
    }
    CHECK(seen == std::vector<int>(rows, 1));
  }
}

TEST_CASE("every row is one process's, and all have as many, whatever the number of jumps") {
  for (const std::size_t processes : {1, 2, 3, 7})
    for (const std::size_t each : {1, 2, 8})
      for (std::size_t all_jumps = 0; all_jumps <= each * processes; ++all_jumps) {
        std::vector<int> seen(each * processes, 0);
        for (std::size_t rank = 0; rank < processes; ++rank) {
          const TileRows own = process_rows(each, all_jumps, processes, rank);
          REQUIRE(own.count == each);
          REQUIRE(own.jumps <= each);
          for (std::size_t i = 0; i < each; ++i) {
            REQUIRE(own[i] < seen.size());
            ++seen[own[i]];
            CHECK((own[i] < all_jumps) == (i < own.jumps));
          }
        }
        CHECK(seen == std::vector<int>(each * processes, 1));
      }
}

TEST_CASE("rows that jump are spread over the batch, and every row has one place") {
  for (const std::size_t all : {1, 2, 7, 12, 64})
    for (std::size_t jumping = 0; jumping <= all; ++jumping) {
      const JumpOrder order{all, jumping};
      std::vector<int> seen(all, 0);
      for (std::size_t place = 0; place < all; ++place) {
        const std::size_t row = order[place];
        REQUIRE(row < all);
        ++seen[row];
        CHECK(order.place_of(row) == place);
        CHECK(order.jumps_at(row) == (place < jumping));
        if (place > 0 && place != jumping) CHECK(row > order[place - 1]);
        // As many before it as its share, rounded down.
        CHECK(order.jumps_before(row) == row * jumping / all);
      }
      CHECK(seen == std::vector<int>(all, 1));
    }
}

TEST_CASE("a batch without rows has no jumps") {
  const TileRows none = process_rows(0, 0, 2, 1);
  CHECK(none.jumps == 0);
  CHECK(none.count == 0);
}

TEST_CASE("a process has the places of rows that follow each other") {
  for (const std::size_t processes : {1, 2, 3, 7})
    for (const std::size_t each : {1, 2, 8})
      for (std::size_t all_jumps = 0; all_jumps <= each * processes; ++all_jumps)
        for (std::size_t rank = 0; rank < processes; ++rank) {
          const TileRows own = process_rows(each, all_jumps, processes, rank);
          const JumpOrder order{each * processes, all_jumps};
          std::vector<int> seen(each, 0);
          for (std::size_t i = 0; i < each; ++i) {
            REQUIRE(order[own[i]] >= rank * each);
            REQUIRE(order[own[i]] < (rank + 1) * each);
            ++seen[order[own[i]] - rank * each];
          }
          CHECK(seen == std::vector<int>(each, 1));
        }
}

TEST_CASE("dropped rows are told the null condition; the batch itself is not changed") {
  const auto batch = drawn({0, jumps, jumps, rows}, {.rate = 1.0 / 3, .count = DropCount::exact});
  for (std::size_t row = 0; row < rows; ++row)
    CHECK(batch.condition.labels[row] == (row < 8 ? static_cast<std::int32_t>(row) : -1));
}

TEST_CASE("times that break the contract are NaN") {
  const Values x = numbers({rows, 2}, 1);
  const auto batch =
      draw_batch(x, NoCondition<double>{}, {0, 0, 0, rows}, LinearPath{}, Backwards{},
                 DrawSettings<NoCondition<double>>{.seed = seed,
                                                   .step = &step,
                                                   .jump_end = &jump_end,
                                                   .rows = {0, 0, 0, rows},
                                                   .all_rows = rows});
  std::size_t broken = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    CHECK(std::isnan(batch.z[2 * row]) == std::isnan(batch.t[row]));
    broken += std::isnan(batch.t[row]);
  }
  CHECK(broken > 0);
  CHECK(broken < rows);
}
