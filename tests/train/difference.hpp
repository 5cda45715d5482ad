// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <meanflow/tensor/tensor.hpp>

namespace meanflow::test {

/// The largest difference, relative to the largest number of a; 1 or more if sizes differ.
[[nodiscard]] inline double relative_difference(const Tensor<float>& a, const Tensor<float>& b) {
  double largest = 0, size = 0;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    size = std::max(size, std::abs(static_cast<double>(a[i])));
  }
  return a.size() == b.size() ? largest / size : 1;
}

}  // namespace meanflow::test
