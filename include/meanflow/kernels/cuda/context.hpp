// SPDX-License-Identifier: MIT
/// \file
/// What every kernel of the device shares: the stream that its work goes to, the handles of the
/// CUDA libraries, and errors as exceptions. Where Thrust is set to run on the host there is none
/// of it.
#pragma once

#include <atomic>
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

/// Groups of teams of which the last to finish does more than the others (`columns.hpp`).
inline constexpr std::size_t most_groups = 1024;

namespace detail {

/// The number of the GPU for threads that have not used one yet.
[[nodiscard]] inline std::atomic<int>& chosen_device() {
  static std::atomic<int> number = 0;
  return number;
}
/// Whether any thread of the process has used one, and whether the calling thread does.
[[nodiscard]] inline std::atomic<bool>& has_context() {
  static std::atomic<bool> has = false;
  return has;
}
[[nodiscard]] inline bool& has_context_of_thread() {
  thread_local bool has = false;
  return has;
}

}  // namespace detail

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
  if (recording()) throw CudaError("data cannot be copied to or from the host while recording");
}

[[nodiscard]] inline int device_count() {
  int count = 0;
  const cudaError_t found = cudaGetDeviceCount(&count);
  if (found != cudaSuccess || count == 0)
    throw CudaError(std::string("a Cuda tensor needs an NVIDIA GPU, but there is none: ") +
                    (found == cudaSuccess ? "0 devices" : cudaGetErrorString(found)));
  return count;
}

/// The stream of the calling thread and what works on it.
class Context {
 public:
  /// Throws CudaError if there is no GPU that can be used.
  Context() : device(detail::chosen_device()), first_(!detail::has_context().exchange(true)) {
    static_cast<void>(device_count());
    check(cudaSetDevice(device), "cudaSetDevice(" + std::to_string(device) + ")");
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
    check(cublasCreate(&blas), "cublasCreate");
    check(cublasSetStream(blas, stream), "cublasSetStream");
    // Without memory of its own cuBLAS takes some in every recording.
    check(cudaMalloc(&blas_memory_, blas_bytes), "cudaMalloc for cuBLAS");
    check(cublasSetWorkspace(blas, blas_memory_, blas_bytes), "cublasSetWorkspace");
    check(cudnnCreate(&dnn), "cudnnCreate");
    check(cudnnSetStream(dnn, stream), "cudnnSetStream");
    check(cudaMalloc(&finished_teams_, most_groups * sizeof(unsigned)), "cudaMalloc for counters");
    check(cudaMemsetAsync(finished_teams_, 0, most_groups * sizeof(unsigned), stream),
          "cudaMemset of counters");
    detail::has_context_of_thread() = true;
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  /// The first one, mostly the main thread's, is left to the driver: it may be gone already when
  /// the program ends.
  ~Context() {
    detail::has_context_of_thread() = false;
    if (first_) return;
    static_cast<void>(cudnnDestroy(dnn));
    static_cast<void>(cublasDestroy(blas));
    static_cast<void>(cudaFree(blas_memory_));
    static_cast<void>(cudaFree(finished_teams_));
    static_cast<void>(cudaStreamDestroy(stream));
  }

  /// Waits until all queued work is done.
  void wait() const {
    refuse_while_recording();
    check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  }

  /// Counters of `most_groups` groups of teams that are zero between launches: who makes them more
  /// makes them zero again.
  [[nodiscard]] unsigned* finished_teams() const { return static_cast<unsigned*>(finished_teams_); }

  const int device;
  cudaStream_t stream = nullptr;
  cublasHandle_t blas = nullptr;
  cudnnHandle_t dnn = nullptr;

 private:
  static constexpr std::size_t blas_bytes = std::size_t{32} << 20;  // as NVIDIA advises for Hopper
  bool first_;
  void* blas_memory_ = nullptr;
  void* finished_teams_ = nullptr;
};

[[nodiscard]] inline Context& context() {
  thread_local Context instance;
  return instance;
}

/// Waits until all work that the calling thread has queued is done.
inline void finish_work() { context().wait(); }

#else

inline constexpr bool on_gpu = false;

[[nodiscard]] inline constexpr bool recording() { return false; }
[[nodiscard]] inline std::string device_text() { return "the host in place of a GPU"; }
[[nodiscard]] inline int device_count() { return 1; }
inline void finish_work() {}

#endif

}  // namespace kernels::cuda

/// Which GPU threads use from their first work on, by its number from 0. Throws CudaError if there
/// is none of that number, or the calling thread has worked on another one already.
inline void use_cuda_device(int number) {
  namespace cuda = kernels::cuda;
  const int count = cuda::device_count();
  if (number < 0 || number >= count)
    throw CudaError("there is no GPU number " + std::to_string(number) + ": this machine has " +
                    std::to_string(count) + ", counted from 0");
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  if (cuda::detail::has_context_of_thread() && cuda::context().device != number)
    throw CudaError("this thread works on GPU number " + std::to_string(cuda::context().device) +
                    " already, and cannot switch to number " + std::to_string(number));
#endif
  cuda::detail::chosen_device() = number;
}

}  // namespace meanflow
