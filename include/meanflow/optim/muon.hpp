// SPDX-License-Identifier: MIT
/// \file
/// Muon: orthogonalised steps for matrices.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>

#include <meanflow/error.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/optim/adam.hpp>
#include <meanflow/optim/optimizer.hpp>

namespace meanflow {

namespace detail {

/// m = momentum m + scale g, and x = m, or scale g + momentum m by Nesterov.
template <class Numbers, class T>
struct MuonMomentum {
  using value_type = T;
  const Numbers* numbers;
  const double* squared_norm;
  double clip_norm;
  bool nesterov;
  const T* gradient;
  T *momentum, *x;

  struct Elements {
    T scale, beta, of_gradient, of_momentum;
    bool updates;
    const T* gradient;
    T *momentum, *x;

    template <class At>
    MEANFLOW_HOST_DEVICE void operator()(At at) const {
      using V = decltype(at.load(gradient));
      const V g = scale * at.load(gradient);
      const V old = at.load(momentum);
      const V m = fused(V(beta), old, g);
      at.store(x, fused(V(of_momentum), m, of_gradient * g));
      at.store(momentum, updates ? m : old);
    }
  };
  MEANFLOW_HOST_DEVICE Elements operator()(std::size_t /*row*/) const {
    const T beta = numbers->momentum;
    return {static_cast<T>(clip_factor(clip_norm, *squared_norm)),
            beta,
            nesterov ? T(1) : T(0),
            nesterov ? beta : T(1),
            is_finite(*squared_norm),
            gradient,
            momentum,
            x};
  }
};

/// x /= |x| + 1e-7
template <class T>
struct Normalize {
  using value_type = T;
  const double* squared_norm;
  T* x;

  struct Elements {
    T scale;
    T* x;
    template <class At>
    MEANFLOW_HOST_DEVICE void operator()(At at) const {
      at.store(x, scale * at.load(x));
    }
  };
  MEANFLOW_HOST_DEVICE Elements operator()(std::size_t /*row*/) const {
    using std::sqrt;
    return {static_cast<T>(1 / (sqrt(*squared_norm) + 1e-7)), x};
  }
};

/// y = a x + b y
template <class T>
struct Combine {
  using value_type = T;
  T a, b;
  const T* x;
  T* y;

  template <class At>
  MEANFLOW_HOST_DEVICE void operator()(At at) const {
    using V = decltype(at.load(x));
    at.store(y, fused(V(a), at.load(x), b * at.load(y)));
  }
};

/// p = decay p - rate * scale x
template <class Numbers, class T>
struct MuonStep {
  using value_type = T;
  const Numbers* numbers;
  const double* squared_norm;
  T scale;
  const T* x;
  T* parameters;

  struct Elements {
    T decay, rate;
    bool updates;
    const T* x;
    T* parameters;
    template <class At>
    MEANFLOW_HOST_DEVICE void operator()(At at) const {
      const auto p = at.load(parameters);
      if (updates) at.store(parameters, p * decay - rate * at.load(x));
    }
  };
  MEANFLOW_HOST_DEVICE Elements operator()(std::size_t /*row*/) const {
    return {numbers->decay, numbers->rate * scale, is_finite(*squared_norm), x, parameters};
  }
};

/// x (m, n) becomes nearly U V^T of its singular value decomposition U S V^T: five steps of Newton
/// and Schulz's iteration with Jordan's coefficients, X <- a X + (b A + c A^2) X, A = X X^T, after
/// which the singular values lie between about 0.7 and 1.2.
template <class T, class Device>
void orthogonalize(std::size_t m, std::size_t n, Tensor<T, Device>& x) {
  constexpr double a = 3.4445, b = -4.7750, c = 2.0315;
  const bool tall = m > n;  // A is then X^T X, which is smaller
  const std::size_t k = std::min(m, n);
  Tensor<double, Device> squared({1});
  squared_norm(Device{}, m * n, x.data(), squared.data());
  for_each_in_rows(Device{}, 1, m * n, Normalize<T>{squared.data(), x.data()});
  Tensor<T, Device> gram({k, k}), poly({k, k}), next({m, n});
  const auto product = [](bool ta, bool tb, std::size_t rows, std::size_t columns,
                          std::size_t inner, const T* left, const T* right, T* result) {
    gemm(Device{}, ta ? Transpose::yes : Transpose::no, tb ? Transpose::yes : Transpose::no, rows,
         columns, inner, left, right, T(0), result);
  };
  for (int step = 0; step < 5; ++step) {
    product(tall, !tall, k, k, std::max(m, n), x.data(), x.data(), gram.data());
    product(false, false, k, k, k, gram.data(), gram.data(), poly.data());
    for_each(Device{}, k * k, Combine<T>{T(b), T(c), gram.data(), poly.data()});
    if (tall)
      product(false, false, m, n, n, x.data(), poly.data(), next.data());
    else
      product(false, false, m, n, m, poly.data(), x.data(), next.data());
    for_each(Device{}, m * n, Combine<T>{T(a), T(1), x.data(), next.data()});
    std::swap(x, next);
  }
}

}  // namespace detail

/// Muon (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024): a matrix
/// steps along its momentum made orthogonal, 0.2 sqrt(max(rows, columns)) as long, which is about
/// as far as AdamW goes (Liu et al., arXiv 2502.16982), so that AdamW's rates work. Weights of
/// convolutions are matrices (out, in * k * k); parameters of one axis are left to `rest`.
struct Muon {
  double momentum = 0.95;
  double weight_decay = 0;  ///< decoupled
  bool nesterov = true;
  Adam rest{};

  static constexpr std::array state{"first", "second"};  ///< momentum of matrices is in the first
  static constexpr void fields(auto f, auto&... o) {
    f("momentum", o.momentum...);
    f("weight_decay", o.weight_decay...);
    f("nesterov", o.nesterov...);
    f("rest", o.rest...);
  }

  /// Throws SettingError if a number is out of range.
  void check() const {
    if (!(momentum >= 0 && momentum < 1))
      throw SettingError("Muon: momentum is " + std::to_string(momentum) +
                         ", but must be in [0, 1)");
    if (!(weight_decay >= 0))
      throw SettingError("Muon: weight_decay is " + std::to_string(weight_decay) +
                         ", but must be at least 0");
    rest.check();
  }

  template <class T>
  struct Numbers {
    T momentum, rate, decay;
    Adam::Numbers<T> rest;
  };

  template <class T>
  [[nodiscard]] Numbers<T> numbers(const StepRates& rates) const {
    return {.momentum = T(momentum),
            .rate = T(rates.learning_rate),
            .decay = T(1 - rates.learning_rate * weight_decay * rates.decay_scale),
            .rest = rest.numbers<T>(rates)};
  }

  template <class T, class Device>
  void update_all(const UpdateWork<Muon, T, Device>& work) const {
    const auto& entries = work.parameters.entries();
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const Numbers<T>* numbers = work.numbers + work.groups[i];
      if (work.frozen[work.groups[i]]) continue;
      if (is_vector(entries[i]))
        update_elements<Adam>(entries[i].offset, entries[i].shape.size(), work.gradient,
                              &numbers->rest, nullptr, work.state, work.parameters.values().data());
      else
        update_matrix(entries[i], numbers, work);
    }
  }

 private:
  template <class T, class Device>
  void update_matrix(const ParameterEntry& entry, const Numbers<T>* numbers,
                     const UpdateWork<Muon, T, Device>& work) const {
    const std::size_t m = entry.shape.rows(), n = entry.shape.row_size();
    const double* norm = work.gradient.squared_norm;
    Tensor<T, Device> x({m, n});
    for_each_in_rows(
        Device{}, 1, m * n,
        detail::MuonMomentum<Numbers<T>, T>{numbers, norm, work.gradient.clip_norm, nesterov,
                                            work.gradient.values + entry.offset,
                                            work.state[0].data() + entry.offset, x.data()});
    detail::orthogonalize(m, n, x);
    const double length = 0.2 * std::sqrt(static_cast<double>(std::max(m, n)));
    for_each_in_rows(
        Device{}, 1, m * n,
        detail::MuonStep<Numbers<T>, T>{numbers, norm, static_cast<T>(length), x.data(),
                                        work.parameters.values().data() + entry.offset});
  }
};

}  // namespace meanflow
