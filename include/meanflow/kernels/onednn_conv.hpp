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
#include <meanflow/tensor/memory.hpp>

namespace meanflow::kernels::detail {

[[nodiscard]] inline const dnnl::engine& onednn_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

/// A convolution in one of its three directions, ready to run: weights are brought into the layout
/// that oneDNN prefers, images stay as they are.
class OnednnConvolution {
 public:
  enum class Direction { forward, backward_data, backward_weights };

  OnednnConvolution(const ConvShape& shape, Direction direction)
      : shape_(shape), direction_(direction), stream_(onednn_engine()) {
    using Tag = dnnl::memory::format_tag;
    const auto dim = [](std::size_t value) { return static_cast<dnnl::memory::dim>(value); };
    const auto f32 = dnnl::memory::data_type::f32;
    const dnnl::memory::dims x{dim(shape.rows), dim(shape.in), dim(shape.height), dim(shape.width)};
    const dnnl::memory::dims y{dim(shape.rows), dim(shape.out), dim(shape.out_height()),
                               dim(shape.out_width())};
    const dnnl::memory::dims w{dim(shape.out), dim(shape.in), dim(shape.kernel), dim(shape.kernel)};
    x_ = {x, f32, Tag::nhwc};
    y_ = {y, f32, Tag::nhwc};
    plain_weights_ = {w, f32, Tag::oihw};
    const dnnl::memory::desc any{w, f32, Tag::any};
    const dnnl::memory::dims strides{dim(shape.stride), dim(shape.stride)};
    const dnnl::memory::dims padding{dim(shape.padding), dim(shape.padding)};
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const auto forward = forward_description(any, strides, padding, attributes);
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
    const bool out = direction == Direction::backward_weights;
    reorder_ = dnnl::reorder(
        dnnl::reorder::primitive_desc(onednn_engine(), out ? weights_ : plain_weights_,
                                      onednn_engine(), out ? plain_weights_ : weights_));
  }

  [[nodiscard]] bool is(const ConvShape& shape, Direction direction) const {
    return shape == shape_ && direction == direction_;
  }

  /// The images of the two ends, and the weights as PyTorch has them; `weights` is written to in
  /// the direction of the weights only.
  void run(float* x, float* y, float* weights) {
    const meanflow::detail::Storage scratch(scratchpad_.get_size() + 64);
    const meanflow::detail::Storage packed(weights_.get_size() + 64);
    dnnl::memory plain(plain_weights_, onednn_engine(), weights);
    dnnl::memory ordered(weights_, onednn_engine(), packed.data());
    const bool to_weights = direction_ == Direction::backward_weights;
    if (!to_weights) reorder_.execute(stream_, plain, ordered);
    const bool forward = direction_ == Direction::forward;
    const bool to_data = direction_ == Direction::backward_data;
    const dnnl::memory images(x_, onednn_engine(), x), results(y_, onednn_engine(), y);
    primitive_.execute(stream_,
                       {{to_data ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, images},
                        {forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, results},
                        {to_weights ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, ordered},
                        {DNNL_ARG_SCRATCHPAD, {scratchpad_, onednn_engine(), scratch.data()}}});
    if (to_weights) reorder_.execute(stream_, ordered, plain);
    stream_.wait();
  }

 private:
  using Desc = dnnl::memory::desc;
  using Dims = dnnl::memory::dims;
  static constexpr auto algorithm = dnnl::algorithm::convolution_direct;

#if DNNL_VERSION_MAJOR >= 3
  [[nodiscard]] dnnl::convolution_forward::primitive_desc forward_description(
      const Desc& w, const Dims& strides, const Dims& padding,
      const dnnl::primitive_attr& attributes) const {
    return {onednn_engine(),
            dnnl::prop_kind::forward_training,
            algorithm,
            x_,
            w,
            y_,
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
  [[nodiscard]] dnnl::convolution_forward::primitive_desc forward_description(
      const Desc& w, const Dims& strides, const Dims& padding,
      const dnnl::primitive_attr& attributes) const {
    return {{dnnl::prop_kind::forward_training, algorithm, x_, w, y_, strides, padding, padding},
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
  dnnl::stream stream_;
  Desc x_, y_, plain_weights_, weights_, scratchpad_;
  dnnl::primitive primitive_;
  dnnl::reorder reorder_;
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
  struct Made {
    int threads;
    OnednnConvolution convolution;
  };
  // Those used last come first. A number of rows that changes from step to step makes new shapes
  // without end, so the oldest go.
  constexpr std::size_t most = 512;
  thread_local std::list<Made> made;
  const int threads = omp_in_parallel() ? 1 : omp_get_max_threads();
  for (auto one = made.begin(); one != made.end(); ++one) {
    if (one->threads != threads || !one->convolution.is(shape, direction)) continue;
    made.splice(made.begin(), made, one);
    return made.front().convolution;
  }
  try {
    const PlanForThisRegion plan;
    made.push_front({threads, OnednnConvolution(shape, direction)});
    if (made.size() > most) made.pop_back();
    return made.front().convolution;
  } catch (const dnnl::error& error) {
    throw Error("oneDNN: no convolution of (" + std::to_string(shape.rows) + ", " +
                std::to_string(shape.height) + ", " + std::to_string(shape.width) + ", " +
                std::to_string(shape.in) + ") to " + std::to_string(shape.out) +
                " channels: " + error.what());
  }
}

}  // namespace meanflow::kernels::detail
#endif
