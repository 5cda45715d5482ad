// SPDX-License-Identifier: MIT
/// \file
/// What follows the backward pass: clipping, the optimizer and the averages.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/kernels/reference/shapes.hpp>
#include <meanflow/optim/ema.hpp>
#include <meanflow/optim/optimizer.hpp>
#include <meanflow/tensor/transfer.hpp>

namespace meanflow {

namespace detail {

/// average += share (p - average), if the squared norm is finite.
template <class T>
struct AverageStep {
  using value_type = T;
  const T* share;
  const double* squared_norm;
  const T* parameters;
  T* average;

  struct Elements {
    T share;
    bool updates;
    const T* parameters;
    T* average;

    template <class At>
    MEANFLOW_HOST_DEVICE void operator()(At at) const {
      const auto old = at.load(average);
      if (updates) at.store(average, old + share * (at.load(parameters) - old));
    }
  };
  MEANFLOW_HOST_DEVICE Elements operator()(std::size_t /*row*/) const {
    return {*share, is_finite(*squared_norm), parameters, average};
  }
};

/// Elements of flat buffers that are worked on together: on the host so many that they stay in
/// cache from one pass to the next.
template <class Device>
[[nodiscard]] constexpr std::size_t chunk_elements(std::size_t size) {
  return on_host<Device> ? 8192 : std::max<std::size_t>(size, 1);
}

/// f(begin, size) for every chunk of the flat buffers, on all cores.
template <class Device, class F>
void for_each_chunk(std::size_t size, F f) {
  const std::size_t chunk = chunk_elements<Device>(size), chunks = (size + chunk - 1) / chunk;
  parallel_for(Device{}, chunks, 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) f(i * chunk, std::min(chunk, size - i * chunk));
  });
}

}  // namespace detail

/// The state of an optimizer and of the averages, and the step that changes them. What changes from
/// step to step is written first (`prepare`) to where the device reads it, so that `apply` can be
/// recorded.
template <class O, class T, class Device>
  requires Optimizer<O, T, Device>
class ParameterUpdate {
 public:
  using Values = Tensor<T, Device>;

  /// Throws SettingError if the optimizer, a group or an average is invalid.
  ParameterUpdate(const Parameters<T, Device>& parameters, O optimizer,
                  std::vector<ParameterGroup> groups = {}, std::vector<Averaging> averages = {})
      : optimizer_(std::move(optimizer)), groups_(std::move(groups)), rules_(std::move(averages)) {
    if constexpr (requires { optimizer_.check(); }) optimizer_.check();
    for (const Averaging& rule : rules_) check(rule);
    for (std::size_t k = 0; k < O::state.size(); ++k)
      state_.push_back(Values::zeros({parameters.flat_size()}));
    for (std::size_t k = 0; k < rules_.size(); ++k)
      averages_.push_back(parameters.values().clone());
    sort_into_groups(parameters);
    numbers_ = Tensor<Numbers, Device>({groups_.size() + 1});
    host_numbers_.resize(groups_.size() + 1);
    if (!rules_.empty()) shares_ = Values({rules_.size()});
    host_shares_.resize(rules_.size());
  }

  /// Writes the numbers of step `step` (from 0) of a batch of `batch` rows.
  void prepare(double learning_rate, std::uint64_t step, std::size_t batch) {
    for (std::size_t g = 0; g <= groups_.size(); ++g) {
      StepRates rates{.learning_rate = learning_rate, .count = step + 1};
      if (g < groups_.size()) {
        rates.learning_rate *= groups_[g].rate_scale;
        rates.decay_scale = groups_[g].decay_scale;
      }
      host_numbers_[g] = optimizer_.template numbers<T>(rates);
    }
    write(numbers_, host_numbers_.data());
    for (std::size_t k = 0; k < rules_.size(); ++k)
      host_shares_[k] = static_cast<T>(1 - decay_at(rules_[k], step, batch));
    if (!rules_.empty()) write(shares_, host_shares_.data());
  }

  /// Updates parameters, state and averages; nothing if the gradient's norm is not finite.
  void apply(const Parameters<T, Device>& parameters, const GradientView<T, Device>& gradient) {
    T* const values = parameters.values().data();
    const std::size_t size = parameters.flat_size();
    if constexpr (!ElementwiseOptimizer<O, T>)
      optimizer_.update_all(UpdateWork<O, T, Device>{parameters, gradient, state_, numbers_.data(),
                                                     group_of_entry_, frozen_});
    detail::for_each_chunk<Device>(size, [&](std::size_t begin, std::size_t count) {
      if constexpr (ElementwiseOptimizer<O, T>)
        update_elements<O>(begin, count, gradient, numbers_.data(), group_of_block_.data(),
                           std::span<Values>(state_), values);
      for (std::size_t k = 0; k < averages_.size(); ++k)
        for_each_in_rows(Device{}, 1, count,
                         detail::AverageStep<T>{shares_.data() + k, gradient.squared_norm,
                                                values + begin, averages_[k].data() + begin});
    });
  }

  /// All of it for a custom training loop: one step along `gradient`, clipped to `clip_norm`
  /// (0: any norm). Steps are counted from the first call.
  /// Gives the norm of the gradient; if it is not finite, nothing has changed.
  double step(const Parameters<T, Device>& parameters, const Values& gradient, double learning_rate,
              double clip_norm = 0) {
    if (gradient.size() != parameters.flat_size())
      throw_shape_error("ParameterUpdate::step", gradient.shape(), parameters.values().shape(),
                        "the gradient must be as large as the parameters");
    prepare(learning_rate, steps_, 1);
    Tensor<double, Device> squared({1});
    squared_norm(Device{}, gradient.size(), gradient.data(), squared.data());
    apply(parameters, {gradient.data(), squared.data(), clip_norm});
    const double norm = std::sqrt(to_host(squared)[0]);
    if (std::isfinite(norm)) ++steps_;
    return norm;
  }

  [[nodiscard]] const std::vector<Values>& state() const { return state_; }
  [[nodiscard]] const std::vector<Values>& averages() const { return averages_; }
  /// Whether each parameter is frozen, in the order of the entries.
  [[nodiscard]] const std::shared_ptr<const std::vector<bool>>& frozen_entries() const {
    return frozen_entries_;
  }
  /// Where the device reads what changes from step to step.
  [[nodiscard]] const void* numbers() const { return numbers_.data(); }

 private:
  using Numbers = typename O::template Numbers<T>;

  /// Parameters that no group contains are in one of their own, the last.
  void sort_into_groups(const Parameters<T, Device>& parameters) {
    if (groups_.size() > 254)
      throw SettingError("there are " + std::to_string(groups_.size()) +
                         " groups of parameters, but at most 254 are possible");
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      if (!groups_[g].contains)
        throw SettingError("groups[" + std::to_string(g) +
                           "]: contains is empty, but must be a function of a ParameterEntry");
      frozen_.push_back(groups_[g].frozen);
    }
    frozen_.push_back(false);
    std::vector<std::uint8_t> blocks(parameters.flat_size() / detail::group_block,
                                     static_cast<std::uint8_t>(groups_.size()));
    std::vector<bool> frozen;
    for (const ParameterEntry& entry : parameters.entries()) {
      const auto group = static_cast<std::uint8_t>(
          std::find_if(groups_.begin(), groups_.end(),
                       [&](const ParameterGroup& g) { return g.contains(entry); }) -
          groups_.begin());
      group_of_entry_.push_back(group);
      frozen.push_back(frozen_[group] != 0);
      const std::size_t first = entry.offset / detail::group_block;
      const std::size_t last =
          (entry.offset + entry.shape.size() + detail::group_block - 1) / detail::group_block;
      std::fill(blocks.begin() + static_cast<std::ptrdiff_t>(first),
                blocks.begin() + static_cast<std::ptrdiff_t>(last),
                frozen_[group] ? detail::frozen_group : group);
    }
    frozen_entries_ = std::make_shared<const std::vector<bool>>(std::move(frozen));
    if (!groups_.empty())
      group_of_block_ = Tensor<std::uint8_t, Device>::from({blocks.size()}, blocks);
  }

  O optimizer_;
  std::vector<ParameterGroup> groups_;
  std::vector<Averaging> rules_;
  std::vector<Values> state_, averages_;
  std::vector<std::uint8_t> group_of_entry_;
  std::vector<std::uint8_t> frozen_;
  std::shared_ptr<const std::vector<bool>> frozen_entries_;
  Tensor<std::uint8_t, Device> group_of_block_;  // empty without groups
  Tensor<Numbers, Device> numbers_;
  Values shares_;
  std::vector<Numbers> host_numbers_;
  std::vector<T> host_shares_;
  std::uint64_t steps_ = 0;  // of `step`
};

}  // namespace meanflow
