// SPDX-License-Identifier: MIT
/// \file
/// `DualTensor`: a batch of values and, for its first rows, their tangents.
#pragma once

#include <cstddef>

#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// B value rows followed by K <= B tangent rows in one buffer: tangent row i belongs to value row
/// i, and rows K..B have no tangent, because nobody will use it (r = t makes du/dt irrelevant).
/// Being one buffer, both go through a matrix product or a convolution in one call.
template <class T, class Device = Cpu>
class DualTensor {
 public:
  using value_type = T;
  using device_type = Device;

  DualTensor() = default;

  /// Memory for values of `shape` (B, ...) and for `tangent_rows` rows of tangents; uninitialised.
  DualTensor(const Shape& shape, std::size_t tangent_rows)
      : buffer_(shape.with_rows(shape.rows() + tangent_rows)), rows_(shape.rows()) {
    if (tangent_rows > rows_)
      throw ShapeError("DualTensor: " + std::to_string(tangent_rows) +
                       " tangent rows for values of shape " + to_string(shape));
  }

  /// Copies `primal` (B, ...) and `tangent` (K, ...), K <= B or empty, into one buffer.
  DualTensor(const Tensor<T, Device>& primal, const Tensor<T, Device>& tangent)
      : DualTensor(primal.shape(), tangent.empty() ? 0 : tangent.rows()) {
    if (!tangent.empty() && primal.row_size() != tangent.row_size())
      throw_shape_error("DualTensor: tangent", tangent.shape(), primal.shape(), "rows differ");
    using Memory = device_traits<Device>;
    Memory::copy(primal.size() * sizeof(T), primal.data(), buffer_.data());
    Memory::copy(tangent.size() * sizeof(T), tangent.data(), buffer_.data() + primal.size());
  }

  /// The shape of the values, (B, ...).
  [[nodiscard]] Shape shape() const { return buffer_.shape().with_rows(rows_); }
  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t row_size() const { return buffer_.row_size(); }
  [[nodiscard]] std::size_t tangent_rows() const { return buffer_.rows() - rows_; }

  [[nodiscard]] Tensor<T, Device> primal() const { return buffer_.rows(0, rows_); }  // (B, ...)
  [[nodiscard]] Tensor<T, Device> tangent() const {                                  // (K, ...)
    return buffer_.rows(rows_, buffer_.rows());
  }
  /// Values and tangents as they lie in memory.
  [[nodiscard]] const Tensor<T, Device>& buffer() const { return buffer_; }  // (B + K, ...)
  [[nodiscard]] Tensor<T, Device>& buffer() { return buffer_; }

  [[nodiscard]] DualTensor reshaped(const Shape& shape) const {
    if (shape.rows() != rows_)
      throw_shape_error("DualTensor::reshaped", this->shape(), shape, "the batch must stay");
    if (shape.row_size() != row_size())
      throw_shape_error("DualTensor::reshaped", this->shape(), shape, "element counts differ");
    DualTensor view = *this;
    view.buffer_ = buffer_.reshaped(shape.with_rows(buffer_.rows()));
    return view;
  }

 private:
  Tensor<T, Device> buffer_;
  std::size_t rows_ = 0;
};

}  // namespace meanflow
