// SPDX-License-Identifier: MIT
/// \file
/// Sources of training batches over the 2-D sets and over points from a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include <meanflow/data/point_set.hpp>
#include <meanflow/data/toy2d.hpp>
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

namespace detail {

/// fill(points of rows [first, last), first) for all rows of x, on all cores.
template <class F>
void fill_points(const Tensor<float>& x, F f) {
  parallel_for(Cpu{}, x.rows(), 64,
               [&](std::size_t first, std::size_t last) { f(x.rows(first, last).span(), first); });
}

}  // namespace detail

/// Fresh points of a 2-D set in every step.
struct Toy2dSource {
  Toy2d set{};

  [[nodiscard]] Shape row_shape() const { return {2}; }

  void fill(const Tensor<float>& x, std::uint64_t seed, std::uint64_t step) const {
    detail::fill_points(x, [&](std::span<float> points, std::size_t first) {
      sample_toy2d(set, points, seed, step, first);
    });
  }
};

/// Rows of a `PointSet`, drawn with replacement.
struct PointSetSource {
  std::shared_ptr<const PointSet> points;

  [[nodiscard]] Shape row_shape() const { return {points->dim()}; }

  void fill(const Tensor<float>& x, std::uint64_t seed, std::uint64_t step) const {
    detail::fill_points(x, [&](std::span<float> rows, std::size_t first) {
      points->sample(rows, seed, step, first);
    });
  }
};

}  // namespace meanflow
