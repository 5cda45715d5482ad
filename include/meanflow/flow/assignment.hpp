// SPDX-License-Identifier: MIT
/// \file
/// The linear assignment problem: n rows and n columns are paired so that the costs of the pairs
/// add up to the least.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <meanflow/error.hpp>

namespace meanflow {

namespace detail {

// Where sanitizers watch, Clang cannot make vectors of the loops, and says so.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

/// Shortest augmenting paths (Jonker and Volgenant, "A shortest augmenting path algorithm for dense
/// and sparse linear assignment problems", 1987). The prices v of the columns keep every reduced
/// cost c(i, j) - u(i) - v(j) at 0 or more, and at 0 where i and j are paired.
template <class T>
class AssignmentSolver {
 public:
  static constexpr std::int32_t none = -1;
  static constexpr std::size_t bids_per_row = 2;

  AssignmentSolver(std::size_t size, const T* cost)
      : size_(size),
        cost_(cost),
        price_(size),
        open_price_(size),
        distance_(size),
        from_(size),
        row_of_(size, none),
        column_of_(size, none) {}

  [[nodiscard]] const std::vector<std::int32_t>& solve() {
    pair_cheapest_rows();
    bid();
    for (std::size_t row = 0; row < size_; ++row)
      if (column_of_[row] == none) augment(static_cast<std::int32_t>(row));
    return column_of_;
  }

 private:
  [[nodiscard]] const T* costs_of(std::int32_t row) const {
    return cost_ + static_cast<std::size_t>(row) * size_;
  }

  /// Column reduction: v(j) is the least cost of column j, which is paired with a row that has it.
  void pair_cheapest_rows() {
    std::copy_n(cost_, size_, price_.begin());
    std::vector<std::int32_t> cheapest(size_, 0);
    for (std::size_t row = 1; row < size_; ++row) {
      const T* const costs = costs_of(static_cast<std::int32_t>(row));
      for (std::size_t j = 0; j < size_; ++j) {
        const bool less = costs[j] < price_[j];
        price_[j] = less ? costs[j] : price_[j];
        cheapest[j] = less ? static_cast<std::int32_t>(row) : cheapest[j];
      }
    }
    for (std::size_t j = 0; j < size_; ++j) {
      std::int32_t& column = column_of_[static_cast<std::size_t>(cheapest[j])];
      if (column != none) continue;
      column = static_cast<std::int32_t>(j);
      row_of_[j] = cheapest[j];
    }
  }

  /// Augmenting row reduction: a free row takes the column that is cheapest for it, from another
  /// row if need be, and lowers that column's price until the second cheapest is as good. Pairs
  /// most rows at a fraction of a path's cost; bounded, since rows may outbid each other by very
  /// little.
  void bid() {
    std::vector<std::int32_t> waiting;
    for (std::size_t row = size_; row-- > 0;)
      if (column_of_[row] == none) waiting.push_back(static_cast<std::int32_t>(row));
    for (std::size_t left = bids_per_row * size_; left > 0 && !waiting.empty(); --left) {
      const std::int32_t row = waiting.back();
      const Cheapest found = cheapest(row);
      if (!(found.least < found.second)) {  // a tie: of no use to the row
        waiting.pop_back();
        continue;
      }
      price_[found.column] -= found.second - found.least;
      waiting.pop_back();
      const std::int32_t before = row_of_[found.column];
      row_of_[found.column] = row;
      column_of_[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(found.column);
      if (before == none) continue;
      column_of_[static_cast<std::size_t>(before)] = none;
      waiting.push_back(before);
    }
  }

  struct Cheapest {
    std::size_t column;
    T least, second;
  };

  /// The least two reduced costs of a row, and where the least is.
  [[nodiscard]] Cheapest cheapest(std::int32_t row) {
    constexpr T infinity = std::numeric_limits<T>::infinity();
    const T* const costs = costs_of(row);
    const T* const price = price_.data();
    T* const reduced = distance_.data();
    T least = infinity;
#pragma omp simd reduction(min : least)
    for (std::size_t j = 0; j < size_; ++j) {
      reduced[j] = costs[j] - price[j];
      least = reduced[j] < least ? reduced[j] : least;
    }
    const auto at = std::find(distance_.begin(), distance_.end(), least);
    *at = infinity;
    T second = infinity;
#pragma omp simd reduction(min : second)
    for (std::size_t j = 0; j < size_; ++j) second = reduced[j] < second ? reduced[j] : second;
    return {static_cast<std::size_t>(at - distance_.begin()), least, second};
  }

  /// Distances over an edge from `row`, whose least reduced cost so far is `start`; the least of
  /// the columns that are still open.
  [[nodiscard]] T relax(std::int32_t row, T start) {
    constexpr T infinity = std::numeric_limits<T>::infinity();
    const T* const costs = costs_of(row);
    const T* const open_price = open_price_.data();
    T* const distance = distance_.data();
    std::int32_t* const from = from_.data();
    T least = infinity;
#pragma omp simd reduction(min : least)
    for (std::size_t j = 0; j < size_; ++j) {
      const T through = costs[j] - open_price[j] - start;  // infinite where j is closed
      const bool less = through < distance[j];
      distance[j] = less ? through : distance[j];
      from[j] = less ? row : from[j];
      least = distance[j] < least ? distance[j] : least;
    }
    return least;
  }

  /// Pairs a free row over the shortest path to a free column (Dijkstra's algorithm).
  void augment(std::int32_t free_row) {
    constexpr T infinity = std::numeric_limits<T>::infinity();
    std::copy(price_.begin(), price_.end(), open_price_.begin());
    std::fill(distance_.begin(), distance_.end(), infinity);
    closed_.clear();
    T least = relax(free_row, T(0));
    std::size_t column;
    while (true) {
      column = static_cast<std::size_t>(std::find(distance_.begin(), distance_.end(), least) -
                                        distance_.begin());
      const std::int32_t row = row_of_[column];
      if (row == none) break;
      closed_.push_back({column, least});
      distance_[column] = infinity;
      open_price_[column] = -infinity;
      const T start = costs_of(row)[column] - price_[column] - least;
      least = relax(row, start);
    }
    for (const Closed& closed : closed_) price_[closed.column] += closed.distance - least;
    for (std::int32_t row = none; row != free_row;) {
      row = from_[column];
      row_of_[column] = row;
      auto& paired = column_of_[static_cast<std::size_t>(row)];
      const std::int32_t before = paired;
      paired = static_cast<std::int32_t>(column);
      column = static_cast<std::size_t>(before);
    }
  }

  struct Closed {
    std::size_t column;
    T distance;
  };

  std::size_t size_;
  const T* cost_;
  std::vector<T> price_, open_price_, distance_;
  std::vector<std::int32_t> from_, row_of_, column_of_;
  std::vector<Closed> closed_;
};

#if defined(__clang__)
#pragma clang diagnostic pop
#endif

}  // namespace detail

/// The column that each row is paired with, so that the sum of `cost` (n, n) over the pairs is the
/// least. Exact, in O(n^3) operations at worst and far fewer on costs that are distances.
/// Throws ShapeError if `cost` is not n x n, and Error on a cost that is not finite.
template <class T>
[[nodiscard]] std::vector<std::int32_t> solve_assignment(std::span<const T> cost, std::size_t n) {
  if (cost.size() != n * n)
    throw ShapeError("solve_assignment: " + std::to_string(cost.size()) + " costs are not " +
                     std::to_string(n) + " x " + std::to_string(n));
  for (std::size_t i = 0; i < cost.size(); ++i)
    if (!std::isfinite(cost[i]))
      throw Error("solve_assignment: the cost of row " + std::to_string(i / n) + " and column " +
                  std::to_string(i % n) + " is " + std::to_string(cost[i]));
  return detail::AssignmentSolver<T>(n, cost.data()).solve();
}

}  // namespace meanflow
