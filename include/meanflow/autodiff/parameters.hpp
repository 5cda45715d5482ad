// SPDX-License-Identifier: MIT
/// \file
/// The parameters of a net: named parts of one flat buffer. Optimizer, averages, clipping, exchange
/// between machines and checkpoints are then single passes over flat memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/autodiff/undrawn.hpp>
#include <meanflow/error.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Name, shape and place of one parameter in the flat buffer.
struct ParameterEntry {
  std::string name;
  Shape shape;
  std::size_t offset;
};

namespace detail {

template <class T, class Device>
struct ParameterStore {
  std::vector<ParameterEntry> entries;
  Tensor<T, Device> memory;  // grows by doubling while a net is built
  Tensor<T, Device> values;  // its used part, unless other values are swapped in
  std::uint64_t seed = 0;
};

/// Values that the calling thread reads instead of those of one store.
template <class T, class Device>
struct ThreadValues {
  const ParameterStore<T, Device>* store = nullptr;
  T* values = nullptr;
};
template <class T, class Device>
constinit inline thread_local ThreadValues<T, Device> thread_values{};

}  // namespace detail

/// One named part of a `Parameters` buffer, as a layer holds it. It reads through the buffer, so it
/// sees values that are swapped in later.
template <class T, class Device = Cpu>
class Parameter {
 public:
  using value_type = T;
  using device_type = Device;

  Parameter() = default;
  Parameter(std::shared_ptr<detail::ParameterStore<T, Device>> store, std::size_t index)
      : store_(std::move(store)),
        index_(index),
        shape_(store_->entries[index].shape),
        offset_(store_->entries[index].offset) {}

  [[nodiscard]] bool empty() const { return store_ == nullptr; }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] std::size_t size() const { return shape_.size(); }
  [[nodiscard]] std::size_t offset() const { return offset_; }
  [[nodiscard]] std::size_t index() const { return index_; }
  [[nodiscard]] const std::string& name() const { return store_->entries[index_].name; }
  [[nodiscard]] T* data() const {
    const auto& own = detail::thread_values<T, Device>;
    return (own.store == store_.get() ? own.values : store_->values.data()) + offset_;
  }
  [[nodiscard]] Tensor<T, Device> tensor() const {
    return Tensor<T, Device>::borrow(data(), shape_);
  }
  [[nodiscard]] std::uint64_t seed() const { return store_->seed; }
  /// Identifies the buffer that this parameter is part of.
  [[nodiscard]] const void* owner() const { return store_.get(); }

 private:
  std::shared_ptr<detail::ParameterStore<T, Device>> store_;
  std::size_t index_ = 0;
  Shape shape_;
  std::size_t offset_ = 0;
};

/// The flat buffer and the table of what is where. A handle: copies share the buffer, and so does
/// a copy of a net that holds it.
template <class T = float, class Device = Cpu>
class Parameters {
 public:
  using value_type = T;
  using device_type = Device;

  /// `seed` determines the initial values that layers draw.
  explicit Parameters(std::uint64_t seed = 0)
      : store_(std::make_shared<detail::ParameterStore<T, Device>>()) {
    store_->seed = seed;
  }

  /// Adds a parameter of zeros. Names are unique; PyTorch's "layers.0.weight" by convention.
  Parameter<T, Device> add(const std::string& name, const Shape& shape) {
    for (const ParameterEntry& entry : entries())
      if (entry.name == name) throw Error("Parameters: there is already a parameter " + name);
    const std::size_t offset = flat_size();
    const std::size_t end = (offset + shape.size() + alignment - 1) / alignment * alignment;
    grow(offset, end);
    store_->entries.push_back({name, shape, offset});
    return {store_, store_->entries.size() - 1};
  }

  [[nodiscard]] const std::vector<ParameterEntry>& entries() const { return store_->entries; }
  [[nodiscard]] std::uint64_t seed() const { return store_->seed; }

  /// All values in one piece. Every parameter starts at a cache line; what lies between is zero.
  [[nodiscard]] Tensor<T, Device> values() const { return store_->values; }
  [[nodiscard]] std::size_t flat_size() const { return store_->values.size(); }

  /// The number of parameters in the usual sense, without the gaps.
  [[nodiscard]] std::size_t count() const {
    std::size_t sum = 0;
    for (const ParameterEntry& entry : entries()) sum += entry.shape.size();
    return sum;
  }

  [[nodiscard]] Parameter<T, Device> operator[](std::size_t index) const { return {store_, index}; }

  /// The parameter of that name; throws Error if there is none.
  [[nodiscard]] Parameter<T, Device> operator[](const std::string& name) const {
    for (std::size_t index = 0; index < entries().size(); ++index)
      if (entries()[index].name == name) return {store_, index};
    throw Error("Parameters: there is no parameter " + name);
  }

  /// Copies `values` over those of the buffer, which every copy of the net sees.
  void assign(const Tensor<T, Device>& values) const {
    if (values.size() != flat_size())
      throw_shape_error("Parameters::assign", values.shape(), store_->values.shape(),
                        "sizes differ");
    Memory::copy(values.size() * sizeof(T), values.data(), store_->values.data());
  }

  /// Exchanges the buffer for another of the same size and returns the old one.
  Tensor<T, Device> swap(Tensor<T, Device> values) {
    if (values.size() != flat_size())
      throw_shape_error("Parameters::swap", values.shape(), store_->values.shape(), "sizes differ");
    return std::exchange(store_->values, std::move(values));
  }

  [[nodiscard]] const void* owner() const { return store_.get(); }

 private:
  using Memory = device_traits<Device>;
  static constexpr std::size_t alignment = 16;

  /// Makes room up to `end`, keeping its contents; the new part is zero. Room grows by doubling,
  /// and its unused part is never touched.
  void grow(std::size_t size, std::size_t end) const {
    const bool own = size == 0 || store_->values.data() == store_->memory.data();
    if (!own || end > store_->memory.size()) {
      Tensor<T, Device> memory({std::max(end, 2 * store_->memory.size())});
      if (!detail::undrawn()) Memory::copy(size * sizeof(T), store_->values.data(), memory.data());
      store_->memory = memory;
    }
    store_->values = store_->memory.rows(0, end);
    if (detail::undrawn()) return;
    Memory::zero((end - size) * sizeof(T), store_->values.data() + size);
  }

  std::shared_ptr<detail::ParameterStore<T, Device>> store_;
};

/// Lets a net compute with other values, for example an average of them, while it is in scope.
template <class T, class Device>
class UseValues {
 public:
  UseValues(Parameters<T, Device> parameters, const Tensor<T, Device>& values)
      : parameters_(std::move(parameters)), saved_(parameters_.swap(values)) {}
  UseValues(const UseValues&) = delete;
  UseValues& operator=(const UseValues&) = delete;
  ~UseValues() { parameters_.swap(saved_); }

 private:
  Parameters<T, Device> parameters_;
  Tensor<T, Device> saved_;
};

/// Lets the calling thread alone compute with other values while it is in scope: a teacher within
/// an objective, whose tiles run on several threads. Nothing computed this way may be recorded on a
/// tape.
template <class T, class Device>
class Teacher {
 public:
  Teacher(const Parameters<T, Device>& parameters, Tensor<T, Device> values)
      : saved_(detail::thread_values<T, Device>) {
    if (values.size() != parameters.flat_size())
      throw_shape_error("Teacher", values.shape(), parameters.values().shape(), "sizes differ");
    detail::thread_values<T, Device> = {
        static_cast<const detail::ParameterStore<T, Device>*>(parameters.owner()), values.data()};
  }
  Teacher(const Teacher&) = delete;
  Teacher& operator=(const Teacher&) = delete;
  ~Teacher() { detail::thread_values<T, Device> = saved_; }

 private:
  detail::ThreadValues<T, Device> saved_;
};

}  // namespace meanflow
