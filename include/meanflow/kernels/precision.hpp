// SPDX-License-Identifier: MIT
/// \file
/// In which numbers large convolutions and products are computed.
#pragma once

namespace meanflow {

/// float32: as everything else. bfloat16: what goes into convolutions and products is rounded to 8
/// significant bits, sums are kept in float32; values, tangents, gradients and weights between them
/// stay float32. About twice as fast where the processor has instructions for it (AVX-512 BF16,
/// AMX), and enough for training (Kalamkar et al., arXiv 1905.12322).
enum class Precision { float32, bfloat16 };

namespace kernels {

namespace detail {

inline thread_local Precision precision = Precision::float32;

}  // namespace detail

/// What the calling thread computes in.
[[nodiscard]] inline Precision precision() { return detail::precision; }

/// While in scope, the calling thread computes in `precision`, and so do the threads that kernels
/// start for it.
class ComputeIn {
 public:
  explicit ComputeIn(Precision precision) : saved_(detail::precision) {
    detail::precision = precision;
  }
  ComputeIn(const ComputeIn&) = delete;
  ComputeIn& operator=(const ComputeIn&) = delete;
  ~ComputeIn() { detail::precision = saved_; }

 private:
  Precision saved_;
};

}  // namespace kernels

using kernels::ComputeIn;

}  // namespace meanflow
