// SPDX-License-Identifier: MIT
/// \file
/// Tensors and Eigen see each other's memory without copying.
#pragma once

#include <Eigen/Core>

#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

template <class T>
using RowMajorMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A tensor (..., C) as a row-major matrix with C columns. The tensor must outlive the map.
template <class T>
[[nodiscard]] Eigen::Map<RowMajorMatrix<T>> as_eigen(const Tensor<T>& tensor) {
  const auto columns = static_cast<Eigen::Index>(tensor.shape().last());
  const auto rows = columns == 0 ? 0 : static_cast<Eigen::Index>(tensor.size()) / columns;
  return {tensor.data(), rows, columns};
}

/// A row-major Eigen matrix as a tensor (rows, columns). The matrix must outlive the tensor.
template <class T>
[[nodiscard]] Tensor<T> as_tensor(RowMajorMatrix<T>& matrix) {
  return Tensor<T>::borrow(matrix.data(), {static_cast<std::size_t>(matrix.rows()),
                                           static_cast<std::size_t>(matrix.cols())});
}

}  // namespace meanflow
