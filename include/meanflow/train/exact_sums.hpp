// SPDX-License-Identifier: MIT
/// \file
/// Sums that do not depend on the order of their terms.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

#include <meanflow/kernels/cpu.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow::detail {

/// Sums of n numbers each, in any order and over any number of processes with the same bits: every
/// term is cut into a multiple of 2^-20 and one of 2^-60, and sums of up to 2^14 of either are
/// exact in double. What a term has beyond 2^-60 is dropped; one that is not finite, or not less
/// than 2^19, makes its sum NaN.
class ExactSums {
 public:
  ExactSums() = default;
  explicit ExactSums(std::size_t n) : n_(n), parts_(Tensor<double>::zeros({2 * n})) {}

  [[nodiscard]] std::size_t size() const { return n_; }

  /// Adds one term to each sum, and sets the terms to 0.
  template <class T>
  void take(std::span<T> terms) {
    double* const high = parts_.data();
    double* const low = high + n_;
    kernels::parallel_for(Cpu{}, n_, grain, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) {
        add(static_cast<double>(terms[i]), high[i], low[i]);
        terms[i] = T(0);
      }
    });
  }
  /// Adds a term to one of the sums.
  void add(std::size_t i, double term) { add(term, parts_[i], parts_[n_ + i]); }

  /// Adds other sums, and sets these to 0.
  void take(ExactSums& other) {
    kernels::parallel_for(Cpu{}, 2 * n_, grain, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) {
        parts_[i] += other.parts_[i];
        other.parts_[i] = 0;
      }
    });
  }

  /// What processes add up.
  [[nodiscard]] std::span<double> parts() { return parts_.span(); }

  /// Writes the sums, and sets them to 0.
  template <class T>
  void give(std::span<T> sums) {
    double* const high = parts_.data();
    double* const low = high + n_;
    kernels::parallel_for(Cpu{}, n_, grain, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) {
        sums[i] = static_cast<T>(high[i] + low[i]);
        high[i] = low[i] = 0;
      }
    });
  }

 private:
  static constexpr std::size_t grain = 1 << 14;

  static void add(double term, double& high, double& low) {
    // x + c - c is x rounded to a multiple of c's last bit.
    constexpr double to_high = 0x1.8p32, to_low = 0x1.8p-8, limit = 0x1p19;
    const double fits = std::abs(term) < limit ? term : std::numeric_limits<double>::quiet_NaN();
    const double multiple = fits + to_high - to_high;
    high += multiple;
    low += (fits - multiple) + to_low - to_low;
  }

  std::size_t n_ = 0;
  Tensor<double> parts_;
};

}  // namespace meanflow::detail
