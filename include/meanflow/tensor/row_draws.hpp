// SPDX-License-Identifier: MIT
/// \file
/// Where the random numbers of a batch's rows come from.
#pragma once

#include <cstdint>

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

}  // namespace meanflow
