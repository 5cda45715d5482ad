// SPDX-License-Identifier: MIT
/// \file
/// Temporary memory for a kernel.
#pragma once

#include <cstddef>

#include <meanflow/tensor/device.hpp>

namespace meanflow::kernels::detail {

/// A buffer of `size` numbers from the pool, for as long as it is in scope; uninitialised.
template <class T, class Device = Cpu>
class Scratch {
 public:
  explicit Scratch(std::size_t size) : storage_(size * sizeof(T)) {}
  [[nodiscard]] T* data() const { return static_cast<T*>(storage_.data()); }

 private:
  typename device_traits<Device>::Storage storage_;
};

}  // namespace meanflow::kernels::detail
