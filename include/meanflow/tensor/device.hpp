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

}  // namespace kernels

using kernels::Cpu;
using kernels::Reference;

}  // namespace meanflow
