// SPDX-License-Identifier: MIT
/// \file
/// Tensors and Eigen see each other's memory without copying.
#pragma once

#include <Eigen/Core>

#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

template <class T>
using RowMajorMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

namespace detail {

[[nodiscard]] inline Eigen::Index matrix_columns(const Shape& shape) {
  return static_cast<Eigen::Index>(shape.last());
}
[[nodiscard]] inline Eigen::Index matrix_rows(const Shape& shape) {
  return shape.last() == 0 ? 0 : static_cast<Eigen::Index>(shape.size() / shape.last());
}

}  // namespace detail

/// A tensor (..., C) as a row-major matrix with C columns. The tensor must outlive the map.
template <class T>
[[nodiscard]] Eigen::Map<RowMajorMatrix<T>> as_eigen(Tensor<T>& tensor) {
  return {tensor.data(), detail::matrix_rows(tensor.shape()),
          detail::matrix_columns(tensor.shape())};
}
template <class T>
[[nodiscard]] Eigen::Map<const RowMajorMatrix<T>> as_eigen(const Tensor<T>& tensor) {
  return {tensor.data(), detail::matrix_rows(tensor.shape()),
          detail::matrix_columns(tensor.shape())};
}

/// A row-major Eigen matrix as a tensor (rows, columns). The matrix must outlive the tensor.
template <class T>
[[nodiscard]] Tensor<T> as_tensor(RowMajorMatrix<T>& matrix) {
  return Tensor<T>::borrow(matrix.data(), {static_cast<std::size_t>(matrix.rows()),
                                           static_cast<std::size_t>(matrix.cols())});
}

}  // namespace meanflow
