// SPDX-License-Identifier: MIT
/// \file
/// Convolutions by cuDNN, channels last, and resampling. `kernels/reference_conv.hpp` says what
/// each computes.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <meanflow/kernels/conv_shape.hpp>
#include <meanflow/kernels/cuda/elementwise.hpp>
#include <meanflow/kernels/cuda/graph.hpp>
#include <meanflow/kernels/cuda/plan_cache.hpp>
#include <meanflow/kernels/cuda/product.hpp>
#include <meanflow/kernels/reference_conv.hpp>
#include <meanflow/kernels/warnings.hpp>

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
#include <cuda_bf16.h>
#endif

namespace meanflow::kernels {

namespace cuda {

[[nodiscard]] inline std::size_t input_size(const ConvShape& s) {
  return s.rows * s.height * s.width * s.in;
}
[[nodiscard]] inline std::size_t output_size(const ConvShape& s) {
  return s.rows * s.out_height() * s.out_width() * s.out;
}

// --------------------------------------------------------------- by products of patches

// `forward`, `backward_data` and `backward_weights` of any type; cuDNN has better ones of float.

/// The element of a patch number `column` (in, k, k) that an output pixel sees: whether it is
/// within the image, and where.
struct PatchElement {
  bool inside;
  std::size_t place;
};

[[nodiscard]] MEANFLOW_HOST_DEVICE inline PatchElement patch_element(const ConvShape& s,
                                                                     std::size_t out_width,
                                                                     std::size_t pixel,
                                                                     std::size_t column) {
  const std::size_t kx = column % s.kernel, ky = column / s.kernel % s.kernel;
  const std::size_t channel = column / (s.kernel * s.kernel);
  const std::size_t y = pixel / out_width * s.stride + ky, x = pixel % out_width * s.stride + kx;
  const bool inside =
      y >= s.padding && y < s.height + s.padding && x >= s.padding && x < s.width + s.padding;
  return {inside, inside ? ((y - s.padding) * s.width + x - s.padding) * s.in + channel : 0};
}

/// An image's patches, (pixels, in k k): a row times w (out, in, k, k) is a pixel of the result.
template <class T>
void patches(const ConvShape& s, const T* image, T* rows) {
  const std::size_t size = s.in * s.kernel * s.kernel, width = s.out_width();
  for_each_index(s.out_height() * width * size, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const PatchElement from = patch_element(s, width, i / size, i % size);
    rows[i] = from.inside ? image[from.place] : T(0);
  });
}

/// The adjoint of `patches`: each element of the image sums what the patches hold of it.
template <class T>
void sum_patches(const ConvShape& s, const T* rows, T* image) {
  const std::size_t size = s.in * s.kernel * s.kernel;
  const std::size_t height = s.out_height(), width = s.out_width();
  for_each_index(s.height * s.width * s.in, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const std::size_t channel = i % s.in, x = i / s.in % s.width, y = i / (s.in * s.width);
    T sum(0);
    for (std::size_t ky = 0; ky < s.kernel; ++ky)
      for (std::size_t kx = 0; kx < s.kernel; ++kx) {
        if (y + s.padding < ky || x + s.padding < kx) continue;
        const std::size_t down = y + s.padding - ky, right = x + s.padding - kx;
        if (down % s.stride != 0 || right % s.stride != 0) continue;
        if (down / s.stride >= height || right / s.stride >= width) continue;
        const std::size_t pixel = down / s.stride * width + right / s.stride;
        sum += rows[pixel * size + (channel * s.kernel + ky) * s.kernel + kx];
      }
    image[i] = sum;
  });
}

/// f(patches' memory, input image, output image) for every row; x and y as the direction has them.
/// Counts as a call of cuDNN, which has the weights reordered for it.
template <class T, class X, class Y, class F>
void for_each_image(const ConvShape& s, X* x, Y* y, F f) {
  const std::size_t pixels = s.out_height() * s.out_width();
  work().launch(s.out * s.in * s.kernel * s.kernel);
  const InPlaceOfOneCall call;
  const Scratch<T> rows(pixels * s.in * s.kernel * s.kernel);
  for (std::size_t r = 0; r < s.rows; ++r)
    f(rows.data(), x + r * s.height * s.width * s.in, y + r * pixels * s.out);
}

template <class T>
void forward(const ConvShape& s, const T* x, const T* w, T* y) {
  for_each_image<T>(s, x, y, [&](T* rows, const T* image, T* out) {
    patches(s, image, rows);
    gemm(Cuda{}, Transpose::no, Transpose::yes, s.out_height() * s.out_width(), s.out,
         s.in * s.kernel * s.kernel, static_cast<const T*>(rows), w, T(0), out);
  });
}

template <class T>
void backward_data(const ConvShape& s, const T* g, const T* w, T* gx) {
  for_each_image<T>(s, gx, g, [&](T* rows, T* image, const T* up) {
    gemm(Cuda{}, Transpose::no, Transpose::no, s.out_height() * s.out_width(),
         s.in * s.kernel * s.kernel, s.out, up, w, T(0), rows);
    sum_patches(s, static_cast<const T*>(rows), image);
  });
}

template <class T>
void backward_weights(const ConvShape& s, const T* x, const T* g, T* gw) {
  for_each_image<T>(s, x, g, [&](T* rows, const T* image, const T* up) {
    patches(s, image, rows);
    gemm(Cuda{}, Transpose::yes, Transpose::no, s.out, s.in * s.kernel * s.kernel,
         s.out_height() * s.out_width(), up, static_cast<const T*>(rows), T(1), gw);
  });
}

}  // namespace cuda

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA

// ----------------------------------------------------------------------------- by cuDNN

namespace cuda {

/// to = from, each number converted.
template <class From, class To>
void convert(std::size_t n, const From* from, To* to) {
  for_each_index(n, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    to[i] = static_cast<To>(static_cast<float>(from[i]));
  });
}

/// w (out, in, k, k), as PyTorch has it, to (out, k, k, in), as cuDNN wants it for images with
/// channels last.
template <class To>
void channels_last(const ConvShape& s, const float* w, To* packed) {
  const std::size_t in = s.in, taps = s.kernel * s.kernel;
  const Divisor by_in(in), by_taps(taps);
  for_each_index(s.out * taps * in, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const std::size_t c = i % by_in, tap = i / by_in % by_taps, o = i / by_in / by_taps;
    packed[i] = static_cast<To>(w[(o * in + c) * taps + tap]);
  });
}

/// w += the same, the other way round.
inline void add_channels_first(const ConvShape& s, const float* packed, float* w) {
  const std::size_t in = s.in, taps = s.kernel * s.kernel;
  const Divisor by_in(in), by_taps(taps);
  for_each_index(s.out * taps * in, [=] MEANFLOW_HOST_DEVICE(std::size_t i) {
    const std::size_t c = i % by_in, tap = i / by_in % by_taps, o = i / by_in / by_taps;
    w[(o * in + c) * taps + tap] += packed[i];
  });
}

/// A descriptor of cuDNN, for as long as its owner lives.
template <class Handle, cudnnStatus_t (*create)(Handle*), cudnnStatus_t (*destroy)(Handle)>
class Descriptor {
 public:
  Descriptor() { check(create(&handle_), "making a descriptor"); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { static_cast<void>(destroy(handle_)); }
  operator Handle() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};

enum class Direction { forward, backward_data, backward_weights };

/// What a convolution is planned for.
struct ConvolutionKey {
  ConvShape shape;
  Direction direction;
  Precision precision;

  friend bool operator==(const ConvolutionKey&, const ConvolutionKey&) = default;
};

[[nodiscard]] inline std::string to_string(const ConvolutionKey& key) {
  const auto n = [](std::size_t value) { return std::to_string(value); };
  const ConvShape& s = key.shape;
  return "the convolution of (" + n(s.rows) + ", " + n(s.height) + ", " + n(s.width) + ", " +
         n(s.in) + ") to " + n(s.out) + " channels" +
         (key.direction == Direction::forward         ? ""
          : key.direction == Direction::backward_data ? ", to its input"
                                                      : ", to its weights") +
         (key.precision == Precision::float32 ? " in float32"
          : key.precision == Precision::tf32  ? " in TF32"
                                              : " in bfloat16");
}

/// A convolution in one of its three directions: descriptors, and the algorithms of cuDNN that can
/// do it.
class Convolution {
 public:
  /// nullptr if cuDNN has no algorithm for it.
  [[nodiscard]] static std::shared_ptr<const Convolution> plan(const ConvolutionKey& key) {
    auto plan = std::make_shared<Convolution>(key);
    return plan->describe() && plan->rank() ? plan : nullptr;
  }

  explicit Convolution(const ConvolutionKey& key) : key_(key) {}

  /// Images at both ends and weights with channels last, in the type of the precision; writes to
  /// what the direction leads to. False if none of the algorithms works after all.
  [[nodiscard]] bool run(void* x, void* y, void* weights) const {
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
    const int padding = extent(s.padding), stride = extent(s.stride);
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
                                            extent(s.in), extent(s.kernel), extent(s.kernel))) &&
           works(cudnnSetConvolution2dDescriptor(convolution_, padding, padding, stride, stride, 1,
                                                 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT)) &&
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

/// The plans of the calling thread, as its stream is its own.
[[nodiscard]] inline PlanCache<ConvolutionKey, Convolution>& convolution_plans() {
  thread_local PlanCache<ConvolutionKey, Convolution> plans;
  return plans;
}

inline void warn_of_patches(const ConvolutionKey& key) {
  warn("cuDNN has no algorithm for " + to_string(key) +
       ": it is done by products of patches, which takes longer");
}

/// Has cuDNN do it; false, with a warning the first time, if it cannot. `operands(run)` calls
/// run(x, y, weights) with what the direction reads and writes.
template <class Operands>
[[nodiscard]] bool by_cudnn(const ConvolutionKey& key, Operands operands) {
  const auto plan = convolution_plans().find(key, [&] {
    auto made = Convolution::plan(key);
    if (!made) warn_of_patches(key);
    return made;
  });
  if (!plan) return false;
  const bool done = operands([&](void* x, void* y, void* w) { return plan->run(x, y, w); });
  if (!done) {
    convolution_plans().refuse(key);
    warn_of_patches(key);
  } else if (needed_by_recording()) {
    needed_by_recording()->push_back(plan);
  }
  return done;
}

/// Where a convolution reads or writes: the tensor itself, or its numbers in bfloat16.
class Operand {
 public:
  Operand(std::size_t size, float* values, Precision precision)
      : size_(size),
        values_(values),
        rounds_(precision == Precision::bfloat16),
        rounded_(rounds_ ? size : 0) {}

  [[nodiscard]] void* read() const {
    if (!rounds_) return values_;
    convert(size_, static_cast<const float*>(values_), rounded_.data());
    return rounded_.data();
  }
  [[nodiscard]] void* write() const {
    return rounds_ ? static_cast<void*>(rounded_.data()) : values_;
  }
  void written() const {
    if (rounds_) convert(size_, static_cast<const __nv_bfloat16*>(rounded_.data()), values_);
  }

 private:
  std::size_t size_;
  float* values_;
  bool rounds_;
  Scratch<__nv_bfloat16> rounded_;
};

[[nodiscard]] inline std::size_t weights_size(const ConvShape& s) {
  return s.out * s.in * s.kernel * s.kernel;
}

/// f(weights with channels last) in the type of the precision.
template <class F>
[[nodiscard]] bool with_packed(const ConvShape& s, const float* w, Precision precision, F f) {
  if (precision == Precision::bfloat16) {
    const Scratch<__nv_bfloat16> packed(weights_size(s));
    channels_last(s, w, packed.data());
    return f(packed.data());
  }
  const Scratch<float> packed(weights_size(s));
  channels_last(s, w, packed.data());
  return f(packed.data());
}

inline void forward(const ConvShape& s, const float* x, const float* w, float* y) {
  if (s.rows == 0) return;
  const ConvolutionKey key{s, Direction::forward, precision()};
  const bool done = by_cudnn(key, [&](auto run) {
    const Operand in(input_size(s), const_cast<float*>(x), key.precision),
        out(output_size(s), y, key.precision);
    const bool ran = with_packed(s, w, key.precision,
                                 [&](void* packed) { return run(in.read(), out.write(), packed); });
    if (ran) out.written();
    return ran;
  });
  if (!done) forward<float>(s, x, w, y);
}

inline void backward_data(const ConvShape& s, const float* g, const float* w, float* gx) {
  if (s.rows == 0) return;
  const ConvolutionKey key{s, Direction::backward_data, precision()};
  const bool done = by_cudnn(key, [&](auto run) {
    const Operand out(input_size(s), gx, key.precision),
        in(output_size(s), const_cast<float*>(g), key.precision);
    const bool ran = with_packed(s, w, key.precision,
                                 [&](void* packed) { return run(out.write(), in.read(), packed); });
    if (ran) out.written();
    return ran;
  });
  if (!done) backward_data<float>(s, g, w, gx);
}

// From numbers in bfloat16 this cuDNN gives weights in bfloat16 alone. They are sums over all
// pixels and rows that have to stay float32, so that they are made of float32 rounded to TF32
// instead.
inline void backward_weights(const ConvShape& s, const float* x, const float* g, float* gw) {
  if (s.rows == 0) return;
  const Precision used = precision() == Precision::bfloat16 ? Precision::tf32 : precision();
  const bool done = by_cudnn({s, Direction::backward_weights, used}, [&](auto run) {
    const Scratch<float> packed(weights_size(s));
    const bool ran = run(const_cast<float*>(x), const_cast<float*>(g), packed.data());
    if (ran) add_channels_first(s, static_cast<const float*>(packed.data()), gw);
    return ran;
  });
  if (!done) backward_weights<float>(s, x, g, gw);
}

}  // namespace cuda

#endif

namespace cuda {

inline void count_convolution(const ConvShape& s) {
  work().convolution(static_cast<double>(output_size(s)) *
                     static_cast<double>(s.in * s.kernel * s.kernel));
}

}  // namespace cuda

template <class T>
void conv2d(Cuda, const ConvShape& s, const T* x, const T* w, T* y) {
  cuda::count_convolution(s);
  cuda::forward(s, x, w, y);
}

template <class T>
void conv2d_backward_data(Cuda, const ConvShape& s, const T* g, const T* w, T* gx) {
  cuda::count_convolution(s);
  cuda::backward_data(s, g, w, gx);
}

template <class T>
void conv2d_backward_weights(Cuda, const ConvShape& s, const T* x, const T* g, T* gw) {
  cuda::count_convolution(s);
  cuda::backward_weights(s, x, g, gw);
}

// A thread for each element of the result. The fine pixel at `f` of an axis meets tap k of the
// coarse pixel at c where f = 2 c + k - p.
template <class T>
void resample(Cuda, Resampling direction, std::size_t rows, std::size_t height, std::size_t width,
              std::size_t channels, std::size_t taps, const T* f, const T* x, T* y) {
  const bool up = direction == Resampling::up;
  const std::size_t out_height = up ? 2 * height : height / 2;
  const std::size_t out_width = up ? 2 * width : width / 2;
  const std::size_t pad = taps / 2 - 1;
  const cuda::Divisor by_channels(channels), by_width(out_width), by_height(out_height);
  cuda::for_each_index(
      rows * out_height * out_width * channels, [=] MEANFLOW_HOST_DEVICE(std::size_t index) {
        const std::size_t c = index % by_channels, pixel = index / by_channels;
        const std::size_t ox = pixel % by_width, line = pixel / by_width;
        const std::size_t oy = line % by_height, r = line / by_height;
        T sum(0);
        for (std::size_t ky = 0; ky < taps; ++ky)
          for (std::size_t kx = 0; kx < taps; ++kx) {
            std::size_t iy, ix;
            if (up) {
              if (oy + pad < ky || ox + pad < kx) continue;
              const std::size_t twice_y = oy + pad - ky, twice_x = ox + pad - kx;
              if (twice_y % 2 != 0 || twice_x % 2 != 0) continue;
              iy = twice_y / 2;
              ix = twice_x / 2;
            } else {
              if (2 * oy + ky < pad || 2 * ox + kx < pad) continue;
              iy = 2 * oy + ky - pad;
              ix = 2 * ox + kx - pad;
            }
            if (iy >= height || ix >= width) continue;
            sum += f[ky] * f[kx] * x[((r * height + iy) * width + ix) * channels + c];
          }
        y[index] = sum;
      });
}

}  // namespace meanflow::kernels
