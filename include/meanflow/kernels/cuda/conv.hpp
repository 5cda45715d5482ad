// SPDX-License-Identifier: MIT
/// \file
/// Convolutions by cuDNN, channels last, and resampling. `kernels/reference/conv.hpp` says what
/// each computes.
#pragma once

#include <cstddef>
#include <string>

#include <meanflow/kernels/conv_shape.hpp>
#include <meanflow/kernels/cuda/cudnn_convolution.hpp>
#include <meanflow/kernels/cuda/device.hpp>
#include <meanflow/kernels/cuda/graph.hpp>
#include <meanflow/kernels/cuda/patches.hpp>
#include <meanflow/kernels/cuda/plan_cache.hpp>
#include <meanflow/kernels/cuda/product.hpp>
#include <meanflow/kernels/reference/conv.hpp>
#include <meanflow/kernels/warnings.hpp>

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
#include <cuda_bf16.h>
#endif

namespace meanflow::kernels {

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
    auto created = Convolution::plan(key);
    if (!created) warn_of_patches(key);
    return created;
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
    convert(size_, values_, rounded_.data());
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

// From bfloat16 inputs cuDNN's older interface returns weight gradients in bfloat16 only. They are
// sums over all pixels and rows and must stay in float32, so they are computed from float32 in
// TF32.
inline void backward_weights(const ConvShape& s, const float* x, const float* g, float* gw) {
  if (s.rows == 0) return;
  const Precision used = precision() == Precision::bfloat16 ? Precision::tf32 : precision();
  const bool done = by_cudnn({s, Direction::backward_weights, used}, [&](auto run) {
    const Scratch<float> packed(weights_size(s));
    const bool ran = run(const_cast<float*>(x), const_cast<float*>(g), packed.data());
    if (ran) add_channels_first(s, packed.data(), gw);
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
