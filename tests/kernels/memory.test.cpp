// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <vector>

#include <doctest/doctest.h>

#include "compare.hpp"

using namespace meanflow;
using namespace meanflow::kernels;
using test::expect_same;
using test::numbers;
using test::Numbers;

TEST_CASE_TEMPLATE("fill, copy and accumulate", T, float, double) {
  for (const std::size_t n : test::sizes) {
    INFO("n = ", n);
    const auto x = numbers<T>(n, 1), y = numbers<T>(n, 2);
    expect_same<T>([&](auto device, auto& z) { fill(device, n, T(7), z.data()); }, y, 0);
    expect_same<T>([&](auto device, auto& z) { copy(device, n, x.data(), z.data()); }, y, 0);
    expect_same<T>([&](auto device, auto& z) { accumulate(device, n, x.data(), z.data()); }, y, 0);
  }
}

TEST_CASE_TEMPLATE("copy_columns", T, float, double) {
  for (const std::size_t rows : {0, 1, 7, 9000}) {
    const auto x = numbers<T>(rows * 11, 1), y = numbers<T>(rows * 17, 2);
    for (const bool add : {false, true})
      expect_same<T>(
          [&](auto device, auto& z) {
            copy_columns(device, rows, 9, x.data() + (rows ? 2 : 0), 11, z.data() + (rows ? 5 : 0),
                         17, add);
          },
          y, 0);
  }
}

TEST_CASE_TEMPLATE("gather_rows and scatter_add_rows", T, float, double) {
  const std::vector<std::int32_t> labels{3, 0, 3, 1, 3, 2, 0};
  const std::size_t rows = labels.size(), columns = 5;
  const auto table = numbers<T>(4 * columns, 1), x = numbers<T>(rows * columns, 2);
  expect_same<T>(
      [&](auto device, auto& y) {
        gather_rows(device, rows, columns, 4, table.data(), labels.data(), y.data());
      },
      x, 0);
  expect_same<T>(
      [&](auto device, auto& t) {
        scatter_add_rows(device, rows, columns, 4, x.data(), labels.data(), t.data());
      },
      table, 0);
}

TEST_CASE_TEMPLATE("labels outside the table touch nothing, and are seen", Device, Reference, Cpu) {
  const std::vector<std::int32_t> labels{2, -1, 1};
  const std::vector<float> table{1, 2, 3, 4};
  std::vector<float> y(6), sums{0, 0, 0, 0}, hot(6);
  gather_rows(Device{}, 3, 2, 2, table.data(), labels.data(), y.data());
  for (const std::size_t i : {0, 1, 2, 3}) CHECK(std::isnan(y[i]));
  CHECK((y[4] == 3 && y[5] == 4));
  scatter_add_rows(Device{}, 3, 2, 2, y.data(), labels.data(), sums.data());
  CHECK(sums == std::vector<float>{0, 0, 3, 4});
  one_hot(Device{}, 3, 2, 5.0F, labels.data(), hot.data());
  CHECK((hot[0] == 0 && hot[1] == 0));  // of the class that is none
  CHECK((std::isnan(hot[2]) && std::isnan(hot[3])));
  CHECK((hot[4] == 0 && hot[5] == 5));
}

TEST_CASE("parallel_for covers the range once") {
  const test::Threads threads;
  for (const std::size_t n : {0, 1, 15, 16, 17, 100, 1000}) {
    for (const std::size_t grain : {0, 1, 7, 5000}) {
      std::vector<int> visits(n, 0);
      parallel_for(Cpu{}, n, grain, [&](std::size_t first, std::size_t last) {
        for (std::size_t i = first; i < last; ++i) ++visits[i];
      });
      CHECK(visits == std::vector<int>(n, 1));
    }
  }
}

TEST_CASE("parallel_tasks runs every task once, in contiguous runs per worker, always the same") {
  const test::Threads threads;
  CHECK(workers(Cpu{}) == 3);
  for (const std::size_t tasks : {0, 1, 2, 3, 7, 100}) {
    std::vector<int> visits(tasks, 0);
    std::vector<std::size_t> first(tasks), second(tasks);
    parallel_tasks(Cpu{}, tasks, [&](std::size_t task, std::size_t lane) {
      ++visits[task];
      first[task] = lane;
    });
    parallel_tasks(Cpu{}, tasks, [&](std::size_t task, std::size_t lane) { second[task] = lane; });
    CHECK(visits == std::vector<int>(tasks, 1));
    CHECK(first == second);
    CHECK(std::is_sorted(first.begin(), first.end()));
  }
}

TEST_CASE("inside a parallel region kernels stay on their thread") {
  const test::Threads threads;
  std::vector<std::size_t> seen(3);
  parallel_tasks(Cpu{}, 3, [&](std::size_t task, std::size_t) { seen[task] = workers(Cpu{}); });
  CHECK(seen == std::vector<std::size_t>{1, 1, 1});
}

TEST_CASE("an exception leaves a parallel region") {
  const test::Threads threads;
  const auto fail = [](std::size_t task, std::size_t) {
    if (task == 2) throw std::runtime_error("task 2");
  };
  CHECK_THROWS_WITH_AS(parallel_tasks(Cpu{}, 3, fail), "task 2", std::runtime_error);
  const auto fail_range = [](std::size_t first, std::size_t) {
    if (first > 0) throw std::runtime_error("range");
  };
  CHECK_THROWS_WITH_AS(parallel_for(Cpu{}, 300, 1, fail_range), "range", std::runtime_error);
}

TEST_CASE("row_tiles gives every core as many tiles") {
  const test::Threads threads(2);
  CHECK(row_tiles(Cpu{}, 0, 100) == 1);
  CHECK(row_tiles(Cpu{}, 1, 100) == 1);
  CHECK(row_tiles(Cpu{}, 1024, 100) == 8);
  CHECK(row_tiles(Cpu{}, 1025, 100) == 10);
  CHECK(row_tiles(Cpu{}, 100'000, std::size_t{1} << 26) == 782);  // 2^27 numbers of two cores
  CHECK(row_tiles(Cpu{}, 100'000, (std::size_t{1} << 26) + 1) == 1);
  CHECK(row_tiles(Reference{}, 1024, 100) == 1);
}
