// SPDX-License-Identifier: MIT
/// \file
/// The contract of what batches come from.
#pragma once

#include <concepts>
#include <cstdint>

#include <meanflow/nn/condition.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Where batches come from.
///
/// Syntax:
///  1. `source.row_shape()`: the shape of a row, without the batch;
///  2. one of `source.fill(x, seed, step)`, which writes the rows x (B, ...) of batch number
///  `step`,
///     and `source.fill(x, condition, seed, step)`, which also writes their `Condition`. If a
///     source has both, the trainer calls the second.
/// Semantics: the same seed and step give the same rows. Of P processes, that of rank k asks for
/// the batches k, P + k, 2 P + k, ...
template <class S, class T, class Device = Cpu>
concept DataSource =
    requires(S& source) {
      { source.row_shape() } -> std::convertible_to<Shape>;
    } &&
    (
        requires(S& source, Tensor<T, Device> x, std::uint64_t number) {
          source.fill(x, number, number);
        } || requires(S& source, Tensor<T, Device> x, Condition<T, Device> condition,
                      std::uint64_t number) { source.fill(x, condition, number, number); });

}  // namespace meanflow
