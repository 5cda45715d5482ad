// SPDX-License-Identifier: MIT
/// \file
/// Tensors and xtensor see each other's memory without copying.
#pragma once

#include <array>
#include <type_traits>

#include <meanflow/tensor/tensor.hpp>
#include <meanflow/tensor/xtensor_headers.hpp>

namespace meanflow {

namespace detail {

template <std::size_t Rank>
[[nodiscard]] std::array<std::size_t, Rank> extents(const Shape& shape) {
  if (shape.rank() != Rank)
    throw ShapeError("as_xtensor: a tensor of shape " + to_string(shape) + " does not have rank " +
                     std::to_string(Rank));
  std::array<std::size_t, Rank> result{};
  for (std::size_t axis = 0; axis < Rank; ++axis) result[axis] = shape[axis];
  return result;
}

}  // namespace detail

/// A tensor of rank `Rank` as an xtensor container. The tensor must outlive the view.
/// Throws ShapeError if the tensor has another rank.
template <std::size_t Rank, class T>
[[nodiscard]] auto as_xtensor(Tensor<T>& tensor) {
  return xt::adapt(tensor.data(), tensor.size(), xt::no_ownership(),
                   detail::extents<Rank>(tensor.shape()));
}
template <std::size_t Rank, class T>
[[nodiscard]] auto as_xtensor(const Tensor<T>& tensor) {
  return xt::adapt(tensor.data(), tensor.size(), xt::no_ownership(),
                   detail::extents<Rank>(tensor.shape()));
}

/// A row-major xtensor container (xt::xtensor or xt::xarray) as a tensor. It must outlive the
/// tensor.
template <class Container>
  requires std::is_base_of_v<xt::xcontainer<Container>, Container>
[[nodiscard]] Tensor<typename Container::value_type> as_tensor(Container& container) {
  static_assert(Container::static_layout == xt::layout_type::row_major,
                "as_tensor: the xtensor container must be row-major");
  Shape shape;
  for (std::size_t extent : container.shape()) shape.push_back(extent);
  return Tensor<typename Container::value_type>::borrow(container.data(), shape);
}

}  // namespace meanflow
