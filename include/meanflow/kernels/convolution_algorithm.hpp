// SPDX-License-Identifier: MIT
/// \file
/// How the processor computes convolutions of floats.
#pragma once

namespace meanflow {

/// automatic: 3 x 3 with stride 1 by Winograd's F(4 x 4, 3 x 3) from 32 channels on, which takes a
/// quarter of the multiplications and rounds about twice as much (docs/kernels.md);
/// everything else, and everything in bfloat16 and in double, by its definition. direct: always by
/// its definition.
enum class ConvolutionAlgorithm { automatic, direct };

namespace kernels {

namespace detail {

inline thread_local ConvolutionAlgorithm convolution_algorithm = ConvolutionAlgorithm::automatic;

}  // namespace detail

/// What the calling thread computes convolutions by.
[[nodiscard]] inline ConvolutionAlgorithm convolution_algorithm() {
  return detail::convolution_algorithm;
}

/// While in scope, the calling thread computes convolutions by `wanted`, and so do the threads that
/// kernels start for it.
class ConvolutionScope {
 public:
  explicit ConvolutionScope(ConvolutionAlgorithm wanted) : saved_(detail::convolution_algorithm) {
    detail::convolution_algorithm = wanted;
  }
  ConvolutionScope(const ConvolutionScope&) = delete;
  ConvolutionScope& operator=(const ConvolutionScope&) = delete;
  ~ConvolutionScope() { detail::convolution_algorithm = saved_; }

 private:
  ConvolutionAlgorithm saved_;
};

}  // namespace kernels

using kernels::ConvolutionScope;

}  // namespace meanflow
