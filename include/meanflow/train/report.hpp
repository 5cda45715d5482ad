// SPDX-License-Identifier: MIT
/// \file
/// What a training step reports, and how it fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/error.hpp>

namespace meanflow {

/// What happened in a step.
struct StepReport {
  std::uint64_t step = 0;      ///< from 0
  std::uint64_t steps = 0;     ///< of the whole run
  double loss = 0;             ///< weighted; with adaptive p = 1 near 1 all the time
  double square = 0;           ///< mean squared error of a row: the one to watch
  double velocity_square = 0;  ///< mean |u - v|^2
  double derivative_norm = 0;  ///< mean |du/dt| of the rows that jump
  double gradient_norm = 0;    ///< before clipping
  double learning_rate = 0;
  std::size_t jump_rows = 0;
  double seconds = 0;  ///< since `fit` began
};

/// Training met a number that is not finite. The parameters are those of the step before.
struct NonFiniteError : Error {
  NonFiniteError(const std::string& message, std::uint64_t at, std::vector<std::size_t> bad_rows)
      : Error(message), step(at), rows(std::move(bad_rows)) {}
  std::uint64_t step;
  std::vector<std::size_t> rows;  ///< of the batch; empty if only the gradient was not finite
};

/// Weighted loss, squared error, |u - v|^2 and |du/dt|^2 of every row of a step.
struct RowReports {
  std::vector<double> loss, square, velocity_square, derivative_square;
};

}  // namespace meanflow
