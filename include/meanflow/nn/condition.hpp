// SPDX-License-Identifier: MIT
/// \file
/// What a net is told besides z, r and t.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <meanflow/ops/dropout.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Conditions of a batch, row by row; members that a net does not use stay empty.
template <class T, class Device = Cpu>
struct Condition {
  Tensor<std::int32_t, Device> labels;  ///< (B) classes; the null class is the number of classes
  Tensor<T, Device> augmentation;       ///< (B, A) what was done to the image
  DropoutDraw<Device> dropout{};        ///< set by the trainer; empty in sampling

  /// The conditions of rows [first, last).
  [[nodiscard]] Condition rows(std::size_t first, std::size_t last) const {
    const auto part = [=](const auto& all) { return all.empty() ? all : all.rows(first, last); };
    return {part(labels), part(augmentation), {dropout.seed, dropout.step, part(dropout.rows)}};
  }
};

namespace detail {

/// Throws ShapeError, naming `who`, unless every given part of the condition has `rows` rows.
template <class T, class Device>
void check_condition(const std::string& who, const Condition<T, Device>& condition,
                     std::size_t rows) {
  const auto check = [&](const char* name, const auto& part) {
    if (!part.empty() && part.rows() != rows)
      throw ShapeError(who + ": " + name + " of shape " + to_string(part.shape()) +
                       " for a batch of " + std::to_string(rows) + " rows");
  };
  check("labels", condition.labels);
  check("augmentation", condition.augmentation);
  check("dropout rows", condition.dropout.rows);
}

}  // namespace detail

}  // namespace meanflow
