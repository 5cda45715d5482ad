// SPDX-License-Identifier: MIT
/// \file
/// What changes from one training step to the next, as it is laid where a device can read it: work
/// that has been recorded reads it anew whenever it is replayed.
#pragma once

#include <cmath>
#include <cstdint>

#include <meanflow/config.hpp>
#include <meanflow/kernels/reference.hpp>

namespace meanflow::kernels {

/// `AdamCoefficients` as an update multiplies by them.
template <class T>
struct AdamNumbers {
  T scale, l2, beta1, rest1, beta2, rest2, root, epsilon, decay, rate;

  AdamNumbers() = default;
  explicit AdamNumbers(const AdamCoefficients& c)
      : scale(T(c.gradient_scale)),
        l2(T(c.l2)),
        beta1(T(c.beta1)),
        rest1(T(1 - c.beta1)),
        beta2(T(c.beta2)),
        rest2(T(1 - c.beta2)),
        root(T(1 / std::sqrt(c.correction2))),
        epsilon(T(c.epsilon)),
        decay(T(1 - c.learning_rate * c.weight_decay)),
        rate(T(c.learning_rate / c.correction1)) {}

  /// One parameter, its moments, and its gradient, which has been scaled.
  MEANFLOW_HOST_DEVICE void update(T scaled_gradient, T& m, T& v, T& p) const {
    using std::sqrt;
    const T gradient = scaled_gradient + l2 * p;
    m = beta1 * m + rest1 * gradient;
    v = beta2 * v + rest2 * gradient * gradient;
    p = p * decay - rate * m / (sqrt(v) * root + epsilon);
  }
};

template <class T>
struct StepNumbers {
  std::uint64_t step;
  std::uint64_t jump_end;  ///< rows of the batch of all processes from here on have r = t
  AdamNumbers<T> adam;
};

}  // namespace meanflow::kernels
