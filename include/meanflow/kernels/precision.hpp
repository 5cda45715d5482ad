// SPDX-License-Identifier: MIT
/// \file
/// The number formats that large convolutions and products are computed in.
#pragma once

#include <meanflow/tensor/device.hpp>

namespace meanflow {

/// float32: as everything else. tf32: products of numbers rounded to 11 significant bits, on GPUs
/// alone. bfloat16: what goes into convolutions and products is rounded to 8
/// significant bits, sums are kept in float32; values, tangents, gradients and weights between them
/// stay float32. Convolutions take half the time where the processor has instructions for it
/// (AVX-512 BF16, AMX), and it is enough for training (Kalamkar et al., arXiv 1905.12322).
enum class Precision { float32, bfloat16, tf32 };

namespace kernels {

namespace detail {

inline thread_local Precision precision = Precision::float32;

/// While in scope, the calling thread computes in `precision`, which the device is known to have.
class SamePrecision {
 public:
  explicit SamePrecision(Precision precision) : saved_(detail::precision) {
    detail::precision = precision;
  }
  SamePrecision(const SamePrecision&) = delete;
  SamePrecision& operator=(const SamePrecision&) = delete;
  ~SamePrecision() { detail::precision = saved_; }

 private:
  Precision saved_;
};

}  // namespace detail

/// What the calling thread computes in.
[[nodiscard]] inline Precision precision() { return detail::precision; }

/// While in scope, the calling thread computes in `wanted`, and so do the threads that kernels
/// start for it. Throws SettingError if the device cannot.
class AutocastScope {
 public:
  template <class Device = Cpu>
  explicit AutocastScope(Precision wanted, Device device = {})
      : precision_((check_precision(device, wanted), wanted)) {}

 private:
  detail::SamePrecision precision_;
};

}  // namespace kernels

using kernels::AutocastScope;

}  // namespace meanflow
