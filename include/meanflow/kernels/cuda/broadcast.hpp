// SPDX-License-Identifier: MIT
/// \file
/// Functions of two operands that are broadcast: a thread for each element of the result, and a sum
/// for each element of an operand.
#pragma once

#include <cstddef>

#include <meanflow/config.hpp>
#include <meanflow/kernels/broadcast.hpp>
#include <meanflow/kernels/cuda/divisor.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/cuda/tag.hpp>
#include <meanflow/scalar/dual.hpp>

namespace meanflow::kernels {

namespace cuda {

/// `Broadcast` as the device reads it.
struct Axes {
  static constexpr std::size_t max_rank = Broadcast::max_rank;
  std::size_t rank = 0;
  Divisor extents[max_rank];
  std::size_t x_strides[max_rank]{}, y_strides[max_rank]{};

  explicit Axes(const Broadcast& shape) : rank(shape.rank) {
    for (std::size_t axis = 0; axis < rank; ++axis) {
      extents[axis] = Divisor(shape.extents[axis]);
      x_strides[axis] = shape.x_strides[axis];
      y_strides[axis] = shape.y_strides[axis];
    }
  }

  struct Places {
    std::size_t x = 0, y = 0;
  };
  /// Where the operands of element `index` of the result are.
  [[nodiscard]] MEANFLOW_HOST_DEVICE Places places(std::size_t index) const {
    Places at;
    for (std::size_t axis = rank; axis-- > 0;) {
      const std::size_t position = index % extents[axis];
      index = index / extents[axis];
      at.x += position * x_strides[axis];
      at.y += position * y_strides[axis];
    }
    return at;
  }

  /// The product of the extents along which the strides are zero, or are not.
  [[nodiscard]] std::size_t count(const std::size_t* strides, bool repeated) const {
    std::size_t product = 1;
    for (std::size_t axis = 0; axis < rank; ++axis)
      if ((strides[axis] == 0) == repeated) product *= extents[axis].value();
    return product;
  }

  /// The element of the result that is number `repeat` of those made of operand number `element`.
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t element(const std::size_t* strides,
                                                         std::size_t operand,
                                                         std::size_t repeat) const {
    std::size_t index = 0, stride = 1;
    for (std::size_t axis = rank; axis-- > 0;) {
      std::size_t& from = strides[axis] == 0 ? repeat : operand;
      index += from % extents[axis] * stride;
      from = from / extents[axis];
      stride *= extents[axis].value();
    }
    return index;
  }
};

}  // namespace cuda

template <class F, class T>
void binary(Cuda, F f, const Broadcast& shape, const T* x, const T* y, T* z) {
  const cuda::Axes axes(shape);
  cuda::for_each_index(shape.size(), [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const auto at = axes.places(i);
    z[i] = f(x[at.x], y[at.y]);
  });
}

template <class F, class T>
void binary_tangent(Cuda, F f, const Broadcast& shape, const T* x, const T* dx, const T* y,
                    const T* dy, T* dz) {
  const cuda::Axes axes(shape);
  cuda::for_each_index(shape.size(), [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const auto at = axes.places(i);
    dz[i] = f(Dual<T>(x[at.x], dx[at.x]), Dual<T>(y[at.y], dy[at.y])).tangent;
  });
}

// Each operand's element sums what was made of it.
template <class F, class T>
void binary_backward(Cuda, F f, const Broadcast& shape, const T* x, const T* y, const T* g, T* gx,
                     T* gy) {
  const cuda::Axes axes(shape);
  if (shape.size() == 0) return;
  if (gx)
    cuda::reduce_rows<T>(
        axes.count(axes.x_strides, false), axes.count(axes.x_strides, true),
        [=] MEANFLOW_HOST_DEVICE(std::size_t operand, std::size_t repeat) {
          const std::size_t i = axes.element(axes.x_strides, operand, repeat);
          const auto at = axes.places(i);
          return g[i] * f(Dual<T>(x[at.x], T(1)), Dual<T>(y[at.y], T(0))).tangent;
        },
        [=] MEANFLOW_HOST_DEVICE(std::size_t operand, T sum) {
          gx[axes.places(axes.element(axes.x_strides, operand, 0)).x] += sum;
        });
  if (gy)
    cuda::reduce_rows<T>(
        axes.count(axes.y_strides, false), axes.count(axes.y_strides, true),
        [=] MEANFLOW_HOST_DEVICE(std::size_t operand, std::size_t repeat) {
          const std::size_t i = axes.element(axes.y_strides, operand, repeat);
          const auto at = axes.places(i);
          return g[i] * f(Dual<T>(x[at.x], T(0)), Dual<T>(y[at.y], T(1))).tangent;
        },
        [=] MEANFLOW_HOST_DEVICE(std::size_t operand, T sum) {
          gy[axes.places(axes.element(axes.y_strides, operand, 0)).y] += sum;
        });
}

}  // namespace meanflow::kernels
