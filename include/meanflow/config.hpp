// SPDX-License-Identifier: MIT
/// \file
/// The library's version, and the one annotation that lets scalar code run on a GPU.
#pragma once

#define MEANFLOW_VERSION_MAJOR 0
#define MEANFLOW_VERSION_MINOR 1
#define MEANFLOW_VERSION_PATCH 0

// Annotated functions are callable from host and device code. A build may define its own.
#ifndef MEANFLOW_HOST_DEVICE
#if defined(__CUDACC__) || defined(__HIPCC__)
#define MEANFLOW_HOST_DEVICE __host__ __device__
#else
#define MEANFLOW_HOST_DEVICE
#endif
#endif

namespace meanflow {

struct Version {
  int major, minor, patch;
};

/// The version of these headers.
inline constexpr Version version{MEANFLOW_VERSION_MAJOR, MEANFLOW_VERSION_MINOR,
                                 MEANFLOW_VERSION_PATCH};

}  // namespace meanflow
