// SPDX-License-Identifier: MIT
/// \file
/// How two operands of different shapes meet: extents of the result, and each operand's strides,
/// which are 0 along the axes that it is repeated on.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include <meanflow/tensor/shape.hpp>

namespace meanflow {

struct Broadcast {
  static constexpr std::size_t max_rank = Shape::max_rank;
  std::size_t rank = 0;
  std::array<std::size_t, max_rank> extents{};
  std::array<std::size_t, max_rank> x_strides{};
  std::array<std::size_t, max_rank> y_strides{};
  Shape shape;  ///< of the result

  /// The elements of the result.
  [[nodiscard]] std::size_t size() const { return shape.size(); }

  /// The innermost extent, after merging; 1 for single numbers.
  [[nodiscard]] std::size_t inner() const { return rank == 0 ? 1 : extents[rank - 1]; }
  [[nodiscard]] std::size_t outer() const { return inner() == 0 ? 0 : size() / inner(); }

  /// A distance within each operand.
  struct Offsets {
    std::size_t x, y;
  };
  /// How far each operand's neighbours of an inner run are apart: 1, or 0 for one that is repeated.
  [[nodiscard]] Offsets inner_strides() const {
    return rank == 0 ? Offsets{0, 0} : Offsets{x_strides[rank - 1], y_strides[rank - 1]};
  }
  /// Where each operand's inner run number `index` starts.
  [[nodiscard]] Offsets offsets(std::size_t index) const {
    Offsets result{0, 0};
    for (std::size_t axis = rank; axis-- > 1;) {
      const std::size_t position = index % extents[axis - 1];
      index /= extents[axis - 1];
      result.x += position * x_strides[axis - 1];
      result.y += position * y_strides[axis - 1];
    }
    return result;
  }
};

/// NumPy's rule: shapes are aligned at their last axis; extents are equal or one of them is 1.
/// Neighbouring axes that both operands walk alike are merged into one.
/// Throws ShapeError, naming `operation`, if the shapes do not fit.
[[nodiscard]] inline Broadcast broadcast(const std::string& operation, const Shape& x,
                                         const Shape& y) {
  const std::size_t rank = x.rank() > y.rank() ? x.rank() : y.rank();
  const auto extent = [rank](const Shape& shape, std::size_t axis) {
    const std::size_t missing = rank - shape.rank();
    return axis < missing ? std::size_t{1} : shape[axis - missing];
  };
  Broadcast result;
  std::array<std::size_t, Shape::max_rank> x_strides{}, y_strides{};
  std::size_t x_stride = 1, y_stride = 1;
  for (std::size_t axis = rank; axis-- > 0;) {
    const std::size_t ex = extent(x, axis), ey = extent(y, axis);
    if (ex != ey && ex != 1 && ey != 1)
      throw_shape_error(operation, x, y,
                        "extents " + std::to_string(ex) + " and " + std::to_string(ey) + " differ");
    x_strides[axis] = ex == 1 ? 0 : x_stride;
    y_strides[axis] = ey == 1 ? 0 : y_stride;
    x_stride *= ex;
    y_stride *= ey;
  }
  for (std::size_t axis = 0; axis < rank; ++axis) {
    const std::size_t ex = extent(x, axis), ey = extent(y, axis);
    const std::size_t n = ex == 1 ? ey : ex;
    result.shape.push_back(n);
    if (n == 1) continue;
    std::size_t& last = result.rank;
    const bool merges = last > 0 && result.x_strides[last - 1] == n * x_strides[axis] &&
                        result.y_strides[last - 1] == n * y_strides[axis];
    if (!merges) {
      ++last;
      result.extents[last - 1] = 1;
    }
    result.extents[last - 1] *= n;
    result.x_strides[last - 1] = x_strides[axis];
    result.y_strides[last - 1] = y_strides[axis];
  }
  return result;
}

}  // namespace meanflow
