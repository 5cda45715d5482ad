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

/// f(x, y, z): the pointers of every inner run; inner strides are 0 or 1.
template <class F>
void for_each_run(const Broadcast& shape, F f) {
  const std::size_t inner = shape.inner();
  const std::size_t grain = rows_grain(inner);
  parallel_for(Cpu{}, shape.outer(), grain, [=](std::size_t first, std::size_t last) {
    for (std::size_t o = first; o < last; ++o) {
      const auto at = shape.offsets(o);
      f(at.x, at.y, o * inner);
    }
  });
}

}  // namespace detail

template <class F, class T>
void binary(Cpu, F f, const Broadcast& shape, const T* x, const T* y, T* z) {
  const std::size_t inner = shape.inner();
  const std::size_t xs = shape.inner_strides().x, ys = shape.inner_strides().y;
  detail::for_each_run(shape, [=](std::size_t xo, std::size_t yo, std::size_t zo) {
    detail::for_each_batch<T>(0, inner, [=](auto lanes, std::size_t i) {
      lanes.store(z + zo + i, f(detail::load_strided(lanes, x + xo, i, xs),
                                detail::load_strided(lanes, y + yo, i, ys)));
    });
  });
}

template <class F, class T>
void binary_tangent(Cpu, F f, const Broadcast& shape, const T* x, const T* dx, const T* y,
                    const T* dy, T* dz) {
  using D = Dual<xsimd::batch<T>>;
  const std::size_t inner = shape.inner();
  const std::size_t xs = shape.inner_strides().x, ys = shape.inner_strides().y;
  detail::for_each_run(shape, [=](std::size_t xo, std::size_t yo, std::size_t zo) {
    detail::for_each_batch<T>(0, inner, [=](auto lanes, std::size_t i) {
      const D a(detail::load_strided(lanes, x + xo, i, xs),
                detail::load_strided(lanes, dx + xo, i, xs));
      const D b(detail::load_strided(lanes, y + yo, i, ys),
                detail::load_strided(lanes, dy + yo, i, ys));
      lanes.store(dz + zo + i, f(a, b).tangent);
    });
  });
}

template <class F, class T>
void binary_backward(Cpu, F f, const Broadcast& shape, const T* x, const T* y, const T* g, T* gx,
                     T* gy) {
  using Batch = xsimd::batch<T>;
  using D = Dual<Batch>;
  const std::size_t inner = shape.inner();
  const std::size_t xs = shape.inner_strides().x, ys = shape.inner_strides().y;
  // Runs that share an operand add to the same place, so this loop stays on one thread.
  for (std::size_t o = 0; o < shape.outer(); ++o) {
    const auto at = shape.offsets(o);
    const T* upstream = g + o * inner;
    Batch x_sum(T(0)), y_sum(T(0));
    detail::for_each_batch<T>(0, inner, [&](auto lanes, std::size_t i) {
      const Batch p = detail::load_strided(lanes, x + at.x, i, xs);
      const Batch q = detail::load_strided(lanes, y + at.y, i, ys);
      const Batch up = lanes.load(upstream + i);
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
      if (gx) keep(gx + at.x, xs, x_sum, up * f(D(p, Batch(T(1))), D(q, Batch(T(0)))).tangent);
      if (gy) keep(gy + at.y, ys, y_sum, up * f(D(p, Batch(T(0))), D(q, Batch(T(1)))).tangent);
    });
    if (gx && xs == 0) gx[at.x] += xsimd::hadd(x_sum);
    if (gy && ys == 0) gy[at.y] += xsimd::hadd(y_sum);
  }
}

}  // namespace meanflow::kernels
