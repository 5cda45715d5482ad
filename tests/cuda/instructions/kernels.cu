// SPDX-License-Identifier: MIT
// The device's own kernels that take most of a training step's time, compiled and never run:
// count.py looks at the machine code that comes of it.
#include <meanflow/kernels/cuda/attention.hpp>
#include <meanflow/kernels/cuda/broadcast.hpp>
#include <meanflow/kernels/cuda/conv.hpp>
#include <meanflow/kernels/cuda/dropout.hpp>
#include <meanflow/kernels/cuda/norm.hpp>
#include <meanflow/kernels/cuda/reductions.hpp>
#include <meanflow/kernels/cuda/rope.hpp>
#include <meanflow/kernels/cuda/row_norm.hpp>
#include <meanflow/kernels/gate.hpp>
#include <meanflow/kernels/residual.hpp>
#include <meanflow/optim/adam.hpp>
#include <meanflow/optim/update.hpp>
#include <meanflow/scalar/functors.hpp>

namespace {

using namespace meanflow;
using namespace meanflow::kernels;

constexpr Cuda device;

[[maybe_unused]] void elements(std::size_t n, const Broadcast& shape, float* x, float* y,
                               float* z) {
  accumulate(device, n, x, y);
  multiply(device, n, x, y, z);
  affine(device, n, n, 2.0F, 1.0F, x, y);
  fill(device, n, 1.0F, x);
  unary(device, Silu{}, n, n, x, y, z);
  bias_unary(device, Identity{}, n, n, n, x, y, z);
  bias_unary(device, Silu{}, n, n, n, x, y, z);
  bias_unary_backward(device, n, n, x, y, z);
  copy_columns(device, n, n, x, n, y, n, false);
  scaled_sum(device, n, n, n, 0.5F, x, y, z, x);
  scaled_sum_backward(device, n, n, 0.5F, x, y, z);
  kernels::binary(device, Add{}, shape, x, y, z);
  kernels::binary(device, Multiply{}, shape, x, y, z);
  binary_tangent(device, Multiply{}, shape, x, x, y, y, z);
  binary_backward(device, Multiply{}, shape, x, y, z, x, y);
  add_gated(device, {n, n, n}, n, x, y, z, x, y);
}

[[maybe_unused]] void rows(std::size_t n, const NormShape& norm, const GroupedRows& groups,
                           float* x, float* y, float* z, double* square) {
  kernels::group_norm(device, Silu{}, norm, n, 1e-5F, x, NormTerms<float>{x, y}, y, z, x);
  kernels::group_norm_backward(device, Silu{}, norm, x, NormTerms<float>{x, y}, y, z, x, y, z, x, y,
                               z);
  row_norm(device, Centred::yes, groups, n, 1e-5F, x, y, z, y, z, x, y, z);
  row_norm_backward(device, Centred::yes, groups, x, y, z, x, y, z, x, y);
  resample(device, Resampling::up, n, n, n, n, n, x, y, z);
  softmax(device, n, n, x, y);
  softmax_jacobian(device, n, n, x, y, z);
  squared_norm(device, n, x, square);
}

[[maybe_unused]] void tokens(std::size_t n, const kernels::cuda::TokenCopy& heads,
                             const std::uint64_t* draws, float* x, float* y, float* z, float* w) {
  dropout(device, n, n, n, 0.5, n, draws, draws, 0, x, y);
  rope(device, n, n, n, n, 1.0F, x, y, z, w);
  heads.pack(n, n, x, y);
  heads.unpack(n, n, x, y);
  for_each_in_rows(device, n, n, kernels::cuda::AttentionWeights<float>{1.0F, x, y});
}

[[maybe_unused]] void parameters(std::size_t n, const ConvShape& shape, float* x, float* y,
                                 double* square, const Adam::Numbers<float>* numbers,
                                 std::span<Tensor<float, Cuda>> state) {
  update_elements<Adam, float, Cuda>(0, n, {x, square, 1.0}, numbers, nullptr, state, y, 0, state,
                                     x);
  kernels::cuda::channels_last(shape, x, y);
  kernels::cuda::add_channels_first(shape, x, y);
}

}  // namespace
