// SPDX-License-Identifier: MIT
/// \file
/// How the device allocates memory and copies to and from the host. Where Thrust runs on the host,
/// its memory is the host's.
#pragma once

#include <concepts>
#include <cstddef>
#include <string>

#include <meanflow/kernels/cuda/block_pool.hpp>
#include <meanflow/kernels/cuda/context.hpp>
#include <meanflow/kernels/cuda/graph.hpp>
#include <meanflow/kernels/cuda/launch.hpp>
#include <meanflow/kernels/cuda/staging.hpp>
#include <meanflow/kernels/cuda/tag.hpp>
#include <meanflow/kernels/cuda/work.hpp>
#include <meanflow/kernels/scratch.hpp>
#include <meanflow/tensor/device.hpp>

namespace meanflow {

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA

template <std::derived_from<kernels::Cuda> Device>
struct device_traits<Device> {
  static constexpr bool on_host = false;
  using Storage = kernels::cuda::Storage;
  using Recorder = kernels::cuda::GraphRecorder;

  static void from_host(std::size_t bytes, const void* from, void* to) {
    if (bytes == 0) return;
    kernels::cuda::refuse_while_recording();
    kernels::cuda::work().transfer(bytes);
    if (kernels::cuda::staging().send(bytes, from, to)) return;
    move(bytes, from, to, cudaMemcpyHostToDevice);
    kernels::cuda::context().wait();  // `from` may be gone when this returns
  }
  static void to_host(std::size_t bytes, const void* from, void* to) {
    if (bytes == 0) return;
    kernels::cuda::refuse_while_recording();
    kernels::cuda::work().transfer(bytes);
    move(bytes, from, to, cudaMemcpyDeviceToHost);
    kernels::cuda::context().wait();
  }
  static void copy(std::size_t bytes, const void* from, void* to) {
    kernels::cuda::work().copy(bytes);
    if (bytes > 0) move(bytes, from, to, cudaMemcpyDeviceToDevice);
  }
  static void zero(std::size_t bytes, void* to) {
    kernels::cuda::work().copy(bytes);
    if (bytes > 0)
      kernels::cuda::check(cudaMemsetAsync(to, 0, bytes, kernels::cuda::context().stream),
                           "cudaMemset of " + std::to_string(bytes) + " bytes");
  }
  template <class T>
  static void fill(std::size_t count, T value, T* to) {
    kernels::cuda::fill_numbers(count, value, to);
  }

 private:
  static void move(std::size_t bytes, const void* from, void* to, cudaMemcpyKind kind) {
    kernels::cuda::check(cudaMemcpyAsync(to, from, bytes, kind, kernels::cuda::context().stream),
                         "cudaMemcpy of " + std::to_string(bytes) + " bytes");
  }
};

#else

/// The host's memory, and what of it counts as work of the device.
template <std::derived_from<kernels::Cuda> Device>
struct device_traits<Device> {
  static constexpr bool on_host = false;
  using Host = device_traits<Cpu>;
  using Storage = kernels::cuda::Storage;
  using Recorder = kernels::NoRecorder;

  static void from_host(std::size_t bytes, const void* from, void* to) {
    kernels::cuda::work().transfer(bytes);
    Host::from_host(bytes, from, to);
  }
  static void to_host(std::size_t bytes, const void* from, void* to) {
    kernels::cuda::work().transfer(bytes);
    Host::to_host(bytes, from, to);
  }
  static void copy(std::size_t bytes, const void* from, void* to) {
    kernels::cuda::work().copy(bytes);
    Host::copy(bytes, from, to);
  }
  static void zero(std::size_t bytes, void* to) {
    kernels::cuda::work().copy(bytes);
    Host::zero(bytes, to);
  }
  template <class T>
  static void fill(std::size_t count, T value, T* to) {
    kernels::cuda::work().launch(count, count * sizeof(T));
    Host::fill(count, value, to);
  }
};

#endif

namespace kernels {

namespace cuda {

/// A buffer on the device for as long as it is in scope.
template <class T>
using Scratch = kernels::detail::Scratch<T, Cuda>;

}  // namespace cuda
}  // namespace kernels
}  // namespace meanflow
