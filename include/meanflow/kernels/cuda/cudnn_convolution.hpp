// SPDX-License-Identifier: MIT
/// \file
/// Plans of convolutions by cuDNN's older functions, channels last: where its graph interface
/// (`cudnn_graph.hpp`) has none.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <meanflow/kernels/conv_shape.hpp>
#include <meanflow/kernels/cuda/context.hpp>
#include <meanflow/kernels/cuda/convolution_plan.hpp>
#include <meanflow/kernels/cuda/memory.hpp>
#include <meanflow/kernels/precision.hpp>

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA

namespace meanflow::kernels::cuda {

/// A descriptor of cuDNN, for as long as its owner lives.
template <class Handle, cudnnStatus_t (*create)(Handle*), cudnnStatus_t (*destroy)(Handle)>
class Descriptor {
 public:
  Descriptor() { check(create(&handle_), "creating a descriptor"); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { static_cast<void>(destroy(handle_)); }
  operator Handle() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};

/// A convolution in one of its three directions: descriptors, and the algorithms of cuDNN that can
/// do it.
class Convolution final : public ConvolutionPlan {
 public:
  /// nullptr if cuDNN has no algorithm for it.
  [[nodiscard]] static std::shared_ptr<const ConvolutionPlan> plan(const ConvolutionKey& key) {
    auto plan = std::make_shared<Convolution>(key);
    return plan->describe() && plan->rank() ? plan : nullptr;
  }

  explicit Convolution(const ConvolutionKey& key) : key_(key) {}

  [[nodiscard]] bool run(void* x, void* y, void* weights) const override {
    for (; best_ < algorithms_.size(); ++best_)
      if (run(algorithms_[best_], x, y, weights)) return true;
    return false;
  }

 private:
  /// False for what cuDNN does not support; what fails otherwise is an error.
  [[nodiscard]] bool works(cudnnStatus_t status) const {
    if (status == CUDNN_STATUS_SUCCESS) return true;
#ifdef CUDNN_STATUS_CATEGORY  // of cuDNN 9: a reason for each kind of what is not supported
    if (CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED) return false;
#else
    if (status == CUDNN_STATUS_NOT_SUPPORTED) return false;
#endif
    check(status, to_string(key_));
    return false;
  }

  [[nodiscard]] bool describe() {
    const auto extent = [](std::size_t value) { return static_cast<int>(value); };
    const ConvShape& s = key_.shape;
    const cudnnDataType_t type =
        key_.precision == Precision::bfloat16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    const int down = extent(s.padding.height), right = extent(s.padding.width);
    const int stride = extent(s.stride);
    // DEFAULT lets float32 be rounded to TF32, FMA does not.
    const cudnnMathType_t math = key_.precision == Precision::float32 ? CUDNN_FMA_MATH
                                 : key_.precision == Precision::tf32  ? CUDNN_DEFAULT_MATH
                                                                      : CUDNN_TENSOR_OP_MATH;
    return works(cudnnSetTensor4dDescriptor(x_, CUDNN_TENSOR_NHWC, type, extent(s.rows),
                                            extent(s.in), extent(s.height), extent(s.width))) &&
           works(cudnnSetTensor4dDescriptor(y_, CUDNN_TENSOR_NHWC, type, extent(s.rows),
                                            extent(s.out), extent(s.out_height()),
                                            extent(s.out_width()))) &&
           works(cudnnSetFilter4dDescriptor(weights_, type, CUDNN_TENSOR_NHWC, extent(s.out),
                                            extent(s.in), extent(s.kernel.height),
                                            extent(s.kernel.width))) &&
           works(cudnnSetConvolution2dDescriptor(convolution_, down, right, stride, stride, 1, 1,
                                                 CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT)) &&
           works(cudnnSetConvolutionMathType(convolution_, math));
  }

  /// One of cuDNN's algorithms, by its number in the direction's own enumeration.
  struct Algorithm {
    int number;
    cudnnMathType_t math;
    std::size_t bytes;  ///< of workspace
  };

  [[nodiscard]] bool run(const Algorithm& one, void* x, void* y, void* weights) const {
    const float unit = 1, zero = 0;
    const Scratch<std::byte> workspace(one.bytes);
    const cudnnHandle_t dnn = context().dnn;
    if (!works(cudnnSetConvolutionMathType(convolution_, one.math))) return false;
    switch (key_.direction) {
      case Direction::forward:
        return works(cudnnConvolutionForward(dnn, &unit, x_, x, weights_, weights, convolution_,
                                             static_cast<cudnnConvolutionFwdAlgo_t>(one.number),
                                             workspace.data(), one.bytes, &zero, y_, y));
      case Direction::backward_data:
        return works(
            cudnnConvolutionBackwardData(dnn, &unit, weights_, weights, y_, y, convolution_,
                                         static_cast<cudnnConvolutionBwdDataAlgo_t>(one.number),
                                         workspace.data(), one.bytes, &zero, x_, x));
      case Direction::backward_weights:
        return works(
            cudnnConvolutionBackwardFilter(dnn, &unit, x_, x, y_, y, convolution_,
                                           static_cast<cudnnConvolutionBwdFilterAlgo_t>(one.number),
                                           workspace.data(), one.bytes, &zero, weights_, weights));
    }
    return false;
  }

  [[nodiscard]] bool rank() {
    const cudnnHandle_t dnn = context().dnn;
    if (key_.direction == Direction::forward)
      return rank<cudnnConvolutionFwdAlgoPerf_t>(
          [&](int most, int* found, auto* ranked) {
            return cudnnGetConvolutionForwardAlgorithm_v7(dnn, x_, weights_, convolution_, y_, most,
                                                          found, ranked);
          },
          [&](auto algorithm, std::size_t* bytes) {
            return cudnnGetConvolutionForwardWorkspaceSize(dnn, x_, weights_, convolution_, y_,
                                                           algorithm, bytes);
          });
    if (key_.direction == Direction::backward_data)
      return rank<cudnnConvolutionBwdDataAlgoPerf_t>(
          [&](int most, int* found, auto* ranked) {
            return cudnnGetConvolutionBackwardDataAlgorithm_v7(dnn, weights_, y_, convolution_, x_,
                                                               most, found, ranked);
          },
          [&](auto algorithm, std::size_t* bytes) {
            return cudnnGetConvolutionBackwardDataWorkspaceSize(dnn, weights_, y_, convolution_, x_,
                                                                algorithm, bytes);
          });
    return rank<cudnnConvolutionBwdFilterAlgoPerf_t>(
        [&](int most, int* found, auto* ranked) {
          return cudnnGetConvolutionBackwardFilterAlgorithm_v7(dnn, x_, y_, convolution_, weights_,
                                                               most, found, ranked);
        },
        [&](auto algorithm, std::size_t* bytes) {
          return cudnnGetConvolutionBackwardFilterWorkspaceSize(dnn, x_, y_, convolution_, weights_,
                                                                algorithm, bytes);
        });
  }

  /// Keeps the algorithms that can do it, which not all can with channels last, the fastest first;
  /// those that add in the same order every time come before the others.
  template <class Ranked, class Rank, class AskBytes>
  [[nodiscard]] bool rank(Rank rank, AskBytes ask_bytes) {
    std::array<Ranked, 8> ranked{};
    int found = 0;
    if (!works(rank(static_cast<int>(ranked.size()), &found, ranked.data()))) return false;
    const auto all = std::span(ranked).first(static_cast<std::size_t>(found));
    for (const bool repeatable : {true, false})
      for (const Ranked& one : all) {
        if (one.status != CUDNN_STATUS_SUCCESS) continue;
        if (repeatable != (one.determinism == CUDNN_DETERMINISTIC)) continue;
        // What was ranked with rounding is asked for without where float32 is to be float32.
        const cudnnMathType_t math =
            key_.precision == Precision::float32 ? CUDNN_FMA_MATH : one.mathType;
        if (!works(cudnnSetConvolutionMathType(convolution_, math))) continue;
        std::size_t bytes = 0;
        if (ask_bytes(one.algo, &bytes) != CUDNN_STATUS_SUCCESS) continue;
        algorithms_.push_back({static_cast<int>(one.algo), math, bytes});
      }
    return !algorithms_.empty();
  }

  ConvolutionKey key_;
  Descriptor<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor> x_,
      y_;
  Descriptor<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor>
      weights_;
  Descriptor<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor,
             cudnnDestroyConvolutionDescriptor>
      convolution_;
  std::vector<Algorithm> algorithms_;
  mutable std::size_t best_ = 0;  // those before have failed
};

}  // namespace meanflow::kernels::cuda

#endif
