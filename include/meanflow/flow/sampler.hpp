// SPDX-License-Identifier: MIT
/// \file
/// From noise to data with a trained net.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <meanflow/flow/step_along.hpp>
#include <meanflow/kernels/reference/shapes.hpp>
#include <meanflow/nn/net.hpp>
#include <meanflow/random/philox.hpp>

namespace meanflow {

/// The times 1 = t_0 > t_1 > ... > t_n = 0, equally spaced.
[[nodiscard]] inline std::vector<double> uniform_times(std::size_t steps) {
  if (steps == 0) throw SettingError("sampling needs at least 1 step");
  std::vector<double> times(steps + 1);
  for (std::size_t i = 0; i <= steps; ++i)
    times[i] = static_cast<double>(steps - i) / static_cast<double>(steps);
  return times;
}

/// Standard normal numbers of `shape` (B, ...); row i is the same whatever B is.
template <class T = float, class Device = Cpu>
[[nodiscard]] Tensor<T, Device> normal_noise(const Shape& shape, std::uint64_t seed,
                                             std::size_t first_row = 0) {
  Tensor<T, Device> noise(shape);
  fill_normal_rows(Device{}, seed, Purpose::sampling, std::uint64_t{0}, first_row, shape.rows(),
                   shape.row_size(), noise.data());
  return noise;
}

namespace detail {

inline void check_times(std::span<const double> times) {
  if (times.size() < 2) throw SettingError("sampling needs at least 2 times");
  for (std::size_t i = 0; i < times.size(); ++i) {
    const bool descends = i == 0 || times[i] < times[i - 1];
    if (!(times[i] >= 0 && times[i] <= 1) || !descends)
      throw SettingError("sampling times must fall from 1 towards 0, but time " +
                         std::to_string(i) + " is " + std::to_string(times[i]));
  }
}

/// Runs f(tile of the result, condition of the tile) over pieces of the batch, on all cores. On a
/// device with too little memory for them the pieces are halved.
template <class T, class Device, Condition C, class F>
[[nodiscard]] Tensor<T, Device> for_each_tile(const Tensor<T, Device>& noise, const C& condition,
                                              std::size_t parameters, F f) {
  check_condition("sample", condition, noise.rows());
  Tensor<T, Device> z = noise.clone();
  // Twice the rows of a training tile: nothing is kept for a backward pass, so they still fit the
  // cache.
  for (std::size_t tiles = row_tiles(Device{}, z.rows(), parameters, 256);;
       tiles = std::min(2 * tiles, z.rows())) {
    try {
      parallel_tasks(Device{}, tiles, [&](std::size_t tile, std::size_t) {
        const std::size_t first = z.rows() * tile / tiles, last = z.rows() * (tile + 1) / tiles;
        f(z.rows(first, last), condition_rows(condition, first, last));
      });
      return z;
    } catch (const OutOfMemoryError&) {
      if (tiles >= z.rows()) throw;
    } catch (const ShapeError&) {
      // Once more in one piece, so that the message tells of all rows and not of a tile's.
      try {
        if (tiles > 1) f(noise.clone(), condition);
      } catch (const OutOfMemoryError&) {  // then a tile's message must do
      }
      throw;
    }
    copy(Device{}, z.size(), noise.data(), z.data());
  }
}

template <class T, class Device>
[[nodiscard]] Tensor<T, Device> constant_times(std::size_t rows, double time) {
  Tensor<T, Device> times({rows, 1});
  fill(Device{}, rows, static_cast<T>(time), times.data());
  return times;
}

}  // namespace detail

/// z_r = z_t - (t - r) u(z_t, r, t) along `times`, which fall from 1 to 0; each pair is one step,
/// so {1, 0} is one-step generation, x = e - u(e, 0, 1). `noise` (B, ...) is not changed.
template <Net N>
[[nodiscard]] Tensor<typename N::value_type, typename N::device_type> sample(
    const N& net, const Tensor<typename N::value_type, typename N::device_type>& noise,
    std::span<const double> times, const ConditionOf<N>& condition = {}) {
  using T = typename N::value_type;
  using Device = typename N::device_type;
  detail::check_times(times);
  return detail::for_each_tile(
      noise, condition, net.parameters().flat_size(), [&](Tensor<T, Device> z, const auto& known) {
        for (std::size_t i = 0; i + 1 < times.size(); ++i) {
          const auto t = detail::constant_times<T, Device>(z.rows(), times[i]);
          const auto r = detail::constant_times<T, Device>(z.rows(), times[i + 1]);
          const auto u = evaluate(net, z, r, t, known);
          detail::step_along(z, times[i] - times[i + 1], u);
        }
      });
}

/// Sampling in `steps` equal steps: 1 for one-step generation.
template <Net N>
[[nodiscard]] Tensor<typename N::value_type, typename N::device_type> sample(
    const N& net, const Tensor<typename N::value_type, typename N::device_type>& noise,
    std::size_t steps = 1, const ConditionOf<N>& condition = {}) {
  return sample(net, noise, uniform_times(steps), condition);
}

/// Rules for the ordinary differential equation dz/dt = u(z, t, t).
enum class Solver {
  euler,  ///< one evaluation per step
  heun,   ///< two evaluations per step (trapezoid), one in a last step to t = 0
};

/// Solves dz/dt = u(z, t, t) along `times`, as nets trained by flow matching need it.
template <Net N>
[[nodiscard]] Tensor<typename N::value_type, typename N::device_type> solve(
    const N& net, const Tensor<typename N::value_type, typename N::device_type>& noise,
    std::span<const double> times, Solver solver = Solver::euler,
    const ConditionOf<N>& condition = {}) {
  using T = typename N::value_type;
  using Device = typename N::device_type;
  detail::check_times(times);
  return detail::for_each_tile(
      noise, condition, net.parameters().flat_size(), [&](Tensor<T, Device> z, const auto& known) {
        const auto velocity = [&](const Tensor<T, Device>& at, double time) {
          const auto t = detail::constant_times<T, Device>(at.rows(), time);
          return evaluate(net, at, t, t, known);
        };
        for (std::size_t i = 0; i + 1 < times.size(); ++i) {
          const double span = times[i] - times[i + 1];
          const auto v = velocity(z, times[i]);
          if (solver == Solver::euler || times[i + 1] == 0) {
            detail::step_along(z, span, v);
            continue;
          }
          Tensor<T, Device> predicted = z.clone();
          detail::step_along(predicted, span, v);
          detail::step_along(z, span / 2, v);
          detail::step_along(z, span / 2, velocity(predicted, times[i + 1]));
        }
      });
}

template <Net N>
[[nodiscard]] Tensor<typename N::value_type, typename N::device_type> solve(
    const N& net, const Tensor<typename N::value_type, typename N::device_type>& noise,
    std::size_t steps, Solver solver = Solver::euler, const ConditionOf<N>& condition = {}) {
  return solve(net, noise, uniform_times(steps), solver, condition);
}

}  // namespace meanflow
