// SPDX-License-Identifier: MIT
/// \file
/// Convolutions by cuDNN's graph interface: the first ways that its heuristics name, of which the
/// fastest may be kept (`times_convolutions`), and types that its older functions do not mix.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/kernels/cuda/block_pool.hpp>
#include <meanflow/kernels/cuda/context.hpp>
#include <meanflow/kernels/cuda/convolution_plan.hpp>
#include <meanflow/kernels/cuda/cudnn_convolution.hpp>
#include <meanflow/kernels/cuda/memory.hpp>

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA

namespace meanflow::kernels::cuda {

/// A descriptor of the graph interface. Calls that fail are remembered: what they lead to is not
/// used, and something else does the convolution.
class GraphDescriptor {
 public:
  explicit GraphDescriptor(cudnnBackendDescriptorType_t type) {
    fine_ = cudnnBackendCreateDescriptor(type, &descriptor_) == CUDNN_STATUS_SUCCESS;
  }
  GraphDescriptor(GraphDescriptor&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, nullptr)), fine_(other.fine_) {}
  GraphDescriptor& operator=(GraphDescriptor&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    std::swap(fine_, other.fine_);
    return *this;
  }
  ~GraphDescriptor() {
    if (descriptor_) static_cast<void>(cudnnBackendDestroyDescriptor(descriptor_));
  }

  GraphDescriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                       std::size_t count, const void* values) {
    fine_ =
        fine_ && cudnnBackendSetAttribute(descriptor_, name, type, static_cast<std::int64_t>(count),
                                          values) == CUDNN_STATUS_SUCCESS;
    return *this;
  }
  GraphDescriptor& set(cudnnBackendAttributeName_t name, const GraphDescriptor& value) {
    fine_ = fine_ && value.fine_;
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.descriptor_);
  }
  GraphDescriptor& set_integers(cudnnBackendAttributeName_t name,
                                const std::vector<std::int64_t>& values) {
    return set(name, CUDNN_TYPE_INT64, values.size(), values.data());
  }
  GraphDescriptor& set_number(cudnnBackendAttributeName_t name, float value) {
    return set(name, CUDNN_TYPE_FLOAT, 1, &value);
  }
  GraphDescriptor& set(cudnnBackendAttributeName_t name, cudnnDataType_t value) {
    return set(name, CUDNN_TYPE_DATA_TYPE, 1, &value);
  }
  /// Ends its description; false if something of it went wrong.
  [[nodiscard]] bool finish() {
    fine_ = fine_ && cudnnBackendFinalize(descriptor_) == CUDNN_STATUS_SUCCESS;
    return fine_;
  }
  /// How many values, at most `count`, were written; nothing if they cannot be read.
  [[nodiscard]] std::optional<std::size_t> get(cudnnBackendAttributeName_t name,
                                               cudnnBackendAttributeType_t type, std::size_t count,
                                               void* values) const {
    std::int64_t found = 0;
    if (!fine_ ||
        cudnnBackendGetAttribute(descriptor_, name, type, static_cast<std::int64_t>(count), &found,
                                 values) != CUDNN_STATUS_SUCCESS)
      return std::nullopt;
    return std::min(count, static_cast<std::size_t>(found));
  }
  [[nodiscard]] cudnnBackendDescriptor_t get() const { return descriptor_; }

 private:
  cudnnBackendDescriptor_t descriptor_ = nullptr;
  bool fine_ = false;
};

/// A convolution as a graph of one operation.
class GraphConvolution final : public ConvolutionPlan {
 public:
  /// nullptr if the graph interface cannot do it.
  [[nodiscard]] static std::shared_ptr<const ConvolutionPlan> plan(const ConvolutionKey& key) {
    auto plan = std::make_shared<GraphConvolution>(key);
    return plan->describe() ? plan : nullptr;
  }

  explicit GraphConvolution(const ConvolutionKey& key) : key_(key) {}

  [[nodiscard]] bool run(void* x, void* y, void* weights) const override {
    const Operands operands{x, y, weights};
    for (const void* place : {x, y, weights})
      if (reinterpret_cast<std::uintptr_t>(place) % alignment != 0) return run_older(operands);
    // While work is being recorded nothing can be timed.
    if (times_convolutions() && !timed_ && !recording()) sort_by_time(operands);
    for (const Way& way : ways_)
      if (Launch(way, operands).run()) return true;
    return false;
  }

 private:
  static constexpr std::size_t most_ways = 8;
  static constexpr std::size_t alignment = 16;  // of what is read and written, in bytes
  enum Place : std::int64_t { of_x = 'x', of_y = 'y', of_weights = 'w' };
  struct Operands {
    void *x, *y, *weights;
  };
  struct Way {
    GraphDescriptor plan;
    std::size_t bytes;  // of workspace
    float milliseconds = 0;
  };

  [[nodiscard]] static std::int64_t number(std::size_t n) { return static_cast<std::int64_t>(n); }

  /// (n, c, h, w) with channels last.
  [[nodiscard]] static GraphDescriptor tensor(Place place, cudnnDataType_t type, std::size_t n,
                                              std::size_t c, std::size_t h, std::size_t w) {
    GraphDescriptor of(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    of.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type)
        .set_integers(CUDNN_ATTR_TENSOR_DIMENSIONS, {number(n), number(c), number(h), number(w)})
        .set_integers(CUDNN_ATTR_TENSOR_STRIDES, {number(h * w * c), 1, number(w * c), number(c)})
        .set_integers(CUDNN_ATTR_TENSOR_UNIQUE_ID, {place})
        .set_integers(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, {alignment});
    static_cast<void>(of.finish());
    return of;
  }

  /// Keeps a descriptor that others are made of for as long as they live.
  [[nodiscard]] const GraphDescriptor& kept(GraphDescriptor descriptor) {
    return *parts_.emplace_back(std::make_unique<GraphDescriptor>(std::move(descriptor)));
  }

  [[nodiscard]] GraphDescriptor operation() {
    const ConvShape& s = key_.shape;
    const bool rounds = key_.precision == Precision::bfloat16;
    const bool to_weights = key_.direction == Direction::backward_weights;
    const cudnnDataType_t type = rounds ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    // Sums over all pixels and rows stay in float32.
    const cudnnDataType_t of_sums = to_weights ? CUDNN_DATA_FLOAT : type;
    const auto& x = kept(tensor(of_x, type, s.rows, s.in, s.height, s.width));
    const auto& y = kept(tensor(of_y, type, s.rows, s.out, s.out_height(), s.out_width()));
    const auto& w = kept(tensor(of_weights, of_sums, s.out, s.in, s.kernel.height, s.kernel.width));
    GraphDescriptor of_convolution(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const std::vector<std::int64_t> padding{number(s.padding.height), number(s.padding.width)},
        stride(2, number(s.stride));
    of_convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
        .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode)
        .set_integers(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, {2})
        .set_integers(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, padding)
        .set_integers(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, padding)
        .set_integers(CUDNN_ATTR_CONVOLUTION_DILATIONS, {1, 1})
        .set_integers(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, stride);
    static_cast<void>(of_convolution.finish());
    const auto& convolution = kept(std::move(of_convolution));
    const OperationNames& names = names_of(key_.direction);
    GraphDescriptor op(names.operation);
    op.set_number(names.alpha, 1.0F)
        .set_number(names.beta, 0.0F)
        .set(names.convolution, convolution)
        .set(names.x, x)
        .set(names.weights, w)
        .set(names.y, y);
    return op;
  }

  /// What a direction's operation and its attributes are called.
  struct OperationNames {
    cudnnBackendDescriptorType_t operation;
    cudnnBackendAttributeName_t alpha, beta, convolution, x, weights, y;
  };
  [[nodiscard]] static const OperationNames& names_of(Direction direction) {
    static constexpr OperationNames forward{CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                                            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                                            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
                                            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                                            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                                            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                                            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y};
    static constexpr OperationNames to_data{
        CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY};
    static constexpr OperationNames to_weights{
        CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY};
    return direction == Direction::forward         ? forward
           : direction == Direction::backward_data ? to_data
                                                   : to_weights;
  }

  [[nodiscard]] bool describe() {
    const cudnnHandle_t handle = context().dnn;
    GraphDescriptor op = operation();
    if (!op.finish()) return false;
    GraphDescriptor of_op(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    of_op.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle)
        .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, kept(std::move(op)));
    if (!of_op.finish()) return false;
    const GraphDescriptor& graph = kept(std::move(of_op));
    for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK})
      for (GraphDescriptor& engine : ranked(graph, mode)) engines_.push_back(std::move(engine));
    for (const bool repeatable : {true, false}) {  // the others if nothing else works
      for (const GraphDescriptor& engine : engines_) consider(engine, repeatable);
      // Where rounding is allowed it is for the sake of the tensor cores: the older functions may
      // know how to use them.
      if (!ways_.empty()) return key_.precision == Precision::float32 || uses_tensor_cores_;
    }
    return false;
  }

  [[nodiscard]] static std::vector<GraphDescriptor> ranked(const GraphDescriptor& graph,
                                                           cudnnBackendHeurMode_t mode) {
    GraphDescriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
        .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (!heuristics.finish()) return {};
    std::vector<GraphDescriptor> engines;
    std::array<cudnnBackendDescriptor_t, 2 * most_ways> handles{};
    for (auto& handle : handles)
      handle = engines.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get();
    const std::size_t found = heuristics
                                  .get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                       handles.size(), handles.data())
                                  .value_or(0);
    engines.erase(engines.begin() + static_cast<std::ptrdiff_t>(found), engines.end());
    return engines;
  }

  /// What cuDNN notes of an engine; nothing if that cannot be read.
  [[nodiscard]] static std::optional<std::vector<cudnnBackendNumericalNote_t>> notes_of(
      const GraphDescriptor& configuration) {
    GraphDescriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    cudnnBackendDescriptor_t handle = engine.get();
    if (!configuration.get(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &handle))
      return std::nullopt;
    std::vector<cudnnBackendNumericalNote_t> notes(CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
    const auto count = engine.get(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                  notes.size(), notes.data());
    if (!count) return std::nullopt;
    notes.resize(*count);
    return notes;
  }

  /// Takes the engine if it rounds no more than the precision allows, and adds in the same order
  /// every time or not, as is asked for.
  void consider(const GraphDescriptor& engine, bool repeatable) {
    const auto notes = notes_of(engine);
    if (!notes || ways_.size() == most_ways) return;
    const auto has = [&](cudnnBackendNumericalNote_t note) {
      return std::find(notes->begin(), notes->end(), note) != notes->end();
    };
    const bool tensor_cores = has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
    if (repeatable == has(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) return;
    if (has(CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)) return;
    if (key_.precision != Precision::bfloat16 && has(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS))
      return;
    if (key_.precision == Precision::float32 && tensor_cores) return;
    const std::size_t before = ways_.size();
    add_way(engine);
    if (ways_.size() > before && tensor_cores) uses_tensor_cores_ = true;
  }

  void add_way(const GraphDescriptor& engine) {
    const cudnnHandle_t handle = context().dnn;
    GraphDescriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle)
        .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, engine);
    if (!plan.finish()) return;
    std::int64_t bytes = 0;
    if (!plan.get(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &bytes)) return;
    ways_.push_back({std::move(plan), static_cast<std::size_t>(bytes)});
  }

  /// A way with its operands and its workspace.
  class Launch {
   public:
    Launch(const Way& way, const Operands& operands)
        : way_(way), workspace_(way.bytes), arguments_(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR) {
      void* const memory = workspace_.data();
      const std::array<void*, 3> pointers{operands.x, operands.y, operands.weights};
      const std::array<std::int64_t, 3> places{of_x, of_y, of_weights};
      arguments_
          .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, pointers.size(),
               pointers.data())
          .set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, places.size(), places.data())
          .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &memory);
      fine_ = arguments_.finish();
    }
    [[nodiscard]] bool run() const {
      return fine_ && cudnnBackendExecute(context().dnn, way_.plan.get(), arguments_.get()) ==
                          CUDNN_STATUS_SUCCESS;
    }

   private:
    const Way& way_;
    Scratch<std::byte> workspace_;
    GraphDescriptor arguments_;
    bool fine_ = false;
  };

  /// By the older functions, which want no alignment; not to weights in bfloat16, which they would
  /// round.
  [[nodiscard]] bool run_older(const Operands& operands) const {
    if (key_.direction == Direction::backward_weights && key_.precision == Precision::bfloat16)
      return false;
    if (!older_) older_ = Convolution::plan(key_);
    return older_ && older_->run(operands.x, operands.y, operands.weights);
  }

  void sort_by_time(const Operands& operands) const {
    timed_ = true;
    if (ways_.size() < 2) return;
    const UsePool apart(std::make_shared<BlockPool>());  // the losers' workspaces are given back
    for (Way& way : ways_) way.milliseconds = time_of(way, operands);
    std::stable_sort(ways_.begin(), ways_.end(),
                     [](const Way& a, const Way& b) { return a.milliseconds < b.milliseconds; });
  }

  /// Infinite if it does not work, for want of memory too.
  [[nodiscard]] static float time_of(const Way& way, const Operands& operands) {
    constexpr int rounds = 3;
    constexpr float never = std::numeric_limits<float>::infinity();
    const cudaStream_t stream = context().stream;
    const Event begin, end;
    try {
      const Launch launch(way, operands);
      if (!launch.run()) return never;  // loads what it needs
      check(cudaEventRecord(begin.get(), stream), "cudaEventRecord");
      for (int round = 0; round < rounds; ++round)
        if (!launch.run()) return never;
      check(cudaEventRecord(end.get(), stream), "cudaEventRecord");
      check(cudaEventSynchronize(end.get()), "cudaEventSynchronize");
    } catch (const OutOfMemoryError&) {
      return never;
    }
    float time = never;
    check(cudaEventElapsedTime(&time, begin.get(), end.get()), "cudaEventElapsedTime");
    return time / rounds;
  }

  class Event {
   public:
    Event() { check(cudaEventCreate(&event_), "cudaEventCreate"); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    ~Event() { static_cast<void>(cudaEventDestroy(event_)); }
    [[nodiscard]] cudaEvent_t get() const { return event_; }

   private:
    cudaEvent_t event_ = nullptr;
  };

  ConvolutionKey key_;
  std::vector<std::unique_ptr<GraphDescriptor>> parts_;
  std::vector<GraphDescriptor> engines_;
  mutable std::vector<Way> ways_;  // the best first
  mutable std::shared_ptr<const ConvolutionPlan> older_;
  mutable bool timed_ = false;
  bool uses_tensor_cores_ = false;
};

}  // namespace meanflow::kernels::cuda

#endif
