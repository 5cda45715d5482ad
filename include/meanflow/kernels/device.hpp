// SPDX-License-Identifier: MIT
/// \file
/// What a device must provide: the concept `kernels::Device` in its parts, each of which names the
/// functions that are found by the device's type. `kernels/reference.hpp` says what they compute;
/// everything else is written once, over the shapes of work (`kernels/element.hpp`).
#pragma once

#include <concepts>
#include <cstddef>
#include <type_traits>

#include <meanflow/kernels/broadcast.hpp>
#include <meanflow/kernels/precision.hpp>
#include <meanflow/kernels/transpose.hpp>
#include <meanflow/scalar/functors.hpp>
#include <meanflow/tensor/device.hpp>

namespace meanflow::kernels {

/// A type without members, with a name; its traits say whose memory it works on, how numbers get
/// there and back, and how it records.
template <class D>
concept HasMemory =
    std::is_empty_v<D> && std::default_initializable<D> &&
    requires(std::size_t size, const void* from, void* to, float* numbers,
             const typename device_traits<D>::Storage& storage,
             typename device_traits<D>::Recorder& recorder) {
      { D::name } -> std::convertible_to<const char*>;
      { device_traits<D>::on_host } -> std::convertible_to<bool>;
      requires std::constructible_from<typename device_traits<D>::Storage, std::size_t>;
      { storage.data() } -> std::same_as<void*>;
      { storage.unique() } -> std::same_as<bool>;
      { recorder.records } -> std::convertible_to<bool>;
      typename device_traits<D>::Recorder::Recording;
      recorder.release();
      device_traits<D>::from_host(size, from, to);
      device_traits<D>::to_host(size, from, to);
      device_traits<D>::copy(size, from, to);
      device_traits<D>::zero(size, to);
      device_traits<D>::fill(size, 1.0f, numbers);
    };

namespace detail {

/// Stands for any body of work, and for any function of a range.
struct AnyBody {
  using value_type = float;
  static constexpr std::size_t sums = 1;
};

}  // namespace detail

/// How work is shared among threads, and what a step asks the device as a whole.
template <class D>
concept HasThreads = requires(D device, std::size_t n, detail::AnyBody body) {
  { workers(device) } -> std::same_as<std::size_t>;
  { row_tiles(device, n, n, n) } -> std::same_as<std::size_t>;
  parallel_for(device, n, n, body);
  parallel_tasks(device, n, body);
  wait(device);
  spare_memory(device, 0.5);
  check_precision(device, Precision::float32);
};

/// The shapes of work.
template <class D>
concept HasShapesOfWork = requires(D device, std::size_t n, detail::AnyBody body) {
  for_each_index(device, n, body);
  for_each(device, n, body);
  for_each_of_two(device, n, n, body);
  for_each_in_rows(device, n, n, body);
  reduce_rows(device, n, n, body);
  reduce_columns(device, n, n, body);
};

/// What is not of one of those shapes, or has a library of its own.
template <class D>
concept HasKernels =
    requires(D device, std::size_t n, const float* x, float* y, double* sum, Broadcast shape) {
      fill(device, n, 1.0f, y);
      copy(device, n, x, y);
      binary(device, Add{}, shape, x, x, y);
      binary_tangent(device, Add{}, shape, x, x, x, x, y);
      binary_backward(device, Add{}, shape, x, x, x, y, y);
      { squared_norm(device, n, x) } -> std::same_as<double>;
      squared_norm(device, n, x, sum);
      softmax(device, n, n, x, y);
      softmax_jacobian(device, n, n, x, x, y);
      gemm(device, Transpose::no, Transpose::no, n, n, n, x, x, 0.0f, y);
    };

/// What every net, objective and trainer needs. Nets of images need convolutions
/// (`kernels/reference/conv.hpp`) and normalisations (`kernels/reference/norm.hpp`) besides.
template <class D>
concept Device = HasMemory<D> && HasThreads<D> && HasShapesOfWork<D> && HasKernels<D>;

}  // namespace meanflow::kernels
