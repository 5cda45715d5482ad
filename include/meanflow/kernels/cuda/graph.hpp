// SPDX-License-Identifier: MIT
/// \file
/// Recording on a GPU: CUDA graphs. Where Thrust runs on the host nothing is recorded.
#pragma once

#include <memory>
#include <utility>

#include <meanflow/kernels/cuda/context.hpp>
#include <meanflow/kernels/cuda/memory.hpp>
#include <meanflow/kernels/recording.hpp>

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA

namespace meanflow::kernels {

namespace cuda {

/// Work of the calling thread's stream as a graph, with the memory that it uses in between, which
/// nothing else is given while the graph may be replayed.
class GraphRecorder {
 public:
  GraphRecorder() = default;
  GraphRecorder(GraphRecorder&& other) noexcept
      : graph_(std::exchange(other.graph_, nullptr)), memory_(std::move(other.memory_)) {}
  GraphRecorder& operator=(GraphRecorder&& other) noexcept {
    std::swap(graph_, other.graph_);
    std::swap(memory_, other.memory_);
    return *this;
  }
  ~GraphRecorder() { forget(); }

  /// False if f() asks for what a graph cannot do, such as numbers for the host.
  template <class F>
  [[nodiscard]] bool record(F f) {
    block_pool()->give_back();  // the graph's memory takes the place of what the work used so far
    memory_ = std::make_shared<BlockPool>();
    const cudaStream_t stream = context().stream;
    // Relaxed: the pool may ask the driver for memory meanwhile.
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
    bool whole = true;
    {
      const Recording recording(memory_);
      try {
        f();
      } catch (...) {
        whole = false;  // if there is more to it, doing the work will tell
      }
    }
    cudaGraph_t graph = nullptr;
    whole = cudaStreamEndCapture(stream, &graph) == cudaSuccess && whole;
    whole = whole && cudaGraphInstantiateWithFlags(&graph_, graph, 0) == cudaSuccess;
    if (graph) static_cast<void>(cudaGraphDestroy(graph));
    static_cast<void>(cudaGetLastError());
    if (!whole) forget();
    return whole;
  }

  void replay() { check(cudaGraphLaunch(graph_, context().stream), "cudaGraphLaunch"); }

  void forget() {
    if (graph_) static_cast<void>(cudaGraphExecDestroy(std::exchange(graph_, nullptr)));
    memory_.reset();
  }

 private:
  cudaGraphExec_t graph_ = nullptr;
  std::shared_ptr<BlockPool> memory_;
};

}  // namespace cuda

template <>
struct RecorderFor<Cuda> {
  using type = cuda::GraphRecorder;
};

}  // namespace meanflow::kernels

#endif
