// SPDX-License-Identifier: MIT
/// \file
/// Functions of two operands that are broadcast: SIMD along the innermost axis.
#pragma once

#include <cstddef>

#include <meanflow/kernels/broadcast.hpp>
#include <meanflow/kernels/cpu/shapes.hpp>
#include <meanflow/kernels/cpu/simd.hpp>
#include <meanflow/kernels/cpu/threads.hpp>
#include <meanflow/scalar/dual.hpp>

namespace meanflow::kernels {

namespace detail {

/// Loads element i of an operand with stride 1, or its only element for stride 0.
template <class Lanes, class T>
[[nodiscard]] inline xsimd::batch<T> load_strided(Lanes lanes, const T* x, std::size_t i,
                                                  std::size_t stride) {
  return stride == 0 ? xsimd::batch<T>(*x) : lanes.load(x + i);
}

/// f(x, y, z, length): where every inner run begins; inner strides are 0 or 1. A single run is cut
/// into pieces, so that operands of the same shape are shared among the threads as well.
template <class F>
void for_each_run(const Broadcast& shape, F f) {
  const std::size_t inner = shape.inner();
  if (shape.outer() == 1) {
    const auto strides = shape.inner_strides();
    return parallel_for(Cpu{}, inner, parallel_grain, [=](std::size_t first, std::size_t last) {
      f(first * strides.x, first * strides.y, first, last - first);
    });
  }
  parallel_for(Cpu{}, shape.outer(), rows_grain(inner), [=](std::size_t first, std::size_t last) {
    for (std::size_t o = first; o < last; ++o) {
      const auto at = shape.offsets(o);
      f(at.x, at.y, o * inner, inner);
    }
  });
}

}  // namespace detail

template <class F, class T>
void binary(Cpu, F f, const Broadcast& shape, const T* x, const T* y, T* z) {
  const std::size_t xs = shape.inner_strides().x, ys = shape.inner_strides().y;
  detail::for_each_run(shape,
                       [=](std::size_t xo, std::size_t yo, std::size_t zo, std::size_t length) {
                         detail::for_each_batch<T>(0, length, [=](auto lanes, std::size_t i) {
                           lanes.store(z + zo + i, f(detail::load_strided(lanes, x + xo, i, xs),
                                                     detail::load_strided(lanes, y + yo, i, ys)));
                         });
                       });
}

template <class F, class T>
void binary_tangent(Cpu, F f, const Broadcast& shape, const T* x, const T* dx, const T* y,
                    const T* dy, T* dz) {
  using D = Dual<xsimd::batch<T>>;
  const std::size_t xs = shape.inner_strides().x, ys = shape.inner_strides().y;
  detail::for_each_run(shape,
                       [=](std::size_t xo, std::size_t yo, std::size_t zo, std::size_t length) {
                         detail::for_each_batch<T>(0, length, [=](auto lanes, std::size_t i) {
                           const D a(detail::load_strided(lanes, x + xo, i, xs),
                                     detail::load_strided(lanes, dx + xo, i, xs));
                           const D b(detail::load_strided(lanes, y + yo, i, ys),
                                     detail::load_strided(lanes, dy + yo, i, ys));
                           lanes.store(dz + zo + i, f(a, b).tangent);
                         });
                       });
}

namespace detail {

/// One inner run, or a piece of one, of `length` elements.
template <class F, class T>
void binary_backward_run(F f, Broadcast::Offsets strides, std::size_t length, const T* x,
                         const T* y, const T* g, T* gx, T* gy) {
  using Batch = xsimd::batch<T>;
  using D = Dual<Batch>;
  Batch x_sum(T(0)), y_sum(T(0));
  for_each_batch<T>(0, length, [&](auto lanes, std::size_t i) {
    const Batch p = load_strided(lanes, x, i, strides.x), q = load_strided(lanes, y, i, strides.y);
    const Batch up = lanes.load(g + i);
    const auto keep = [&](T* to, std::size_t stride, Batch& sum, const Batch& part) {
      if (stride == 0) {
        // Lanes beyond the end may hold anything (0/0): store and reload only the valid ones.
        alignas(64) T valid[Batch::size] = {};
        lanes.store(valid, part);
        sum += Batch(xsimd::load_aligned(valid));
      } else {
        lanes.store(to + i, lanes.load(to + i) + part);
      }
    };
    if (gx) keep(gx, strides.x, x_sum, up * f(D(p, Batch(T(1))), D(q, Batch(T(0)))).tangent);
    if (gy) keep(gy, strides.y, y_sum, up * f(D(p, Batch(T(0))), D(q, Batch(T(1)))).tangent);
  });
  if (gx && strides.x == 0) *gx += xsimd::hadd(x_sum);
  if (gy && strides.y == 0) *gy += xsimd::hadd(y_sum);
}

}  // namespace detail

template <class F, class T>
void binary_backward(Cpu, F f, const Broadcast& shape, const T* x, const T* y, const T* g, T* gx,
                     T* gy) {
  const auto strides = shape.inner_strides();
  const auto moved = [](T* to, std::size_t by) { return to ? to + by : nullptr; };
  const auto run = [&](Broadcast::Offsets at, std::size_t from, std::size_t length) {
    detail::binary_backward_run(f, strides, length, x + at.x, y + at.y, g + from, moved(gx, at.x),
                                moved(gy, at.y));
  };
  if (shape.outer() == 1 && strides.x == 1 && strides.y == 1)
    return parallel_for(Cpu{}, shape.inner(), detail::parallel_grain,
                        [&](std::size_t first, std::size_t last) {
                          run({first, first}, first, last - first);
                        });
  // Runs that share an operand add to the same place, so this loop stays on one thread.
  for (std::size_t o = 0; o < shape.outer(); ++o)
    run(shape.offsets(o), o * shape.inner(), shape.inner());
}

}  // namespace meanflow::kernels
