// SPDX-License-Identifier: MIT
/// \file
/// A batch of points on the path, as objectives see it.
#pragma once

#include <cstddef>

#include <meanflow/nn/condition.hpp>
#include <meanflow/tensor/row_draws.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Points on the path, with the rows that jump (r < t) first.
template <class T, class Device = Cpu, Condition C = NoCondition<T, Device>>
struct FlowBatch {
  Tensor<T, Device> z;        ///< z_t (B, ...)
  Tensor<T, Device> v;        ///< conditional velocity dz/dt, or the guided one (B, ...)
  Tensor<T, Device> r, t;     ///< times, r <= t (B, 1)
  std::size_t jump_rows = 0;  ///< K: rows from here on have r = t, and some before may have
  C condition{};
  Tensor<T, Device> data{}, noise{};  ///< the ends of the path, x and e (B, ...)
  Tensor<T, Device> unguided{};       ///< dz/dt where `Guided` has changed v, else empty
  RowDraws<Device> draws{};           ///< for objectives that draw more; empty outside of training

  /// dz/dt (B, ...), whether v is guided or not.
  [[nodiscard]] const Tensor<T, Device>& path_velocity() const {
    return unguided.empty() ? v : unguided;
  }
};

/// The batch that a net is trained on.
template <class N>
using FlowBatchOf = FlowBatch<typename N::value_type, typename N::device_type, ConditionOf<N>>;

}  // namespace meanflow
