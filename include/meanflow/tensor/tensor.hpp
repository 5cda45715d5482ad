// SPDX-License-Identifier: MIT
/// \file
/// `Tensor<T, Device>`: a handle to numbers in the memory of a device.
#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <type_traits>
#include <utility>

#include <meanflow/tensor/device.hpp>
#include <meanflow/tensor/shape.hpp>

namespace meanflow {

/// A small handle: a shape, and shared ownership of row-major memory. Copying a tensor copies the
/// handle; both then see the same numbers, as with `std::shared_ptr`. `clone()` copies the numbers.
/// Numbers are changed through a handle that is not const, so a `const Tensor&` is an input. A copy
/// of a handle, or a view (`rows`, `reshaped`), is a handle of its own, which may change them.
/// It is not a tensor library: arithmetic is in `ops/`, and Eigen and xtensor can view its memory
/// without copying
/// (`tensor/eigen.hpp`, `tensor/xtensor.hpp`).
template <class T, class Device = Cpu>
class Tensor {
  static_assert(std::is_trivially_copyable_v<T>, "Tensor<T>: T must be trivially copyable");

 public:
  using value_type = T;
  using device_type = Device;

  /// No numbers, no memory; `empty()` is true. So is what a tensor was moved from.
  Tensor() = default;
  Tensor(const Tensor&) = default;
  Tensor& operator=(const Tensor&) = default;
  Tensor(Tensor&& other) noexcept
      : shape_(std::exchange(other.shape_, {})),
        storage_(std::move(other.storage_)),
        data_(std::exchange(other.data_, nullptr)) {}
  Tensor& operator=(Tensor&& other) noexcept {
    shape_ = std::exchange(other.shape_, {});
    storage_ = std::move(other.storage_);
    data_ = std::exchange(other.data_, nullptr);
    return *this;
  }
  ~Tensor() = default;

  /// Uninitialised memory for `shape`.
  explicit Tensor(const Shape& shape)
      : shape_(shape),
        storage_(shape.size() * sizeof(T)),
        data_(static_cast<T*>(storage_.data())) {}

  /// A tensor of `shape` with every element `value`.
  [[nodiscard]] static Tensor full(const Shape& shape, T value) {
    Tensor tensor(shape);
    Memory::fill(tensor.size(), value, tensor.data_);
    return tensor;
  }
  [[nodiscard]] static Tensor zeros(const Shape& shape) {
    Tensor tensor(shape);
    Memory::zero(tensor.size() * sizeof(T), tensor.data_);
    return tensor;
  }

  /// A copy of `values`, which must have as many elements as `shape`.
  [[nodiscard]] static Tensor from(const Shape& shape, std::span<const T> values) {
    if (values.size() != shape.size())
      throw_shape_error("Tensor::from", Shape{values.size()}, shape, "element counts differ");
    Tensor tensor(shape);
    Memory::from_host(values.size_bytes(), values.data(), tensor.data_);
    return tensor;
  }
  [[nodiscard]] static Tensor from(const Shape& shape, std::initializer_list<T> values) {
    return from(shape, std::span<const T>(values.begin(), values.size()));
  }

  /// A view of memory that somebody else owns and keeps alive.
  [[nodiscard]] static Tensor borrow(T* data, const Shape& shape) {
    Tensor tensor;
    tensor.shape_ = shape;
    tensor.data_ = data;
    return tensor;
  }

  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] std::size_t size() const { return data_ ? shape_.size() : 0; }
  [[nodiscard]] std::size_t rows() const { return shape_.rows(); }
  [[nodiscard]] std::size_t row_size() const { return shape_.row_size(); }
  [[nodiscard]] bool empty() const { return data_ == nullptr; }

  [[nodiscard]] T* data() { return data_; }
  [[nodiscard]] const T* data() const { return data_; }
  /// The numbers themselves are readable on the host alone; see `to_host` (`tensor/transfer.hpp`).
  [[nodiscard]] std::span<T> span()
    requires(on_host<Device>)
  {
    return {data_, size()};
  }
  [[nodiscard]] std::span<const T> span() const
    requires(on_host<Device>)
  {
    return {data_, size()};
  }
  [[nodiscard]] T& operator[](std::size_t index)
    requires(on_host<Device>)
  {
    return data_[index];
  }
  [[nodiscard]] const T& operator[](std::size_t index) const
    requires(on_host<Device>)
  {
    return data_[index];
  }
  [[nodiscard]] T* row(std::size_t index) { return data_ + index * shape_.row_size(); }
  [[nodiscard]] const T* row(std::size_t index) const { return data_ + index * shape_.row_size(); }

  /// Rows [first, last) of the same memory.
  [[nodiscard]] Tensor rows(std::size_t first, std::size_t last) const {
    if (first > last || last > rows())
      throw ShapeError("Tensor::rows: rows [" + std::to_string(first) + ", " +
                       std::to_string(last) + ") are not within shape " + to_string(shape_));
    Tensor view = *this;
    view.shape_ = shape_.with_rows(last - first);
    view.data_ = data_ + first * shape_.row_size();
    return view;
  }

  /// The same memory under another shape of as many elements.
  [[nodiscard]] Tensor reshaped(const Shape& shape) const {
    if (shape.size() != shape_.size())
      throw_shape_error("Tensor::reshaped", shape_, shape, "element counts differ");
    Tensor view = *this;
    view.shape_ = shape;
    return view;
  }

  /// The same numbers in memory of its own.
  [[nodiscard]] Tensor clone() const {
    if (empty()) return {};
    Tensor copy(shape_);
    Memory::copy(size() * sizeof(T), data_, copy.data_);
    return copy;
  }

  /// Whether no other handle shares this memory, so that it may be overwritten unnoticed.
  [[nodiscard]] bool unique() const { return storage_.unique(); }

  /// The same memory as a tensor of another device of the host.
  template <class Other>
    requires(on_host<Device> && on_host<Other>)
  [[nodiscard]] Tensor<T, Other> on() const {
    Tensor<T, Other> same;
    same.shape_ = shape_;
    same.storage_ = storage_;
    same.data_ = data_;
    return same;
  }

 private:
  template <class, class>
  friend class Tensor;
  using Memory = device_traits<Device>;

  Shape shape_;
  typename Memory::Storage storage_;
  T* data_ = nullptr;
};

}  // namespace meanflow
