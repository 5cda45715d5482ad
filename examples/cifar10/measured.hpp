// SPDX-License-Identifier: MIT
// What both ways of measuring samples share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <meanflow/random/philox.hpp>
#include <meanflow/tensor/tensor.hpp>

#include "sampling.hpp"

namespace cifar10 {

/// Each class in turn; nothing without classes.
[[nodiscard]] inline Labels labels_in_turn(std::size_t classes) {
  if (classes == 0) return {};
  return [classes](std::size_t picture) { return static_cast<std::int32_t>(picture % classes); };
}

/// Some rows of features, drawn without replacement: files may hold one class after the other.
[[nodiscard]] inline meanflow::Tensor<float> some_rows(const meanflow::Tensor<float>& features,
                                                       std::size_t count) {
  const auto order = meanflow::permutation<std::uint32_t>(features.rows(), 0, 0);
  meanflow::Tensor<float> chosen({count, features.row_size()});
  for (std::size_t i = 0; i < count; ++i)
    std::copy_n(features.row(order[i]), features.row_size(), chosen.row(i));
  return chosen;
}

}  // namespace cifar10
