// SPDX-License-Identifier: MIT
/// \file
/// Draws what a training step needs: times, noise, dropped conditions, and the points between.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <meanflow/flow/batch.hpp>
#include <meanflow/flow/condition_dropout.hpp>
#include <meanflow/flow/interpolate.hpp>
#include <meanflow/flow/path_schedule.hpp>
#include <meanflow/flow/tiles.hpp>
#include <meanflow/flow/time_sampler.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Where the random numbers of a step come from, and which rows lose their condition. What changes
/// from step to step is read where a device has it, so that recorded work reads it anew.
template <Condition C>
struct DrawSettings {
  std::uint64_t seed = 0;
  const std::uint64_t* step = nullptr;      ///< number of the step
  const std::uint64_t* jump_end = nullptr;  ///< places from here on have r = t, of all processes
  TileRows rows{};           ///< the places of this batch's rows among those of all processes
  std::size_t all_rows = 0;  ///< of all processes
  ConditionDropout dropout{};
  C null{};  ///< what the net is told in the rows that lose their condition
};

namespace detail {

/// (r, t)[i] = the pair that the sampler draws for place first_place + i, which jumps if it is
/// before `jump_end`. NaN where it breaks its contract: 0 <= r <= t <= 1, and r = t in rows that do
/// not jump.
template <class Times, class T>
struct DrawTimes {
  Times times;
  std::uint64_t seed;
  const std::uint64_t *step, *jump_end;
  std::uint64_t first_place;
  T *r, *t;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t i) const {
    RandomStream stream(seed, Purpose::times, *step, first_place + i);
    const bool jumps = first_place + i < *jump_end;
    const auto pair = times.sample(stream, jumps);
    const bool valid =
        0 <= pair.r && pair.r <= pair.t && pair.t <= 1 && (jumps || pair.r == pair.t);
    r[i] = valid ? static_cast<T>(pair.r) : std::numeric_limits<T>::quiet_NaN();
    t[i] = valid ? static_cast<T>(pair.t) : std::numeric_limits<T>::quiet_NaN();
  }
};

/// numbers[i] = first + i
struct CountUp {
  std::uint64_t first;
  std::uint64_t* numbers;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t i) const { numbers[i] = first + i; }
};

}  // namespace detail

/// The rows of a tile out of the batch x (B, ...) with their conditions: noise e, times r <= t, the
/// points z = alpha(t) x + sigma(t) e and the velocities v = alpha'(t) x + sigma'(t) e. A row's
/// draws depend on seed, step and its number alone, whatever the tile.
template <class T, class Device, Condition C, PathSchedule Path, TimeSampler Times>
[[nodiscard]] FlowBatch<T, Device, C> draw_batch(const Tensor<T, Device>& x, const C& condition,
                                                 const TileRows& rows, const Path& path,
                                                 const Times& times, const DrawSettings<C>& draws) {
  using Values = Tensor<T, Device>;
  const Shape shape = x.shape().with_rows(rows.count);
  FlowBatch<T, Device, C> batch{
      Values(shape),
      Values(shape),
      Values({rows.count, 1}),
      Values({rows.count, 1}),
      rows.jumps,
      map_parts(condition, [&](const auto& part) { return gather(part, rows); }),
      gather(x, rows),
      Values(shape)};
  Tensor<std::uint64_t, Device> numbers({rows.count});
  const DroppedRows dropped =
      draws.dropout.rate > 0 ? draws.dropout.rule(draws.all_rows, draws.seed) : DroppedRows{};
  const auto step = [&] {
    if constexpr (on_host<Device>)
      return *draws.step;
    else
      return draws.step;
  }();
  const auto draw = [&](std::size_t from, std::size_t to, std::size_t count) {
    if (count == 0) return;
    const std::uint64_t number = draws.rows[from];
    fill_normal_rows(Device{}, draws.seed, Purpose::noise, step, number, count, x.row_size(),
                     batch.noise.row(to));
    for_each_index(Device{}, count,
                   detail::DrawTimes<Times, T>{times, draws.seed, draws.step, draws.jump_end,
                                               number, batch.r.row(to), batch.t.row(to)});
    for_each_index(Device{}, count, detail::CountUp{number, numbers.row(to)});
    if (draws.dropout.rate > 0)
      detail::for_each_null(batch.condition, draws.null, [&](auto& part, const auto& null) {
        using E = typename std::remove_cvref_t<decltype(part)>::value_type;
        if (!part.empty())
          for_each_index(Device{}, count * null.size(),
                         detail::DropRows<E>{dropped, draws.step, number, null.size(), null.data(),
                                             part.row(to)});
      });
  };
  // A run of rows may cross from those that jump to those that do not, whose numbers lie apart.
  const auto draw_run = [&](std::size_t from, std::size_t to, std::size_t count) {
    const std::size_t before =
        from < draws.rows.jumps ? std::min(count, draws.rows.jumps - from) : 0;
    draw(from, to, before);
    draw(from + before, to + before, count - before);
  };
  draw_run(rows.jump_begin, 0, rows.jumps);
  draw_run(rows.rest_begin, rows.jumps, rows.count - rows.jumps);
  interpolate(path, batch.t, batch.data, batch.noise, batch.z, batch.v);
  batch.draws = {draws.seed,
                 Tensor<std::uint64_t, Device>::borrow(const_cast<std::uint64_t*>(draws.step), {1}),
                 numbers};
  if constexpr (requires { batch.condition.dropout.rows; }) batch.condition.dropout = batch.draws;
  return batch;
}

}  // namespace meanflow
