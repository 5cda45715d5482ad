// SPDX-License-Identifier: MIT
/// \file
/// Memory, element-wise functions and broadcasts. `kernels/reference.hpp` says what each computes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include <meanflow/config.hpp>
#include <meanflow/kernels/broadcast.hpp>
#include <meanflow/kernels/cuda/columns.hpp>
#include <meanflow/kernels/cuda/divisor.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/cuda/memory.hpp>
#include <meanflow/kernels/cuda/shapes.hpp>
#include <meanflow/kernels/precision.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/scalar/dual.hpp>
#include <meanflow/scalar/math.hpp>

namespace meanflow::kernels {

// The device splits its work itself: a batch is one tile, and loops over tiles run on the host.

template <class F>
void parallel_for(Cuda, std::size_t n, std::size_t /*grain*/, F f) {
  f(std::size_t{0}, n);
}
template <class F>
void parallel_tasks(Cuda, std::size_t tasks, F f) {
  for (std::size_t task = 0; task < tasks; ++task) f(task, std::size_t{0});
}
inline void wait(Cuda) {
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  cuda::context().wait();
#endif
}
[[nodiscard]] inline std::size_t workers(Cuda) { return 1; }
/// One: a device with too little memory for all rows at once says so (`OutOfMemoryError`), and is
/// asked again with more.
[[nodiscard]] inline std::size_t row_tiles(Cuda, std::size_t /*rows*/, std::size_t /*parameters*/,
                                           std::size_t /*tile_rows*/ = 0) {
  return 1;
}

// ------------------------------------------------------------------------------- memory

template <class T>
void fill(Cuda, std::size_t n, T value, T* y) {
  cuda::for_each_index(n, [=] MEANFLOW_HOST_DEVICE(std::size_t i) { y[i] = value; });
}

template <class T>
void copy(Cuda, std::size_t n, const T* x, T* y) {
  meanflow::detail::DeviceMemory<Cuda>::copy(n * sizeof(T), x, y);
}

template <class T>
void accumulate(Cuda, std::size_t n, const T* x, T* y) {
  cuda::for_each_index(n, [=] MEANFLOW_HOST_DEVICE(std::size_t i) { y[i] += x[i]; });
}

template <class T>
void copy_columns(Cuda, std::size_t rows, std::size_t columns, const T* x, std::size_t x_stride,
                  T* y, std::size_t y_stride, bool add) {
  const cuda::Divisor by(columns);
  cuda::for_each_index(rows * columns, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const std::size_t r = i / by, c = i % by;
    T& to = y[r * y_stride + c];
    to = add ? to + x[r * x_stride + c] : x[r * x_stride + c];
  });
}

template <class T>
void gather_rows(Cuda, std::size_t rows, std::size_t columns, std::size_t classes, const T* table,
                 const std::int32_t* labels, T* y) {
  cuda::for_each_index(rows * columns, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const std::int32_t label = labels[i / columns];
    y[i] = detail::is_label(label, classes)
               ? table[static_cast<std::size_t>(label) * columns + i % columns]
               : std::numeric_limits<T>::quiet_NaN();
  });
}

// A thread for each column, so that rows of one label are added in their order.
template <class T>
void scatter_add_rows(Cuda, std::size_t rows, std::size_t columns, std::size_t classes, const T* x,
                      const std::int32_t* labels, T* table) {
  cuda::for_each_index(columns, [=] MEANFLOW_HOST_DEVICE(std::size_t c) {
    for (std::size_t r = 0; r < rows; ++r)
      if (detail::is_label(labels[r], classes))
        table[static_cast<std::size_t>(labels[r]) * columns + c] += x[r * columns + c];
  });
}

template <class T>
void one_hot(Cuda, std::size_t rows, std::size_t classes, T scale, const std::int32_t* labels,
             T* y) {
  cuda::for_each_index(rows * classes, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const std::int32_t label = labels[i / classes];
    const bool here = static_cast<std::size_t>(label) == i % classes;
    y[i] = detail::is_label(label, classes + 1) ? here ? scale : T(0)
                                                : std::numeric_limits<T>::quiet_NaN();
  });
}

// ------------------------------------------------------------------------- element-wise

template <class F, class T>
void unary(Cuda, F f, std::size_t n, std::size_t tangents, const T* x, T* y, T* derivative) {
  cuda::for_each_index(n, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const Dual<T> result = f(Dual<T>(x[i], T(1)));
    if (i < tangents) y[n + i] = result.tangent * x[n + i];
    if (derivative) derivative[i] = result.tangent;
    y[i] = result.primal;
  });
}

template <class F, class T>
void bias_unary(Cuda, F f, std::size_t rows, std::size_t tangent_rows, std::size_t columns,
                const T* bias, T* x, T* derivative) {
  const cuda::Divisor by(columns);
  cuda::for_each_index(rows * columns, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const Dual<T> result = f(Dual<T>(bias ? x[i] + bias[i % by] : x[i], T(1)));
    if (i < tangent_rows * columns) x[rows * columns + i] *= result.tangent;
    if (derivative) derivative[i] = result.tangent;
    x[i] = result.primal;
  });
}

template <class T>
void bias_unary_backward(Cuda, std::size_t rows, std::size_t columns, const T* derivative, T* g,
                         T* bias_gradient) {
  if (bias_gradient)
    cuda::reduce_columns<T>(
        1, rows, columns,
        [=] MEANFLOW_HOST_DEVICE(std::size_t, std::size_t r, std::size_t c) {
          T& value = g[r * columns + c];
          if (derivative) value *= derivative[r * columns + c];
          return value;
        },
        [=] MEANFLOW_HOST_DEVICE(std::size_t, std::size_t c, T sum) { bias_gradient[c] += sum; });
  else if (derivative)
    cuda::for_each_index(rows * columns,
                         [=] MEANFLOW_HOST_DEVICE(std::size_t i) { g[i] *= derivative[i]; });
}

template <class T>
void affine(Cuda, std::size_t n, std::size_t tangents, T a, T b, const T* x, T* y) {
  cuda::for_each_index(n + tangents, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    y[i] = i < n ? a * x[i] + b : a * x[i];
  });
}

template <class T>
void multiply(Cuda, std::size_t n, const T* x, const T* y, T* z) {
  cuda::for_each_index(n, [=] MEANFLOW_HOST_DEVICE(std::size_t i) { z[i] = x[i] * y[i]; });
}

// --------------------------------------------------------------------------- broadcasts

namespace cuda {

/// `Broadcast` as the device reads it.
struct Axes {
  static constexpr std::size_t most = Broadcast::max_rank;
  std::size_t rank = 0;
  Divisor extents[most];
  std::size_t x_strides[most]{}, y_strides[most]{};

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
