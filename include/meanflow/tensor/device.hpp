// SPDX-License-Identifier: MIT
/// \file
/// Devices are types. They live in the namespace of the kernels, so that `gemm(Device{}, ...)`
/// finds the kernels of whichever device a program includes.
#pragma once

namespace meanflow {

namespace kernels {

/// The processor: vectorised kernels on all of its cores.
struct Cpu {
  static constexpr const char* name = "cpu";
};

/// Plain loops over any scalar type: the oracle that the other devices are tested against.
struct Reference {
  static constexpr const char* name = "reference";
};

/// An NVIDIA GPU, or the host in its place where Thrust is set to run there: include
/// <meanflow/cuda.hpp>.
struct Cuda {
  static constexpr const char* name = "cuda";
};

}  // namespace kernels

using kernels::Cpu;
using kernels::Cuda;
using kernels::Reference;

/// Whether a device works on memory that the host's own code may read and write.
template <class Device>
inline constexpr bool on_host = true;
template <>
inline constexpr bool on_host<Cuda> = false;

}  // namespace meanflow
