// SPDX-License-Identifier: MIT
/// \file
/// Reverse mode: a tape of what was computed, and the backward pass over the values alone. Tangents
/// ride along in a `DualTensor`, but are never differentiated: in MeanFlow they stand behind a
/// stop-gradient.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include <meanflow/autodiff/parameters.hpp>
#include <meanflow/tensor/dual_tensor.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

namespace detail {

/// Memory handed out front to back and reclaimed all at once; its chunks are kept.
class Arena {
 public:
  void* allocate(std::size_t bytes) {
    bytes = (bytes + alignof(std::max_align_t) - 1) / alignof(std::max_align_t) *
            alignof(std::max_align_t);
    while (chunk_ < chunks_.size() && used_ + bytes > chunks_[chunk_].size) {
      ++chunk_;
      used_ = 0;
    }
    if (chunk_ == chunks_.size()) {
      const std::size_t size = bytes > chunk_bytes ? bytes : chunk_bytes;
      chunks_.push_back({std::make_unique<std::byte[]>(size), size});
      used_ = 0;
    }
    void* memory = chunks_[chunk_].memory.get() + used_;
    used_ += bytes;
    return memory;
  }
  void reset() { chunk_ = used_ = 0; }

 private:
  static constexpr std::size_t chunk_bytes = 1 << 14;
  struct Chunk {
    std::unique_ptr<std::byte[]> memory;
    std::size_t size;
  };
  std::vector<Chunk> chunks_;
  std::size_t chunk_ = 0, used_ = 0;
};

}  // namespace detail

/// Records operations and runs their backward rules in reverse. Use one tape per thread, and the
/// same one for every step: its memory is kept, so that later steps allocate nothing.
template <class T, class Device = Cpu>
class Tape {
 public:
  using Values = Tensor<T, Device>;
  static constexpr std::size_t no_node = static_cast<std::size_t>(-1);

  Tape() = default;
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;
  ~Tape() { clear(); }

  /// From now on gradients of these parameters are added to `gradient` (one flat buffer, laid out
  /// as the parameters are). Parameters that are not bound are constants, and so are those that
  /// `frozen`, in the order of the entries, says are.
  void bind(const Parameters<T, Device>& parameters, Values gradient,
            std::shared_ptr<const std::vector<bool>> frozen = nullptr) {
    if (gradient.size() != parameters.flat_size())
      throw_shape_error("Tape::bind", gradient.shape(), parameters.values().shape(),
                        "the gradient must be as large as the parameters");
    owner_ = parameters.owner();
    parameter_gradient_ = std::move(gradient);
    frozen_ = std::move(frozen);
  }

  /// Where the gradient of `parameter` is added, or null if it is a constant. To be asked for
  /// before the operation that adds to it is recorded, so that `complete_at` knows of it.
  [[nodiscard]] T* gradient_of(const Parameter<T, Device>& parameter) {
    if (parameter.empty() || parameter.owner() != owner_) return nullptr;
    if (frozen_ && (*frozen_)[parameter.index()]) return nullptr;
    if (passed_ && !runs_back_) remember_use(parameter.index());
    return parameter_gradient_.data() + parameter.offset();
  }

  /// In backward passes from now on, calls passed(tape) after each operation: then the gradients of
  /// some parameters may be complete (`complete_at`). None: no longer.
  void watch(std::function<void(Tape&)> passed) { passed_ = std::move(passed); }

  /// How many operations are left on a watched tape when nothing adds to the gradient of that
  /// parameter any more: those recorded before the first one that uses it.
  [[nodiscard]] std::size_t complete_at(std::size_t parameter) const {
    if (frozen_ && (*frozen_)[parameter]) return no_node;
    const bool used = parameter < first_use_.size() && first_use_[parameter] != no_node;
    return used ? std::min(first_use_[parameter], first_unknown_) : 0;
  }
  /// An operation that is recorded next will use parameters that it has not asked for.
  void use_unknown() { first_unknown_ = std::min(first_unknown_, operations_.size()); }

  /// A new slot for the gradient of a value.
  [[nodiscard]] std::size_t new_node() {
    gradients_.emplace_back();
    return gradients_.size() - 1;
  }

  /// Remembers `backward(tape)`, to be called in the backward pass. It may own tensors; they are
  /// released as soon as it has run.
  template <class Backward>
  void record(Backward&& backward) {
    using Stored = std::decay_t<Backward>;
    void* memory = arena_.allocate(sizeof(Stored));
    new (memory) Stored(std::forward<Backward>(backward));
    operations_.push_back({memory,
                           [](void* object, Tape& tape) { (*static_cast<Stored*>(object))(tape); },
                           [](void* object) { static_cast<Stored*>(object)->~Stored(); }});
  }

  /// Adds to the gradient of a node; the first addition takes over the tensor itself.
  void add_gradient(std::size_t node, Values gradient) {
    if (node == no_node) return;
    Values& sum = gradients_[node];
    if (sum.empty()) {
      sum = std::move(gradient);
      return;
    }
    if (!sum.unique()) sum = sum.clone();
    accumulate(Device{}, sum.size(), gradient.data(), sum.data());
  }

  /// Moves the gradient of a node out; empty if nothing depends on it.
  [[nodiscard]] Values take_gradient(std::size_t node) {
    return node == no_node ? Values{} : std::exchange(gradients_[node], Values{});
  }

  /// The same if nobody else holds it, for an operation that adds to it itself and gives the sum
  /// back by `add_gradient`; empty otherwise.
  [[nodiscard]] Values take_own_gradient(std::size_t node) {
    if (node == no_node || gradients_[node].empty() || !gradients_[node].unique()) return {};
    return take_gradient(node);
  }

  /// Runs the tape backwards from `node`, whose gradient is `gradient`, then forgets what was
  /// recorded. Gradients of nodes that nothing consumes (inputs) stay until `clear`.
  void backward(std::size_t node, Values gradient) {
    add_gradient(node, std::move(gradient));
    backward();
  }

  /// The same from all nodes whose gradients have been added.
  void backward() {
    runs_back_ = true;
    while (!operations_.empty()) {
      const Operation operation = operations_.back();
      operations_.pop_back();
      const Destroy destroy{operation};
      operation.run(operation.object, *this);
      if (passed_) passed_(*this);
    }
    arena_.reset();
    forget_uses();
    runs_back_ = false;
  }

  /// Forgets everything recorded and all gradients of nodes; keeps the memory.
  void clear() {
    for (; !operations_.empty(); operations_.pop_back())
      operations_.back().destroy(operations_.back().object);
    gradients_.clear();
    arena_.reset();
    forget_uses();
    runs_back_ = false;
    if (nested_) nested_->clear();
  }

  /// Whether gradients of parameters are wanted.
  [[nodiscard]] bool bound() const { return owner_ != nullptr; }

  /// A tape for a part of what is recorded here that is computed again in the backward pass; it
  /// adds to the same gradient of the parameters; call `use_unknown` before the operation that does
  /// is recorded. Its memory is kept as well.
  [[nodiscard]] Tape& nested() {
    if (!nested_) nested_ = std::make_unique<Tape>();
    nested_->owner_ = owner_;
    nested_->parameter_gradient_ = parameter_gradient_;
    nested_->frozen_ = frozen_;
    return *nested_;
  }

  /// The number of operations on the tape.
  [[nodiscard]] std::size_t size() const { return operations_.size(); }

 private:
  struct Operation {
    void* object;
    void (*run)(void*, Tape&);
    void (*destroy)(void*);
  };
  struct Destroy {
    Operation operation;
    ~Destroy() { operation.destroy(operation.object); }
  };

  void remember_use(std::size_t parameter) {
    if (first_use_.size() <= parameter) first_use_.resize(parameter + 1, no_node);
    if (first_use_[parameter] == no_node) first_use_[parameter] = operations_.size();
  }
  void forget_uses() {
    std::fill(first_use_.begin(), first_use_.end(), no_node);
    first_unknown_ = no_node;
  }

  std::vector<Operation> operations_;
  std::function<void(Tape&)> passed_;
  std::vector<std::size_t> first_use_;  // by parameter, the operation; of watched tapes
  std::size_t first_unknown_ = no_node;
  bool runs_back_ = false;
  std::vector<Values> gradients_;
  detail::Arena arena_;
  const void* owner_ = nullptr;
  Values parameter_gradient_;
  std::shared_ptr<const std::vector<bool>> frozen_;
  std::unique_ptr<Tape> nested_;
};

/// A value (a `Tensor` or a `DualTensor`) whose backward pass is recorded on a tape. Its gradient,
/// like the backward rules, concerns the values, never the tangents.
template <class X>
class Var {
 public:
  using value_type = typename X::value_type;
  using device_type = typename X::device_type;
  using Tape = meanflow::Tape<value_type, device_type>;

  Var() = default;
  /// A constant: nothing is recorded for it.
  Var(Tape& tape, X value) : value_(std::move(value)), tape_(&tape) {}
  Var(Tape& tape, X value, std::size_t node)
      : value_(std::move(value)), tape_(&tape), node_(node) {}

  [[nodiscard]] const X& value() const { return value_; }
  [[nodiscard]] Shape shape() const { return value_.shape(); }
  [[nodiscard]] std::size_t rows() const { return value_.rows(); }
  [[nodiscard]] Tape& tape() const { return *tape_; }
  [[nodiscard]] std::size_t node() const { return node_; }
  [[nodiscard]] bool constant() const { return node_ == Tape::no_node; }

 private:
  X value_;
  Tape* tape_ = nullptr;
  std::size_t node_ = Tape::no_node;
};

/// A value whose gradient is wanted: an input to differentiate by.
template <class X>
[[nodiscard]] Var<X> variable(typename Var<X>::Tape& tape, X value) {
  return {tape, std::move(value), tape.new_node()};
}

}  // namespace meanflow
