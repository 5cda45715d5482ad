// SPDX-License-Identifier: MIT
/// \file
/// What measures of two sets of points ask of them.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <string>

#include <meanflow/error.hpp>

namespace meanflow::detail {

/// Throws Error, naming the measure `who`, the set `which` and the row, if a number of points
/// (N, dim) is not finite.
template <class T>
void check_finite(const char* who, const char* which, std::span<const T> values, std::size_t dim) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      throw Error(std::string(who) + ": row " + std::to_string(i / dim) + " of " + which +
                  " is not finite");
}

}  // namespace meanflow::detail
