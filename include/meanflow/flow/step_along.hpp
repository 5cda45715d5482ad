// SPDX-License-Identifier: MIT
/// \file
/// A step along a velocity, in place.
#pragma once

#include <meanflow/kernels/element.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow::detail {

/// z -= scale u
template <class T>
struct StepAlong {
  using value_type = T;
  T scale;
  const T* u;
  T* z;

  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(At at) const {
    at.store(z, at.load(z) - scale * at.load(u));
  }
};

template <class T, class Device>
void step_along(Tensor<T, Device>& z, double by, const Tensor<T, Device>& u) {
  if (u.size() != z.size())
    throw_shape_error("sample", u.shape(), z.shape(), "the net must give the shape of z");
  for_each(Device{}, z.size(), StepAlong<T>{static_cast<T>(by), u.data(), z.data()});
}

}  // namespace meanflow::detail
