// SPDX-License-Identifier: MIT
/// \file
/// The contract of an optimizer.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <meanflow/autodiff/parameters.hpp>
#include <meanflow/config.hpp>
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// What an optimizer's numbers depend on in a step.
struct StepRates {
  double learning_rate;
  std::uint64_t count;     ///< of the step, from 1
  double decay_scale = 1;  ///< multiplies the weight decay: `ParameterGroup`
};

/// Parameters that are treated alike.
struct ParameterGroup {
  std::function<bool(const ParameterEntry&)> contains;  ///< the first matching group applies
  double rate_scale = 1;                                ///< multiplies the learning rate
  double decay_scale = 1;                               ///< multiplies the weight decay
  bool frozen = false;                                  ///< neither differentiated nor updated
};

/// For `ParameterGroup::contains`: norms, biases and other parameters of one axis, which are not
/// usually decayed.
[[nodiscard]] inline bool is_vector(const ParameterEntry& entry) { return entry.shape.rank() <= 1; }

namespace detail {

/// Whether a squared norm is finite.
[[nodiscard]] MEANFLOW_HOST_DEVICE inline bool is_finite(double value) {
  return value - value == 0;
}

/// What a gradient of that squared norm is multiplied by to be no longer than `clip_norm`; 0 means
/// any length.
[[nodiscard]] MEANFLOW_HOST_DEVICE inline double clip_factor(double clip_norm,
                                                             double squared_norm) {
  using std::sqrt;
  const double norm = sqrt(squared_norm);
  return clip_norm > 0 && norm > clip_norm ? clip_norm / norm : 1.0;
}

/// Groups are looked up by blocks of this many elements; parameters begin at multiples of it.
inline constexpr std::size_t group_block = 16;
/// The entry of blocks that are not updated.
inline constexpr std::uint8_t frozen_group = 255;

}  // namespace detail

/// A gradient as an optimizer sees it, where a device keeps it.
template <class T, class Device = Cpu>
struct GradientView {
  const T* values;             ///< flat, as the parameters
  const double* squared_norm;  ///< if it is not finite, nothing may be changed
  double clip_norm;            ///< 0: any norm
};

namespace detail {

template <std::size_t, class T>
using Repeated = T;

template <class O, class T, std::size_t... K>
[[nodiscard]] consteval bool updates_elements(std::index_sequence<K...>) {
  return requires {
    O::update(std::declval<const typename O::template Numbers<T>&>(), std::declval<const T&>(),
              std::declval<T&>(), std::declval<Repeated<K, T>&>()...);
  };
}

}  // namespace detail

/// An optimizer of elements: what becomes of a parameter depends on that parameter, its gradient
/// and its state alone. The trainer does the rest: clipping, groups, averages, checkpoints,
/// recorded steps.
///
/// Syntax:
///  1. `static constexpr std::array state{"name", ...}` names its buffers, which begin as zeros;
///  2. `O::Numbers<T>`, what a step multiplies by, an aggregate that is copied as bytes, and
///     `optimizer.numbers<T>(StepRates)`, which computes it once per step;
///  3. `O::update(numbers, gradient, parameter, state...)` changes one element: a template over the
///     kind of number (a T or a SIMD batch), MEANFLOW_HOST_DEVICE.
/// Optional: `check()`, which throws SettingError.
template <class O, class T>
concept ElementwiseOptimizer =
    std::copyable<O> && requires(const O& optimizer, const StepRates& rates) {
      { O::state.size() } -> std::convertible_to<std::size_t>;
      { optimizer.template numbers<T>(rates) } -> std::same_as<typename O::template Numbers<T>>;
    } && detail::updates_elements<O, T>(std::make_index_sequence<O::state.size()>{});

/// The flat buffers that an optimizer of whole tensors works on.
template <class O, class T, class Device>
struct UpdateWork {
  Parameters<T, Device> parameters;
  GradientView<T, Device> gradient;
  std::span<Tensor<T, Device>> state;              ///< in the order of `O::state`
  const typename O::template Numbers<T>* numbers;  ///< one for each group, where the device reads
  std::span<const std::uint8_t> groups;            ///< the group of each parameter
  std::span<const std::uint8_t> frozen;            ///< 1 for groups that are
};

/// An optimizer of whole tensors, such as matrices: as `ElementwiseOptimizer`, but with
/// `optimizer.update_all(UpdateWork)` instead of `update`.
template <class O, class T, class Device>
concept TensorOptimizer = std::copyable<O> && requires(const O& optimizer, const StepRates& rates,
                                                       const UpdateWork<O, T, Device>& work) {
  { O::state.size() } -> std::convertible_to<std::size_t>;
  { optimizer.template numbers<T>(rates) } -> std::same_as<typename O::template Numbers<T>>;
  optimizer.update_all(work);
};

/// What updates the parameters.
template <class O, class T, class Device = Cpu>
concept Optimizer = ElementwiseOptimizer<O, T> || TensorOptimizer<O, T, Device>;

namespace detail {

/// average += share (p - average), where the parameters are in registers already.
template <class T>
struct AverageOnTheWay {
  const T* share = nullptr;
  T* average = nullptr;
};
/// How many averages an update takes along.
inline constexpr std::size_t averages_on_the_way = 2;

/// One element's update and its averages; `Grouped` where numbers differ between parameters.
template <class O, class T, bool Grouped>
struct ElementUpdate {
  using value_type = T;
  using Numbers = typename O::template Numbers<T>;
  static constexpr std::size_t states = O::state.size();
  const Numbers* numbers;
  const std::uint8_t* groups;  // of blocks of elements
  const double* squared_norm;
  double clip_norm;
  const T* gradient;
  T* parameters;
  AverageOnTheWay<T> averages[averages_on_the_way];
  T* state[states + 1];

  struct Elements {
    ElementUpdate body;
    Numbers numbers;
    T scale;
    bool updates;
    T shares[averages_on_the_way];

    template <class At>
    MEANFLOW_HOST_DEVICE void operator()(At at) const {
      if (!updates) return;
      auto p = at.load(body.parameters);
      if constexpr (Grouped) {
        const std::uint8_t group = body.groups[at.index / group_block];
        if (group != frozen_group)
          apply(at, body.numbers[group], p, std::make_index_sequence<states>{});
      } else
        apply(at, numbers, p, std::make_index_sequence<states>{});
      for (std::size_t k = 0; k < averages_on_the_way; ++k) {
        T* const average = body.averages[k].average;
        if (!average) continue;
        const auto old = at.load(average);
        at.store(average, old + shares[k] * (p - old));
      }
    }
    template <class At, class V, std::size_t... K>
    MEANFLOW_HOST_DEVICE void apply(At at, const Numbers& n, V& p,
                                    std::index_sequence<K...>) const {
      const V g = scale * at.load(body.gradient);
      V s[states + 1] = {at.load(body.state[K])..., p};
      O::update(n, g, p, s[K]...);
      (at.store(body.state[K], s[K]), ...);
      at.store(body.parameters, p);
    }
  };
  MEANFLOW_HOST_DEVICE Elements operator()(std::size_t /*row*/) const {
    Elements elements{*this,
                      *numbers,
                      static_cast<T>(clip_factor(clip_norm, *squared_norm)),
                      is_finite(*squared_norm),
                      {}};
    for (std::size_t k = 0; k < averages_on_the_way; ++k)
      elements.shares[k] = averages[k].average ? *averages[k].share : T(0);
    return elements;
  }
};

}  // namespace detail

/// Updates elements [begin, begin + size) of the flat buffers, `begin` a multiple of 16, by the
/// rule of O. `numbers` is one for all elements if `groups`, the group of each block of 16
/// elements, is null; the state begins with that of element `first_state`. The first of the
/// averages
/// (`detail::averages_on_the_way`) are moved along, by their `shares`.
template <class O, class T, class Device>
void update_elements(std::size_t begin, std::size_t size, const GradientView<T, Device>& gradient,
                     const typename O::template Numbers<T>* numbers, const std::uint8_t* groups,
                     std::span<Tensor<T, Device>> state, T* parameters, std::size_t first_state = 0,
                     std::span<Tensor<T, Device>> averages = {}, const T* shares = nullptr) {
  const auto run = [&]<bool Grouped>(std::bool_constant<Grouped>) {
    detail::ElementUpdate<O, T, Grouped> body{
        numbers,
        Grouped ? groups + begin / detail::group_block : nullptr,
        gradient.squared_norm,
        gradient.clip_norm,
        gradient.values + begin,
        parameters + begin,
        {},
        {}};
    for (std::size_t k = 0; k < std::min(averages.size(), detail::averages_on_the_way); ++k)
      body.averages[k] = {shares + k, averages[k].data() + begin};
    for (std::size_t k = 0; k < O::state.size(); ++k)
      body.state[k] = state[k].data() + (begin - first_state);
    for_each_in_rows(Device{}, 1, size, body);
  };
  if (groups)
    run(std::true_type{});
  else
    run(std::false_type{});
}

}  // namespace meanflow
