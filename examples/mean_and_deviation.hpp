// SPDX-License-Identifier: MIT
// What the comparisons print of results over seeds.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

struct MeanAndDeviation {
  double mean = 0, deviation = 0;
};

/// Of `part` of each result, a member or a function; the deviation is the sample's.
template <class Result, class Part>
[[nodiscard]] MeanAndDeviation mean_and_deviation(const std::vector<Result>& results, Part part) {
  const double count = static_cast<double>(results.size());
  MeanAndDeviation over;
  for (const Result& one : results) over.mean += std::invoke(part, one) / count;
  double square = 0;
  for (const Result& one : results) square += std::pow(std::invoke(part, one) - over.mean, 2);
  over.deviation = std::sqrt(square / std::max(1.0, count - 1));
  return over;
}
