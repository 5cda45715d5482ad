// SPDX-License-Identifier: MIT
/// \file
/// What follows the backward pass: clipping, the optimizer and the averages.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/kernels/reference/shapes.hpp>
#include <meanflow/optim/ema.hpp>
#include <meanflow/optim/optimizer.hpp>
#include <meanflow/tensor/transfer.hpp>

namespace meanflow {

/// Elements [begin, end) of flat buffers.
struct FlatRange {
  std::size_t begin = 0, end = 0;

  [[nodiscard]] std::size_t size() const { return end - begin; }
};

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

/// f(begin, size) for every chunk of that part of the flat buffers, on all cores.
template <class Device, class F>
void for_each_chunk(const FlatRange& range, F f) {
  const std::size_t chunk = chunk_elements<Device>(range.size());
  parallel_for(Device{}, (range.size() + chunk - 1) / chunk, 1,
               [&](std::size_t first, std::size_t last) {
                 for (std::size_t i = first; i < last; ++i) {
                   const std::size_t begin = range.begin + i * chunk;
                   f(begin, std::min(chunk, range.end - begin));
                 }
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

  /// Updates the parameters in `range` alone, whose bounds are multiples of 16 or the end, and has
  /// a state for those alone; without a range all of them. Throws SettingError if the optimizer, a
  /// group or an average is invalid, or if it is to update a part, but works on whole tensors.
  ParameterUpdate(const Parameters<T, Device>& parameters, O optimizer,
                  std::vector<ParameterGroup> groups = {}, std::vector<Averaging> averages = {},
                  std::optional<FlatRange> range = {})
      : optimizer_(std::move(optimizer)),
        groups_(std::move(groups)),
        rules_(std::move(averages)),
        is_part_(range.has_value()),
        range_(range.value_or(FlatRange{0, parameters.flat_size()})) {
    if constexpr (requires { optimizer_.check(); }) optimizer_.check();
    if (!ElementwiseOptimizer<O, T> && is_part_)
      throw SettingError(
          "this optimizer works on whole tensors, and its state cannot be sharded: choose one that "
          "works element by element, such as Adam");
    for (const Averaging& rule : rules_) check(rule);
    for (std::size_t k = 0; k < O::state.size(); ++k)
      state_.push_back(Values::zeros({range_.size()}));
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

  /// Updates parameters, state and averages; nothing if the gradient's norm is not finite. With a
  /// range, gather() has to bring the other parameters, and is called between the update and the
  /// averages.
  template <class F>
  void apply(const Parameters<T, Device>& parameters, const GradientView<T, Device>& gradient,
             F gather) {
    if constexpr (!ElementwiseOptimizer<O, T>)
      optimizer_.update_all(UpdateWork<O, T, Device>{parameters, gradient, state_, numbers_.data(),
                                                     group_of_entry_, frozen_});
    const FlatRange all{0, parameters.flat_size()};
    if (!is_part_) {
      detail::for_each_chunk<Device>(all, [&](std::size_t begin, std::size_t count) {
        const std::size_t done = update(parameters, gradient, begin, count, averages_);
        average(parameters, gradient, begin, count, done);
      });
      return;
    }
    detail::for_each_chunk<Device>(range_, [&](std::size_t begin, std::size_t count) {
      update(parameters, gradient, begin, count, {});
    });
    gather();
    if (averages_.empty()) return;
    detail::for_each_chunk<Device>(all, [&](std::size_t begin, std::size_t count) {
      average(parameters, gradient, begin, count, 0);
    });
  }

  void apply(const Parameters<T, Device>& parameters, const GradientView<T, Device>& gradient) {
    refuse_part("apply without gather()");
    apply(parameters, gradient, [] {});
  }

  /// All of it for a custom training loop: one step along `gradient`, clipped to `clip_norm`
  /// (0: any norm). Steps are counted from the first call.
  /// Gives the norm of the gradient; if it is not finite, nothing has changed.
  double step(const Parameters<T, Device>& parameters, const Values& gradient, double learning_rate,
              double clip_norm = 0) {
    refuse_part("step");
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

  /// Of the parameters in `range()`.
  [[nodiscard]] const std::vector<Values>& state() const { return state_; }
  [[nodiscard]] const FlatRange& range() const { return range_; }
  [[nodiscard]] const std::vector<Values>& averages() const { return averages_; }
  /// Whether each parameter is frozen, in the order of the entries.
  [[nodiscard]] const std::shared_ptr<const std::vector<bool>>& frozen_entries() const {
    return frozen_entries_;
  }
  /// Where the device reads what changes from step to step.
  [[nodiscard]] const void* numbers() const { return numbers_.data(); }

 private:
  using Numbers = typename O::template Numbers<T>;

  void refuse_part(const char* what) const {
    if (is_part_)
      throw SettingError(std::string("ParameterUpdate: ") + what +
                         " is for all parameters, but this one updates a part of them");
  }

  /// Gives the number of averages that it has taken along.
  std::size_t update(const Parameters<T, Device>& parameters,
                     const GradientView<T, Device>& gradient, std::size_t begin, std::size_t count,
                     std::span<Values> averages) {
    if constexpr (ElementwiseOptimizer<O, T>) {
      update_elements<O>(begin, count, gradient, numbers_.data(), group_of_block_.data(),
                         std::span<Values>(state_), parameters.values().data(), range_.begin,
                         averages, static_cast<const T*>(shares_.data()));
      return std::min(averages.size(), detail::averages_on_the_way);
    } else {
      return 0;
    }
  }
  /// The averages from number `first` on.
  void average(const Parameters<T, Device>& parameters, const GradientView<T, Device>& gradient,
               std::size_t begin, std::size_t count, std::size_t first) {
    for (std::size_t k = first; k < averages_.size(); ++k)
      for_each_in_rows(
          Device{}, 1, count,
          detail::AverageStep<T>{shares_.data() + k, gradient.squared_norm,
                                 parameters.values().data() + begin, averages_[k].data() + begin});
  }

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
  bool is_part_;     // of the parameters, and others have the rest
  FlatRange range_;  // of the parameters that are updated here
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
