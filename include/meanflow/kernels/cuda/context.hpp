// SPDX-License-Identifier: MIT
/// \file
/// What every kernel of the device shares: the stream that its work goes to, the handles of the
/// CUDA libraries, and errors as exceptions. Where Thrust is set to run on the host there is none
/// of it.
#pragma once

#include <cstddef>
#include <string>

#include <thrust/detail/config.h>

#include <meanflow/error.hpp>
#include <meanflow/tensor/device.hpp>

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <cudnn.h>
#endif

namespace meanflow {

/// A call of the CUDA runtime, cuBLAS or cuDNN that failed: the call, what it was about, and why.
struct CudaError : Error {
  using Error::Error;
};

namespace kernels::cuda {

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA

/// Whether there is a GPU, or Thrust stands in for it on the host.
inline constexpr bool on_gpu = true;

[[nodiscard]] inline std::string device_text() {
  int device = 0;
  cudaDeviceProp properties{};
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaGetDeviceProperties(&properties, device) != cudaSuccess)
    return "no device";
  return "device " + std::to_string(device) + " (" + properties.name + ")";
}

inline void check(cudaError_t status, const std::string& call) {
  if (status == cudaSuccess) return;
  throw CudaError(call + " failed on " + device_text() + ": " + cudaGetErrorString(status));
}
inline void check(cublasStatus_t status, const std::string& call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw CudaError("cuBLAS: " + call + " failed on " + device_text() + ": " +
                  cublasGetStatusString(status));
}
inline void check(cudnnStatus_t status, const std::string& call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw CudaError("cuDNN: " + call + " failed on " + device_text() + ": " +
                  cudnnGetErrorString(status));
}

/// Whether the calling thread records what it asks its stream for (`graph.hpp`).
[[nodiscard]] inline bool& recording() {
  thread_local bool is = false;
  return is;
}

/// Numbers go between host and device when they are asked for, not when a recording is replayed.
inline void refuse_while_recording() {
  if (recording()) throw CudaError("numbers cannot go to or from the host within a recording");
}

/// The stream of the calling thread and what works on it.
class Context {
 public:
  /// Throws CudaError if there is no GPU that can be used.
  Context() {
    int count = 0;
    const cudaError_t found = cudaGetDeviceCount(&count);
    if (found != cudaSuccess || count == 0)
      throw CudaError(std::string("a Cuda tensor needs an NVIDIA GPU, but there is none: ") +
                      (found == cudaSuccess ? "0 devices" : cudaGetErrorString(found)));
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
    check(cublasCreate(&blas), "cublasCreate");
    check(cublasSetStream(blas, stream), "cublasSetStream");
    // Without memory of its own cuBLAS takes some in every recording.
    check(cudaMalloc(&blas_memory_, blas_bytes), "cudaMalloc for cuBLAS");
    check(cublasSetWorkspace(blas, blas_memory_, blas_bytes), "cublasSetWorkspace");
    check(cudnnCreate(&dnn), "cudnnCreate");
    check(cudnnSetStream(dnn, stream), "cudnnSetStream");
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  // The driver may be gone when static objects end; it frees what is left.
  ~Context() = default;

  /// Waits until everything that was asked for has been done.
  void wait() const {
    refuse_while_recording();
    check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  }

  cudaStream_t stream = nullptr;
  cublasHandle_t blas = nullptr;
  cudnnHandle_t dnn = nullptr;

 private:
  static constexpr std::size_t blas_bytes = std::size_t{32} << 20;  // as NVIDIA advises for Hopper
  void* blas_memory_ = nullptr;
};

[[nodiscard]] inline Context& context() {
  thread_local Context instance;
  return instance;
}

#else

inline constexpr bool on_gpu = false;

#endif

}  // namespace kernels::cuda
}  // namespace meanflow
