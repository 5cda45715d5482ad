// SPDX-License-Identifier: MIT
/// \file
/// Where the random numbers of a batch's rows come from.
#pragma once

#include <cstdint>
#include <string>

#include <meanflow/error.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// A row's numbers are a function of the seed, the step and its number in the whole batch, so that
/// values, tangents and every repeated evaluation of a step see the same ones, whatever the threads
/// and pieces of the batch.
template <class Device = Cpu>
struct RowDraws {
  std::uint64_t seed = 0;
  Tensor<std::uint64_t, Device> step{};  ///< (1) number of the step, where the device reads it
  Tensor<std::uint64_t, Device> rows{};  ///< (B) numbers of the rows; empty: nothing is drawn
};

namespace detail {

/// Throws ShapeError, naming what draws, if there is nothing to draw from.
template <class Device>
void check_draws(const char* who, const RowDraws<Device>& draws) {
  if (draws.step.empty() || draws.rows.empty())
    throw ShapeError(std::string(who) +
                     ": the batch comes without numbers of its rows, as draw_batch gives them");
}

}  // namespace detail
}  // namespace meanflow
