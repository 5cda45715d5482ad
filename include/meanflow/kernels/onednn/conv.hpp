// SPDX-License-Identifier: MIT
/// \file
/// Convolutions by oneDNN (2.x and 3.x), where the build found it.
#pragma once

#ifdef MEANFLOW_WITH_ONEDNN
#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <utility>

#include <omp.h>
#include <oneapi/dnnl/dnnl.hpp>

#include <meanflow/error.hpp>
#include <meanflow/kernels/conv_shape.hpp>
#include <meanflow/kernels/precision.hpp>
#include <meanflow/tensor/memory.hpp>

namespace meanflow::kernels::detail {

[[nodiscard]] inline const dnnl::engine& onednn_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

/// f(), with oneDNN's errors as this library's; `what()` names the work.
template <class F, class What>
decltype(auto) rethrow_onednn(F f, What what) {
  try {
    return f();
  } catch (const dnnl::error& error) {
    throw Error("oneDNN: " + what() + " failed: " + error.what());
  }
}

[[nodiscard]] inline std::string convolution_text(const ConvShape& shape) {
  return "the convolution of (" + std::to_string(shape.rows) + ", " + std::to_string(shape.height) +
         ", " + std::to_string(shape.width) + ", " + std::to_string(shape.in) + ") to " +
         std::to_string(shape.out) + " channels";
}

/// A convolution in one of its three directions, ready to run: weights are brought into the layout
/// that oneDNN prefers, images stay as they are. In bfloat16 what goes in is rounded first; what
/// comes out is float32 always.
class OnednnConvolution {
 public:
  enum class Direction { forward, backward_data, backward_weights };

  OnednnConvolution(const ConvShape& shape, Direction direction, Precision precision)
      : shape_(shape), direction_(direction), precision_(precision), stream_(onednn_engine()) {
    using Tag = dnnl::memory::format_tag;
    const auto dim = [](std::size_t value) { return static_cast<dnnl::memory::dim>(value); };
    const auto f32 = dnnl::memory::data_type::f32;
    const auto in = precision == Precision::float32 ? f32 : dnnl::memory::data_type::bf16;
    const dnnl::memory::dims x{dim(shape.rows), dim(shape.in), dim(shape.height), dim(shape.width)};
    const dnnl::memory::dims y{dim(shape.rows), dim(shape.out), dim(shape.out_height()),
                               dim(shape.out_width())};
    const dnnl::memory::dims w{dim(shape.out), dim(shape.in), dim(shape.kernel.height),
                               dim(shape.kernel.width)};
    const bool to_weights = direction == Direction::backward_weights;
    plain_x_ = {x, f32, Tag::nhwc};
    plain_y_ = {y, f32, Tag::nhwc};
    plain_weights_ = {w, f32, Tag::oihw};
    x_ = {x, direction == Direction::backward_data ? f32 : in, Tag::nhwc};
    y_ = {y, direction == Direction::forward ? f32 : in, Tag::nhwc};
    const dnnl::memory::desc any{w, to_weights ? f32 : in, Tag::any};
    const dnnl::memory::desc forward_x{x, in, Tag::nhwc}, forward_y{y, f32, Tag::nhwc};
    const dnnl::memory::desc forward_any{w, in, Tag::any};
    const dnnl::memory::dims strides{dim(shape.stride), dim(shape.stride)};
    const dnnl::memory::dims padding{dim(shape.padding.height), dim(shape.padding.width)};
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const auto forward =
        forward_description(forward_x, forward_any, forward_y, strides, padding, attributes);
    switch (direction) {
      case Direction::forward:
        keep(dnnl::convolution_forward(forward), forward, forward.weights_desc());
        break;
      case Direction::backward_data: {
        const auto d = backward_data_description(any, strides, padding, attributes, forward);
        keep(dnnl::convolution_backward_data(d), d, d.weights_desc());
        break;
      }
      case Direction::backward_weights: {
        const auto d = backward_weights_description(any, strides, padding, attributes, forward);
        keep(dnnl::convolution_backward_weights(d), d, d.diff_weights_desc());
        break;
      }
    }
    reorder_ =
        reorder(to_weights ? weights_ : plain_weights_, to_weights ? plain_weights_ : weights_);
    if (precision == Precision::float32) return;
    if (direction != Direction::backward_data) round_x_ = reorder(plain_x_, x_);
    if (direction != Direction::forward) round_y_ = reorder(plain_y_, y_);
  }

  [[nodiscard]] bool is(const ConvShape& shape, Direction direction, Precision precision) const {
    return shape == shape_ && direction == direction_ && precision == precision_;
  }

  /// The images of the two ends, and the weights as PyTorch has them; `weights` is written to in
  /// the direction of the weights only.
  void run(float* x, float* y, float* weights) {
    rethrow_onednn([&] { run_plain(x, y, weights); }, [&] { return convolution_text(shape_); });
  }

  /// The same with weights in the layout that oneDNN prefers: nothing but its own work.
  void run_ordered(float* x, float* y, void* weights) {
    const meanflow::detail::Storage scratch(scratchpad_.get_size() + 64);
    const bool forward = direction_ == Direction::forward;
    const bool to_data = direction_ == Direction::backward_data;
    const bool to_weights = direction_ == Direction::backward_weights;
    const Input images(*this, plain_x_, x_, round_x_, x), results(*this, plain_y_, y_, round_y_, y);
    primitive_.execute(stream_,
                       {{to_data ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, images.memory},
                        {forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, results.memory},
                        {to_weights ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS,
                         {weights_, onednn_engine(), weights}},
                        {DNNL_ARG_SCRATCHPAD, {scratchpad_, onednn_engine(), scratch.data()}}});
    stream_.wait();
  }

  [[nodiscard]] std::size_t ordered_bytes() const { return weights_.get_size() + 64; }

 private:
  using Desc = dnnl::memory::desc;
  using Dims = dnnl::memory::dims;
  static constexpr auto algorithm = dnnl::algorithm::convolution_direct;

  void run_plain(float* x, float* y, float* weights) {
    const meanflow::detail::Storage packed(ordered_bytes());
    dnnl::memory plain(plain_weights_, onednn_engine(), weights);
    dnnl::memory ordered(weights_, onednn_engine(), packed.data());
    const bool to_weights = direction_ == Direction::backward_weights;
    if (!to_weights) reorder_.execute(stream_, plain, ordered);
    run_ordered(x, y, packed.data());
    if (to_weights) reorder_.execute(stream_, ordered, plain);
    stream_.wait();
  }

  /// The images of one end as the primitive takes them: as they are, or rounded into other memory.
  struct Input {
    Input(OnednnConvolution& convolution, const Desc& plain, const Desc& wanted,
          const dnnl::reorder& round, float* values)
        : rounded(round ? wanted.get_size() + 64 : 0),
          memory(wanted, onednn_engine(), round ? rounded.data() : values) {
      if (!round) return;
      dnnl::memory from(plain, onednn_engine(), values);
      round.execute(convolution.stream_, from, memory);
    }
    meanflow::detail::Storage rounded;
    dnnl::memory memory;
  };

  [[nodiscard]] static dnnl::reorder reorder(const Desc& from, const Desc& to) {
    return dnnl::reorder(dnnl::reorder::primitive_desc(onednn_engine(), from, onednn_engine(), to));
  }

#if DNNL_VERSION_MAJOR >= 3
  [[nodiscard]] static dnnl::convolution_forward::primitive_desc forward_description(
      const Desc& x, const Desc& w, const Desc& y, const Dims& strides, const Dims& padding,
      const dnnl::primitive_attr& attributes) {
    return {onednn_engine(),
            dnnl::prop_kind::forward_training,
            algorithm,
            x,
            w,
            y,
            strides,
            padding,
            padding,
            attributes};
  }
  [[nodiscard]] dnnl::convolution_backward_data::primitive_desc backward_data_description(
      const Desc& w, const Dims& strides, const Dims& padding,
      const dnnl::primitive_attr& attributes,
      const dnnl::convolution_forward::primitive_desc& forward) const {
    return {onednn_engine(), algorithm, x_, w, y_, strides, padding, padding, forward, attributes};
  }
  [[nodiscard]] dnnl::convolution_backward_weights::primitive_desc backward_weights_description(
      const Desc& w, const Dims& strides, const Dims& padding,
      const dnnl::primitive_attr& attributes,
      const dnnl::convolution_forward::primitive_desc& forward) const {
    return {onednn_engine(), algorithm, x_, w, y_, strides, padding, padding, forward, attributes};
  }
#else
  [[nodiscard]] static dnnl::convolution_forward::primitive_desc forward_description(
      const Desc& x, const Desc& w, const Desc& y, const Dims& strides, const Dims& padding,
      const dnnl::primitive_attr& attributes) {
    return {{dnnl::prop_kind::forward_training, algorithm, x, w, y, strides, padding, padding},
            attributes,
            onednn_engine()};
  }
  [[nodiscard]] dnnl::convolution_backward_data::primitive_desc backward_data_description(
      const Desc& w, const Dims& strides, const Dims& padding,
      const dnnl::primitive_attr& attributes,
      const dnnl::convolution_forward::primitive_desc& forward) const {
    return {
        {algorithm, x_, w, y_, strides, padding, padding}, attributes, onednn_engine(), forward};
  }
  [[nodiscard]] dnnl::convolution_backward_weights::primitive_desc backward_weights_description(
      const Desc& w, const Dims& strides, const Dims& padding,
      const dnnl::primitive_attr& attributes,
      const dnnl::convolution_forward::primitive_desc& forward) const {
    return {
        {algorithm, x_, w, y_, strides, padding, padding}, attributes, onednn_engine(), forward};
  }
#endif

  template <class Description>
  void keep(dnnl::primitive primitive, const Description& description, const Desc& weights) {
    primitive_ = std::move(primitive);
    weights_ = weights;
    scratchpad_ = description.scratchpad_desc();
  }

  ConvShape shape_;
  Direction direction_;
  Precision precision_;
  dnnl::stream stream_;
  Desc x_, y_, plain_x_, plain_y_, plain_weights_, weights_, scratchpad_;
  dnnl::primitive primitive_;
  dnnl::reorder reorder_, round_x_, round_y_;
};

/// While in scope, primitives are planned for the calling thread alone if it is in a parallel
/// region, where oneDNN will find no other threads: a plan for more would wait for them for ever.
class PlanForThisRegion {
 public:
  PlanForThisRegion() : threads_(omp_get_max_threads()) {
    if (omp_in_parallel()) omp_set_num_threads(1);
  }
  PlanForThisRegion(const PlanForThisRegion&) = delete;
  PlanForThisRegion& operator=(const PlanForThisRegion&) = delete;
  ~PlanForThisRegion() { omp_set_num_threads(threads_); }

 private:
  int threads_;
};

/// The convolution of that shape, made at its first use and kept by the calling thread. oneDNN
/// plans for a number of threads when a primitive is made, so those for use inside a parallel
/// region, where there is one, are kept apart from those for all threads.
[[nodiscard]] inline OnednnConvolution& onednn_convolution(const ConvShape& shape,
                                                           OnednnConvolution::Direction direction) {
  struct Cached {
    int threads;
    OnednnConvolution convolution;
  };
  // Most recently used first. A number of rows that changes from step to step makes new shapes
  // without end, so the oldest are dropped.
  constexpr std::size_t capacity = 512;
  thread_local std::list<Cached> cache;
  const int threads = omp_in_parallel() ? 1 : omp_get_max_threads();
  const Precision in = kernels::precision();
  for (auto one = cache.begin(); one != cache.end(); ++one) {
    if (one->threads != threads || !one->convolution.is(shape, direction, in)) continue;
    cache.splice(cache.begin(), cache, one);
    return cache.front().convolution;
  }
  return rethrow_onednn(
      [&]() -> OnednnConvolution& {
        const PlanForThisRegion plan;
        cache.push_front({threads, OnednnConvolution(shape, direction, in)});
        if (cache.size() > capacity) cache.pop_back();
        return cache.front().convolution;
      },
      [&] { return convolution_text(shape); });
}

}  // namespace meanflow::kernels::detail
#endif
