// SPDX-License-Identifier: MIT
/// \file
/// Numbers between the host and a device. Between devices of the host nothing is copied: the result
/// is a handle to the same memory.
#pragma once

#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// The numbers of a tensor where the host can read them. Waits until they have been computed.
template <class T, class Device>
[[nodiscard]] Tensor<T> to_host(const Tensor<T, Device>& tensor) {
  if constexpr (on_host<Device>) {
    return tensor.template on<Cpu>();
  } else {
    if (tensor.empty()) return {};
    Tensor<T> values(tensor.shape());
    device_traits<Device>::to_host(tensor.size() * sizeof(T), tensor.data(), values.data());
    return values;
  }
}

/// The numbers of a tensor of the host in the memory of a device.
template <class Device, class T>
[[nodiscard]] Tensor<T, Device> to_device(const Tensor<T>& tensor) {
  if constexpr (on_host<Device>) {
    return tensor.template on<Device>();
  } else {
    if (tensor.empty()) return {};
    return Tensor<T, Device>::from(tensor.shape(), tensor.span());
  }
}

/// Overwrites the numbers of a tensor with those at `values` on the host.
template <class T, class Device>
void write(Tensor<T, Device>& tensor, const T* values) {
  device_traits<Device>::from_host(tensor.size() * sizeof(T), values, tensor.data());
}

}  // namespace meanflow
