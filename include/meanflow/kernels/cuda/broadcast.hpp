// SPDX-License-Identifier: MIT
/// \file
/// Functions of two operands that are broadcast: a thread for four elements of the result, and a
/// sum for each element of an operand that is repeated.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <meanflow/config.hpp>
#include <meanflow/kernels/broadcast.hpp>
#include <meanflow/kernels/cuda/columns.hpp>
#include <meanflow/kernels/cuda/divisor.hpp>
#include <meanflow/kernels/cuda/lanes.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/cuda/shapes.hpp>
#include <meanflow/kernels/cuda/tag.hpp>
#include <meanflow/scalar/dual.hpp>

namespace meanflow::kernels {

namespace cuda {

/// `Broadcast` as the device reads it, in units of `unit` neighbours of the innermost axis: always
/// of the same rank, whose loops are unrolled, so that nothing of it is indexed by a number that a
/// thread finds out.
template <std::size_t Rank>
struct Axes {
  Divisor extents[Rank];
  std::uint32_t x_strides[Rank]{}, y_strides[Rank]{};

  explicit Axes(const Broadcast& shape, std::size_t unit = 1) {
    const std::size_t missing = Rank - shape.rank;
    const auto set = [&](std::size_t axis, std::size_t extent, std::size_t x, std::size_t y) {
      if (x >> 32 || y >> 32)
        throw CudaError("operands of more than 2^32 elements cannot be broadcast");
      extents[missing + axis] = Divisor(extent);
      x_strides[missing + axis] = static_cast<std::uint32_t>(x);
      y_strides[missing + axis] = static_cast<std::uint32_t>(y);
    };
    for (std::size_t axis = 0; axis < shape.rank; ++axis) {
      const std::size_t step = axis + 1 == shape.rank ? unit : 1;
      set(axis, shape.extents[axis] / step, shape.x_strides[axis] * step,
          shape.y_strides[axis] * step);
    }
  }

  struct Places {
    std::size_t x = 0, y = 0;
  };
  /// Where the operands of unit `index` of the result are.
  template <class Index>
  [[nodiscard]] MEANFLOW_HOST_DEVICE Places places(Index index) const {
    Places at;
    for (std::size_t k = 0; k < Rank; ++k) {
      const std::size_t axis = Rank - 1 - k;
      const Index next = index / extents[axis];
      const Index position = index - next * static_cast<Index>(extents[axis].value());
      index = next;
      at.x += std::size_t{position} * x_strides[axis];
      at.y += std::size_t{position} * y_strides[axis];
    }
    return at;
  }

  /// The product of the extents along which the strides are zero, or are not.
  [[nodiscard]] std::size_t count(const std::uint32_t* strides, bool repeated) const {
    std::size_t product = 1;
    for (std::size_t axis = 0; axis < Rank; ++axis)
      if ((strides[axis] == 0) == repeated) product *= extents[axis].value();
    return product;
  }

  /// The element of the result that is number `repeat` of those made of operand number `operand` of
  /// the first one, or else of the second.
  [[nodiscard]] MEANFLOW_HOST_DEVICE std::size_t element(bool first, std::size_t operand,
                                                         std::size_t repeat) const {
    std::size_t index = 0, stride = 1;
    for (std::size_t k = 0; k < Rank; ++k) {
      const std::size_t axis = Rank - 1 - k;
      const bool repeats = (first ? x_strides[axis] : y_strides[axis]) == 0;
      const std::size_t from = repeats ? repeat : operand, next = from / extents[axis];
      index += (from - next * extents[axis].value()) * stride;
      (repeats ? repeat : operand) = next;
      stride *= extents[axis].value();
    }
    return index;
  }
};

/// What almost all broadcasts have after their axes are merged; others take the rank of all.
inline constexpr std::size_t usual_rank = 3;

/// f(axes) with as few axes as hold the shape.
template <class F>
void with_axes(const Broadcast& shape, std::size_t unit, F f) {
  if (shape.rank <= usual_rank)
    f(Axes<usual_rank>(shape, unit));
  else
    f(Axes<Broadcast::max_rank>(shape, unit));
}

/// Whether both operands are walked as the result is.
[[nodiscard]] inline bool is_plain(const Broadcast& shape) {
  return shape.rank == 0 || (shape.rank == 1 && shape.x_strides[0] == 1 && shape.y_strides[0] == 1);
}

/// An operand along the innermost axis: its neighbours, or one number for all.
template <class At>
struct AlongRow {
  At at;
  bool repeated;
  template <class T>
  [[nodiscard]] MEANFLOW_HOST_DEVICE auto load(const T* x) const {
    using V = decltype(at.load(x));
    return repeated ? V(x[at.index]) : at.load(x);
  }
};

/// A body of pairs at the item `i` of a launch that begins at an outermost position.
template <std::size_t Rank, class Body>
struct PairAt {
  Axes<Rank> axes;
  Body body;
  std::size_t index, x, y;  // where the launch begins
  bool together, x_repeats, y_repeats;

  MEANFLOW_HOST_DEVICE void operator()(std::uint32_t i) const {
    const auto at = axes.places(i);
    if (together)
      body(Four{index + lanes * i}, AlongRow<Four>{{x + at.x}, x_repeats},
           AlongRow<Four>{{y + at.y}, y_repeats});
    else
      body(Element{index + i}, Element{x + at.x}, Element{y + at.y});
  }
};

/// body(place in the result, place in x, place in y) for every element of the result, for which
/// `bytes` move.
template <class Body>
void for_each_pair(const Broadcast& shape, std::size_t bytes, const Body& body) {
  const bool together = shape.inner() % lanes == 0;
  const std::size_t unit = together ? lanes : 1;
  const auto steps = shape.inner_strides();
  with_axes(shape, unit, [&]<std::size_t Rank>(const Axes<Rank>& axes) {
    const std::size_t outer = shape.rank < 2 ? 1 : shape.extents[0];  // the others stay together
    const std::size_t each = shape.size() / unit / std::max<std::size_t>(outer, 1);
    for_each_launch(outer, each, [&](std::size_t first, std::size_t count) {
      for_each_item(
          count * each, count * each * unit, first == 0 ? bytes : 0,
          PairAt<Rank, Body>{axes, body, first * each * unit, first * shape.x_strides[0],
                             first * shape.y_strides[0], together, steps.x == 0, steps.y == 0});
    });
  });
}

template <class F, class T>
struct PairValues {
  using value_type = T;
  F f;
  const T *x, *y;
  T* z;
  template <class At, class AtX, class AtY>
  MEANFLOW_HOST_DEVICE void operator()(At at, AtX at_x, AtY at_y) const {
    using V = decltype(at.load(z));
    at.store(z, V(f(V(at_x.load(x)), V(at_y.load(y)))));
  }
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(At at) const {
    (*this)(at, at, at);
  }
};

template <class F, class T>
struct PairTangents {
  using value_type = T;
  F f;
  const T *x, *dx, *y, *dy;
  T* dz;
  template <class At, class AtX, class AtY>
  MEANFLOW_HOST_DEVICE void operator()(At at, AtX at_x, AtY at_y) const {
    using V = decltype(at.load(dz));
    at.store(
        dz,
        V(f(Dual<V>(at_x.load(x), at_x.load(dx)), Dual<V>(at_y.load(y), at_y.load(dy))).tangent));
  }
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(At at) const {
    (*this)(at, at, at);
  }
};

/// Both gradients of operands that are walked as the result is.
template <class F, class T>
struct PairGradients {
  using value_type = T;
  F f;
  const T *x, *y, *g;
  T *gx, *gy;
  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(At at) const {
    using V = decltype(at.load(g));
    const V up = at.load(g), vx = at.load(x), vy = at.load(y), one(T(1)), zero(T(0));
    if (gx) at.store(gx, V(at.load(gx) + up * f(Dual<V>(vx, one), Dual<V>(vy, zero)).tangent));
    if (gy) at.store(gy, V(at.load(gy) + up * f(Dual<V>(vx, zero), Dual<V>(vy, one)).tangent));
  }
};

/// What an element of the result adds to the gradient of one operand; `first` says to which.
template <class F, class T>
struct OperandTerm {
  F f;
  const T *x, *y, *g;
  bool first;

  template <class Places>
  [[nodiscard]] MEANFLOW_HOST_DEVICE T operator()(std::size_t i, const Places& at) const {
    const Dual<T> a(x[at.x], T(first ? 1 : 0)), b(y[at.y], T(first ? 0 : 1));
    return g[i] * f(a, b).tangent;
  }
};

/// Adds to the gradient of an operand (m, 1, c), or (1, c), that is repeated for the rows of
/// matrices (r, c).
template <class F, class T>
void add_sums_of_rows(const Broadcast& shape, const OperandTerm<F, T>& term, T* gradient) {
  const Axes<usual_rank> axes(shape);
  const std::size_t columns = shape.inner(), rows = shape.extents[shape.rank - 2];
  const bool many = shape.rank == 3;
  const std::size_t step = !many ? 0 : term.first ? shape.x_strides[0] : shape.y_strides[0];
  reduce_columns<T>(
      many ? shape.extents[0] : 1, rows, columns,
      [=] MEANFLOW_HOST_DEVICE(std::size_t m, std::size_t r, std::size_t c) {
        const std::size_t i = (m * rows + r) * columns + c;
        return term(i, axes.places(i));
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t m, std::size_t c, T sum) {
        gradient[m * step + c] += sum;
      },
      0, shape.size() * sizeof(T));
}

/// The same of any operand.
template <std::size_t Rank, class F, class T>
void add_sums(const Axes<Rank>& axes, const OperandTerm<F, T>& term, T* gradient) {
  const std::size_t operand = axes.count(term.first ? axes.x_strides : axes.y_strides, false);
  const std::size_t repeats = axes.count(term.first ? axes.x_strides : axes.y_strides, true);
  const auto element = [=] MEANFLOW_HOST_DEVICE(std::size_t of, std::size_t repeat) {
    return axes.element(term.first, of, repeat);
  };
  reduce_rows<T>(
      operand, repeats,
      [=] MEANFLOW_HOST_DEVICE(std::size_t of, std::size_t repeat) {
        const std::size_t i = element(of, repeat);
        return term(i, axes.places(i));
      },
      [=] MEANFLOW_HOST_DEVICE(std::size_t of, T sum) {
        const auto at = axes.places(element(of, 0));
        gradient[term.first ? at.x : at.y] += sum;
      },
      operand * repeats * sizeof(T));
}

template <class F, class T>
void operand_gradient(const Broadcast& shape, const OperandTerm<F, T>& term, T* gradient) {
  const auto& strides = term.first ? shape.x_strides : shape.y_strides;
  const bool in_the_middle =
      (shape.rank == 2 && strides[0] == 0 && strides[1] == 1) ||
      (shape.rank == 3 && strides[0] != 0 && strides[1] == 0 && strides[2] == 1);
  if (in_the_middle)
    add_sums_of_rows(shape, term, gradient);
  else
    with_axes(shape, 1, [&](const auto& axes) { add_sums(axes, term, gradient); });
}

}  // namespace cuda

template <class F, class T>
void binary(Cuda, F f, const Broadcast& shape, const T* x, const T* y, T* z) {
  const cuda::PairValues<F, T> body{f, x, y, z};
  if (cuda::is_plain(shape))
    for_each(Cuda{}, shape.size(), body);
  else
    cuda::for_each_pair(shape, 2 * shape.size() * sizeof(T), body);
}

template <class F, class T>
void binary_tangent(Cuda, F f, const Broadcast& shape, const T* x, const T* dx, const T* y,
                    const T* dy, T* dz) {
  const cuda::PairTangents<F, T> body{f, x, dx, y, dy, dz};
  if (cuda::is_plain(shape))
    for_each(Cuda{}, shape.size(), body);
  else
    cuda::for_each_pair(shape, 3 * shape.size() * sizeof(T), body);
}

template <class F, class T>
void binary_backward(Cuda, F f, const Broadcast& shape, const T* x, const T* y, const T* g, T* gx,
                     T* gy) {
  if (shape.size() == 0) return;
  if (cuda::is_plain(shape))
    return for_each(Cuda{}, shape.size(), cuda::PairGradients<F, T>{f, x, y, g, gx, gy});
  if (gx) cuda::operand_gradient<F, T>(shape, {f, x, y, g, true}, gx);
  if (gy) cuda::operand_gradient<F, T>(shape, {f, x, y, g, false}, gy);
}

}  // namespace meanflow::kernels
