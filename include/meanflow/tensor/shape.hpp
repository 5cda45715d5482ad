// SPDX-License-Identifier: MIT
/// \file
/// `Shape`: the extents of a tensor, row-major, batch first, channels last. Never on the heap.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <string>

#include <meanflow/error.hpp>

namespace meanflow {

/// Up to five extents, for example (B, H, W, C). An empty shape is that of a single number.
class Shape {
 public:
  static constexpr std::size_t max_rank = 5;

  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<std::size_t> extents) {
    if (extents.size() > max_rank) throw ShapeError("Shape: at most 5 extents are supported");
    for (std::size_t extent : extents) extents_[rank_++] = extent;
  }

  [[nodiscard]] constexpr std::size_t rank() const { return rank_; }
  [[nodiscard]] constexpr std::size_t operator[](std::size_t axis) const { return extents_[axis]; }
  constexpr std::size_t& operator[](std::size_t axis) { return extents_[axis]; }

  [[nodiscard]] constexpr const std::size_t* begin() const { return extents_.data(); }
  [[nodiscard]] constexpr const std::size_t* end() const { return extents_.data() + rank_; }

  /// The number of elements: the product of all extents.
  [[nodiscard]] constexpr std::size_t size() const { return product_from(0); }

  /// The first extent (the batch); 1 for an empty shape.
  [[nodiscard]] constexpr std::size_t rows() const { return rank_ == 0 ? 1 : extents_[0]; }

  /// The last extent (channels); 1 for an empty shape.
  [[nodiscard]] constexpr std::size_t last() const { return rank_ == 0 ? 1 : extents_[rank_ - 1]; }

  /// The number of elements of one row: the product of all extents but the first.
  [[nodiscard]] constexpr std::size_t row_size() const { return product_from(1); }

  /// The same shape with another first extent.
  [[nodiscard]] constexpr Shape with_rows(std::size_t rows) const {
    Shape other = *this;
    if (other.rank_ == 0) other.rank_ = 1;
    other.extents_[0] = rows;
    return other;
  }

  /// The same shape with another last extent.
  [[nodiscard]] constexpr Shape with_last(std::size_t last) const {
    Shape other = *this;
    if (other.rank_ == 0) other.rank_ = 1;
    other.extents_[other.rank_ - 1] = last;
    return other;
  }

  /// The shape of a row: all extents but the first.
  [[nodiscard]] constexpr Shape row() const {
    Shape one;
    for (std::size_t axis = 1; axis < rank_; ++axis) one.push_back(extents_[axis]);
    return one;
  }

  /// The shape of that many rows, each of this shape.
  [[nodiscard]] constexpr Shape batch_of(std::size_t rows) const {
    Shape batch{rows};
    for (const std::size_t extent : *this) batch.push_back(extent);
    return batch;
  }

  constexpr void push_back(std::size_t extent) {
    if (rank_ == max_rank) throw ShapeError("Shape: at most 5 extents are supported");
    extents_[rank_++] = extent;
  }

  friend constexpr bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (std::size_t axis = 0; axis < a.rank_; ++axis)
      if (a.extents_[axis] != b.extents_[axis]) return false;
    return true;
  }

 private:
  /// Throws ShapeError if the product is larger than any memory.
  [[nodiscard]] constexpr std::size_t product_from(std::size_t axis) const;

  std::array<std::size_t, max_rank> extents_{};
  std::size_t rank_ = 0;
};

/// "(32, 2)".
[[nodiscard]] inline std::string to_string(const Shape& shape) {
  std::string text = "(";
  for (std::size_t axis = 0; axis < shape.rank(); ++axis)
    text += (axis ? ", " : "") + std::to_string(shape[axis]);
  return text + ")";
}

constexpr std::size_t Shape::product_from(std::size_t axis) const {
  constexpr std::size_t largest = std::size_t{1} << 58;  // so that bytes can be counted as well
  std::size_t product = 1;
  bool fits = true;
  for (; axis < rank_; ++axis)
    fits = !__builtin_mul_overflow(product, extents_[axis], &product) && product <= largest && fits;
  if (!fits) throw ShapeError("shape " + to_string(*this) + " is too large for any memory");
  return product;
}

/// Throws a ShapeError "operation: shape A does not fit shape B (why)".
[[noreturn]] inline void throw_shape_error(const std::string& operation, const Shape& a,
                                           const Shape& b, const std::string& why) {
  throw ShapeError(operation + ": shape " + to_string(a) + " does not fit shape " + to_string(b) +
                   " (" + why + ")");
}

}  // namespace meanflow
