// SPDX-License-Identifier: MIT
/// \file
/// The name of the device.
#pragma once

#include <concepts>

#include <meanflow/tensor/device.hpp>

namespace meanflow {

namespace kernels {

/// An NVIDIA GPU, or the host in its place where Thrust is set to run there: include
/// <meanflow/cuda.hpp>.
struct Cuda {
  static constexpr const char* name = "cuda";
};

}  // namespace kernels

using kernels::Cuda;

/// Of devices derived from this one too; `kernels/cuda/memory.hpp` has them.
template <std::derived_from<kernels::Cuda> Device>
struct device_traits<Device>;

}  // namespace meanflow
