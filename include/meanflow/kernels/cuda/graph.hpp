// SPDX-License-Identifier: MIT
/// \file
/// Recording on a GPU: CUDA graphs. Where Thrust runs on the host nothing is recorded.
#pragma once

#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/kernels/cuda/block_pool.hpp>
#include <meanflow/kernels/cuda/context.hpp>
#include <meanflow/kernels/recording.hpp>

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA

namespace meanflow::kernels {

namespace cuda {

/// Objects that the current recording must keep alive, such as the plans of a library; nullptr
/// while nothing is being recorded.
[[nodiscard]] inline std::vector<std::shared_ptr<const void>>*& needed_by_recording() {
  thread_local std::vector<std::shared_ptr<const void>>* needed = nullptr;
  return needed;
}

/// Records the calling thread's stream as CUDA graphs. All graphs, and the runs before they are
/// recorded, share one memory pool: they never run at the same time.
class GraphRecorder {
 public:
  static constexpr bool records = true;

  /// A graph and what it keeps alive.
  class Recording {
   public:
    Recording(cudaGraphExec_t graph, std::size_t nodes, std::shared_ptr<BlockPool> memory,
              std::vector<std::shared_ptr<const void>> needed)
        : graph_(graph), nodes_(nodes), memory_(std::move(memory)), needed_(std::move(needed)) {
      memory_->pin();
    }
    Recording(Recording&& other) noexcept
        : graph_(std::exchange(other.graph_, nullptr)),
          nodes_(other.nodes_),
          memory_(std::move(other.memory_)),
          needed_(std::move(other.needed_)) {}
    Recording& operator=(Recording&& other) noexcept {
      std::swap(graph_, other.graph_);
      std::swap(nodes_, other.nodes_);
      std::swap(memory_, other.memory_);
      std::swap(needed_, other.needed_);
      return *this;
    }
    ~Recording() {
      if (!graph_) return;
      static_cast<void>(cudaGraphExecDestroy(graph_));
      memory_->unpin();
    }

    void replay() { check(cudaGraphLaunch(graph_, context().stream), "cudaGraphLaunch"); }
    [[nodiscard]] std::size_t nodes() const { return nodes_; }

   private:
    cudaGraphExec_t graph_;
    std::size_t nodes_;
    std::shared_ptr<BlockPool> memory_;
    std::vector<std::shared_ptr<const void>> needed_;
  };

  template <class F>
  void run(F f) {
    const UsePool pool(memory());
    f();
  }

  /// Fails if f() does what a graph cannot, such as a copy to the host.
  template <class F>
  [[nodiscard]] Attempt<Recording> record(F f) {
    const UsePool pool(memory());
    std::vector<std::shared_ptr<const void>> needed;
    std::string failure;
    const cudaStream_t stream = context().stream;
    // Relaxed: the pool may ask the driver for memory meanwhile.
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
    {
      const Capture capture(needed);
      try {
        f();
      } catch (const std::exception& error) {
        failure = error.what();  // a real error appears again when the work is run
      } catch (...) {
        failure = "it throws an exception";
      }
    }
    cudaGraph_t graph = nullptr;
    note(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture", failure);
    std::size_t nodes = 0;
    cudaGraphExec_t executable = nullptr;
    if (failure.empty())
      note(cudaGraphGetNodes(graph, nullptr, &nodes), "cudaGraphGetNodes", failure);
    if (failure.empty())
      note(cudaGraphInstantiateWithFlags(&executable, graph, 0), "cudaGraphInstantiate", failure);
    if (graph) static_cast<void>(cudaGraphDestroy(graph));
    static_cast<void>(cudaGetLastError());
    if (!failure.empty()) return {std::nullopt, failure};
    return {Recording(executable, nodes, memory(), std::move(needed)), {}};
  }

  void release() {
    if (memory_) memory_->give_back();
  }

 private:
  class Capture {
   public:
    explicit Capture(std::vector<std::shared_ptr<const void>>& needed) {
      recording() = true;
      needed_by_recording() = &needed;
    }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    ~Capture() {
      recording() = false;
      needed_by_recording() = nullptr;
    }
  };

  /// Keeps the first failure, which is the cause of those that follow.
  static void note(cudaError_t status, const char* call, std::string& failure) {
    if (status != cudaSuccess && failure.empty())
      failure = std::string(call) + ": " + cudaGetErrorString(status);
  }

  [[nodiscard]] const std::shared_ptr<BlockPool>& memory() {
    if (!memory_) memory_ = std::make_shared<BlockPool>();
    return memory_;
  }

  std::shared_ptr<BlockPool> memory_;
};

}  // namespace cuda

}  // namespace meanflow::kernels

#endif
