// SPDX-License-Identifier: MIT
/// \file
/// Points between data and noise.
#pragma once

#include <meanflow/flow/path_schedule.hpp>
#include <meanflow/kernels/reference/shapes.hpp>
#include <meanflow/scalar/dual.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

namespace detail {

/// z = alpha(t) x + sigma(t) e and v = alpha'(t) x + sigma'(t) e of every row.
template <class Path, class T>
struct Interpolation {
  using value_type = T;
  Path path;
  const T *t, *x, *e;
  T *z, *v;

  struct Row {
    Dual<T> alpha, sigma;
    const T *x, *e;
    T *z, *v;

    template <class At>
    MEANFLOW_HOST_DEVICE void operator()(At at) const {
      const auto data = at.load(x), noise = at.load(e);
      at.store(z, alpha.primal * data + sigma.primal * noise);
      at.store(v, alpha.tangent * data + sigma.tangent * noise);
    }
  };
  MEANFLOW_HOST_DEVICE Row operator()(std::size_t row) const {
    const Dual<T> time(t[row], T(1));
    return {path.alpha(time), path.sigma(time), x, e, z, v};
  }
};

}  // namespace detail

/// Writes z = alpha(t) x + sigma(t) e and v = alpha'(t) x + sigma'(t) e; x, e, z, v (B, ...),
/// t (B, 1).
template <PathSchedule Path, class T, class Device>
void interpolate(const Path& path, const Tensor<T, Device>& t, const Tensor<T, Device>& x,
                 const Tensor<T, Device>& e, Tensor<T, Device>& z, Tensor<T, Device>& v) {
  for_each_in_rows(
      Device{}, x.rows(), x.row_size(),
      detail::Interpolation<Path, T>{path, t.data(), x.data(), e.data(), z.data(), v.data()});
}

}  // namespace meanflow
