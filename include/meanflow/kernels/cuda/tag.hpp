// SPDX-License-Identifier: MIT
/// \file
/// The name of the device.
#pragma once

namespace meanflow {

namespace kernels {

/// An NVIDIA GPU, or the host in its place where Thrust is set to run there: include
/// <meanflow/cuda.hpp>.
struct Cuda {
  static constexpr const char* name = "cuda";
};

}  // namespace kernels

using kernels::Cuda;

}  // namespace meanflow
