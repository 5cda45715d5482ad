// SPDX-License-Identifier: MIT
/// \file
/// Convolutions by cuDNN, channels last, and resampling. `kernels/reference/conv.hpp` says what
/// each computes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include <meanflow/kernels/conv_shape.hpp>
#include <meanflow/kernels/cuda/cudnn_convolution.hpp>
#include <meanflow/kernels/cuda/cudnn_graph.hpp>
#include <meanflow/kernels/cuda/device.hpp>
#include <meanflow/kernels/cuda/divisor.hpp>
#include <meanflow/kernels/cuda/graph.hpp>
#include <meanflow/kernels/cuda/lanes.hpp>
#include <meanflow/kernels/cuda/patches.hpp>
#include <meanflow/kernels/cuda/plan_cache.hpp>
#include <meanflow/kernels/cuda/product.hpp>
#include <meanflow/kernels/cuda/shapes.hpp>
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
struct Convert {
  std::size_t first, n;
  const From* from;
  To* to;

  MEANFLOW_HOST_DEVICE void operator()(std::uint32_t i) const {
    const std::size_t begin = first + lanes * i;
    if (begin + lanes <= n) {
      const Lanes<From, lanes> in = load_lanes<lanes>(from + begin);
      Lanes<To, lanes> out;
      for (std::size_t k = 0; k < lanes; ++k)
        out.of[k] = static_cast<To>(static_cast<float>(in.of[k]));
      store_lanes(to + begin, out);
    } else {
      for (std::size_t k = begin; k < n; ++k) to[k] = static_cast<To>(static_cast<float>(from[k]));
    }
  }
};

template <class From, class To>
void convert(std::size_t n, const From* from, To* to) {
  for_each_launch(fours(n), 1, [&](std::size_t first, std::size_t count) {
    for_each_item(count, std::min(lanes * count, n - lanes * first),
                  lanes * count * (sizeof(From) + sizeof(To)),
                  Convert<From, To>{lanes * first, n, from, to});
  });
}

/// Between w (out, in, k, k), as PyTorch has it, and (out, k, k, in), as cuDNN wants it for images
/// with channels last: a thread takes all taps of a few channels.
template <class T, bool Packs>
struct ReorderWeights {
  std::size_t in, taps;
  Divisor by_units;  // of channels
  std::conditional_t<Packs, const float*, float*> w;
  std::conditional_t<Packs, T*, const T*> packed;

  template <int W>
  MEANFLOW_HOST_DEVICE void run(std::uint32_t i) const {
    const std::size_t out = i / by_units, c = (i % by_units) * W;
    auto* const channels = w + (out * in + c) * taps;
    for (std::size_t tap = 0; tap < taps; ++tap) {
      auto* const place = packed + (out * taps + tap) * in + c;
      if constexpr (Packs) {
        Lanes<T, W> values;
        for (std::size_t k = 0; k < W; ++k) values.of[k] = static_cast<T>(channels[k * taps + tap]);
        store_lanes(place, values);
      } else {
        const Lanes<T, W> values = load_lanes<W>(place);
        for (std::size_t k = 0; k < W; ++k) channels[k * taps + tap] += values.of[k];
      }
    }
  }
  MEANFLOW_HOST_DEVICE void operator()(std::uint32_t i) const {
    if (by_units.value() == in)
      run<1>(i);
    else
      run<static_cast<int>(lanes)>(i);
  }
};

template <bool Packs, class T, class W>
void reorder_weights(const ConvShape& s, W* w, T* packed) {
  const std::size_t units = s.in % lanes == 0 ? s.in / lanes : s.in, taps = s.kernel.size();
  const std::size_t size = s.out * taps * s.in;
  for_each_item(
      s.out * units, size, size * (sizeof(T) + (Packs ? 1 : 2) * sizeof(float)),
      ReorderWeights<std::remove_const_t<T>, Packs>{s.in, taps, Divisor(units), w, packed});
}

template <class To>
void channels_last(const ConvShape& s, const float* w, To* packed) {
  reorder_weights<true>(s, w, packed);
}

/// w += the same, the other way round.
inline void add_channels_first(const ConvShape& s, const float* packed, float* w) {
  reorder_weights<false>(s, w, packed);
}

/// The plans of the calling thread, as its stream is its own.
[[nodiscard]] inline PlanCache<ConvolutionKey, ConvolutionPlan>& convolution_plans() {
  static_cast<void>(context());  // outlives them
  thread_local PlanCache<ConvolutionKey, ConvolutionPlan> plans;
  return plans;
}

/// The older functions round gradients of weights to the type of the images.
[[nodiscard]] inline bool can_be_older(const ConvolutionKey& key) {
  return key.direction != Direction::backward_weights || key.precision != Precision::bfloat16;
}

inline void warn_of_fallback(const ConvolutionKey& key, const char* what) {
  warn("cuDNN has no algorithm for " + to_string(key) + what);
}

/// By cuDNN's older functions; nullptr where those do not know how.
[[nodiscard]] inline std::shared_ptr<const ConvolutionPlan> older_plan(const ConvolutionKey& key) {
  if (!can_be_older(key)) {
    warn_of_fallback(key, " among its graphs: it is done in TF32");
    return nullptr;
  }
  auto plan = Convolution::plan(key);
  warn_of_fallback(key, plan ? " among its graphs: it is done by its older functions"
                             : ": it is done by products of patches, which takes longer");
  return plan;
}
/// By cuDNN's graphs, else by its older functions.
[[nodiscard]] inline std::shared_ptr<const ConvolutionPlan> new_plan(const ConvolutionKey& key) {
  auto plan = GraphConvolution::plan(key);
  return plan ? plan : older_plan(key);
}

/// Has cuDNN do it; false, with a warning the first time, if it cannot. `operands(run)` calls
/// run(x, y, weights) with what the direction reads and writes.
template <class Operands>
[[nodiscard]] bool by_cudnn(const ConvolutionKey& key, Operands operands) {
  auto& plans = convolution_plans();
  auto plan = plans.find(key, [&] { return new_plan(key); });
  while (plan) {
    if (operands([&](void* x, void* y, void* w) { return plan->run(x, y, w); })) {
      if (needed_by_recording()) needed_by_recording()->push_back(plan);
      return true;
    }
    if (recording()) throw CudaError(to_string(key) + " cannot be recorded");
    // A graph that does not run after all is replaced, anything else given up.
    const bool was_graph = dynamic_cast<const GraphConvolution*>(plan.get()) != nullptr;
    plan = was_graph ? older_plan(key) : nullptr;
    plans.replace(key, plan);
  }
  return false;
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
  return s.out * s.in * s.kernel.size();
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

// Gradients of weights are sums over all pixels and rows and stay in float32. Only cuDNN's graphs
// give that from images in bfloat16; without one they are computed from float32 in TF32.
inline void backward_weights(const ConvShape& s, const float* x, const float* g, float* gw) {
  if (s.rows == 0) return;
  const auto done = [&](Precision used) {
    return by_cudnn({s, Direction::backward_weights, used}, [&](auto run) {
      const Operand in(input_size(s), const_cast<float*>(x), used),
          up(output_size(s), const_cast<float*>(g), used);
      const Scratch<float> packed(weights_size(s));
      const bool ran = run(in.read(), up.read(), packed.data());
      if (ran) add_channels_first(s, packed.data(), gw);
      return ran;
    });
  };
  if (done(precision())) return;
  if (precision() == Precision::bfloat16 && done(Precision::tf32)) return;
  backward_weights<float>(s, x, g, gw);
}

}  // namespace cuda

#endif

namespace cuda {

inline void count_convolution(const ConvShape& s) {
  work().convolution(static_cast<double>(output_size(s)) *
                     static_cast<double>(s.in * s.kernel.size()));
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

namespace cuda {

/// Four channels of a pixel of the result, or one. The fine pixel at `f` of an axis meets tap k of
/// the coarse pixel at c where f = 2 c + k - p: of the taps of a fine pixel every second one does.
template <class T>
struct Resample {
  bool up, together;
  int height, width, out_height, out_width, channels, taps;
  Divisor by_units, by_width, by_height;
  const T *f, *x;
  T* y;

  Resample(Resampling direction, std::size_t h, std::size_t w, std::size_t c, std::size_t k,
           const T* filter, const T* from, T* to)
      : up(direction == Resampling::up),
        together(c % lanes == 0),
        height(static_cast<int>(h)),
        width(static_cast<int>(w)),
        out_height(up ? 2 * height : height / 2),
        out_width(up ? 2 * width : width / 2),
        channels(static_cast<int>(c)),
        taps(static_cast<int>(k)),
        by_units(together ? c / lanes : c),
        by_width(static_cast<std::size_t>(out_width)),
        by_height(static_cast<std::size_t>(out_height)),
        f(filter),
        x(from),
        y(to) {}

  /// Items of an image.
  [[nodiscard]] std::size_t each() const {
    return by_units.value() * by_width.value() * by_height.value();
  }

  MEANFLOW_HOST_DEVICE void operator()(std::uint32_t i) const {
    if (together)
      run<static_cast<int>(lanes)>(i);
    else
      run<1>(i);
  }

 private:
  /// The taps of an axis that a pixel of the result sees, and the place of the first.
  struct Seen {
    int tap, step, place, move;
  };
  [[nodiscard]] MEANFLOW_HOST_DEVICE Seen seen(int at) const {
    const int pad = taps / 2 - 1;
    if (!up) return {0, 1, 2 * at - pad, 1};
    const int tap = (at + pad) & 1;
    return {tap, 2, (at + pad - tap) / 2, -1};
  }

  template <int W>
  MEANFLOW_HOST_DEVICE void run(std::uint32_t i) const {
    const std::uint32_t pixel = i / by_units, line = pixel / by_width, row = line / by_height;
    const int unit = static_cast<int>(i % by_units);
    const T* const image = x + std::size_t{row} * static_cast<std::size_t>(height * width) *
                                   static_cast<std::size_t>(channels);
    const Seen rows = seen(static_cast<int>(line % by_height));
    const Seen columns = seen(static_cast<int>(pixel % by_width));
    Lanes<T, W> sum(T(0));
    int iy = rows.place;
    for (int ky = rows.tap; ky < taps; ky += rows.step, iy += rows.move) {
      if (static_cast<unsigned>(iy) >= static_cast<unsigned>(height)) continue;
      const T fy = f[ky];
      int ix = columns.place;
      for (int kx = columns.tap; kx < taps; kx += columns.step, ix += columns.move) {
        if (static_cast<unsigned>(ix) >= static_cast<unsigned>(width)) continue;
        const auto at = static_cast<std::size_t>((iy * width + ix) * channels + unit * W);
        sum += Lanes<T, W>(fy * f[kx]) * load_lanes<W>(image + at);
      }
    }
    store_lanes(y + std::size_t{i} * W, sum);
  }
};

}  // namespace cuda

template <class T>
void resample(Cuda, Resampling direction, std::size_t rows, std::size_t height, std::size_t width,
              std::size_t channels, std::size_t taps, const T* f, const T* x, T* y) {
  const cuda::Resample<T> all(direction, height, width, channels, taps, f, x, y);
  const std::size_t in = height * width * channels;
  const std::size_t out = all.each() * (all.together ? cuda::lanes : 1);
  cuda::for_each_launch(
      all.each() == 0 ? 0 : rows, all.each(), [&](std::size_t first, std::size_t count) {
        cuda::Resample<T> part = all;
        part.x += first * in;
        part.y += first * out;
        cuda::for_each_item(count * all.each(), count * out, count * (in + out) * sizeof(T), part);
      });
}

}  // namespace meanflow::kernels
