// SPDX-License-Identifier: MIT
/// \file
/// The 2-D sets as a source of training batches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <meanflow/data/fill_rows.hpp>
#include <meanflow/data/toy2d.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Fresh points of a 2-D set in every batch.
struct Toy2dSource {
  Toy2d set{};

  [[nodiscard]] Shape row_shape() const { return {2}; }

  void fill(Tensor<float>& x, std::uint64_t seed, std::uint64_t number) const {
    detail::fill_rows(x, [&](std::span<float> points, std::size_t first) {
      sample_toy2d(set, points, seed, 0, number * x.rows() + first);
    });
  }
};

}  // namespace meanflow
