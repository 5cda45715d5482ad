// SPDX-License-Identifier: MIT
/// \file
/// Draws what a training step needs: times, noise, dropped labels, and the points between.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <meanflow/flow/guidance.hpp>
#include <meanflow/flow/objective.hpp>
#include <meanflow/flow/path_schedule.hpp>
#include <meanflow/flow/tiles.hpp>
#include <meanflow/flow/time_sampler.hpp>
#include <meanflow/nn/condition.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Where random numbers of a step come from, and which labels are dropped. `Step` is a number, or a
/// pointer to it in a device's memory, where work that is recorded reads it anew.
template <class Step>
struct DrawSettings {
  std::uint64_t seed = 0;
  Step step{};                  ///< number of the step
  Step jump_end{};              ///< rows from here on have r = t, counted over all processes
  std::uint64_t first_row = 0;  ///< number of the batch's row 0 among those of all processes
  LabelDropout label_dropout{};
  std::int32_t null_class = -1;
};

namespace detail {

/// The tile's rows of a condition.
template <class T, class Device>
[[nodiscard]] Condition<T, Device> gather(const Condition<T, Device>& condition,
                                          const TileRows& rows) {
  const std::size_t rest = rows.count - rows.jumps;
  const auto pick = [&](const auto& from) {
    using Picked = std::remove_cvref_t<decltype(from)>;
    using Element = typename Picked::value_type;
    if (from.empty()) return Picked{};
    Picked to(from.shape().with_rows(rows.count));
    copy(Device{}, rows.jumps * from.row_size(),
         static_cast<const Element*>(from.row(rows.jump_begin)), to.row(0));
    copy(Device{}, rest * from.row_size(), static_cast<const Element*>(from.row(rows.rest_begin)),
         to.row(rows.jumps));
    return to;
  };
  return {pick(condition.labels), pick(condition.augmentation), {}};
}

/// The number of the step as net dropout reads it.
template <class Device>
[[nodiscard]] Tensor<std::uint64_t, Device> step_tensor(std::uint64_t step) {
  return Tensor<std::uint64_t, Device>::full({1}, step);
}
template <class Device>
[[nodiscard]] Tensor<std::uint64_t, Device> step_tensor(std::uint64_t* step) {
  return Tensor<std::uint64_t, Device>::borrow(step, {1});
}

}  // namespace detail

/// The rows of a tile out of the batch x (B, ...) with their conditions: noise e, times r <= t, the
/// points z = alpha(t) x + sigma(t) e and the velocities v = alpha'(t) x + sigma'(t) e. A row's
/// draws depend on seed, step and its number alone, whatever the tile.
template <class T, class Device, PathSchedule Path, TimeSampler Times, class Step>
[[nodiscard]] FlowBatch<T, Device> draw_batch(const Tensor<T, Device>& x,
                                              const Condition<T, Device>& condition,
                                              const TileRows& rows, const Path& path,
                                              const Times& times, const DrawSettings<Step>& draws) {
  using Values = Tensor<T, Device>;
  const std::size_t columns = x.row_size(), rest = rows.count - rows.jumps;
  const Shape shape = x.shape().with_rows(rows.count);
  Values data(shape), noise(shape);
  FlowBatch<T, Device> batch{Values(shape),           Values(shape), Values({rows.count, 1}),
                             Values({rows.count, 1}), rows.jumps,    {}};
  batch.condition = detail::gather(condition, rows);
  const Tensor<std::uint64_t, Device> numbers({rows.count});
  const bool drops = draws.label_dropout.rate > 0 && !batch.condition.labels.empty();
  const DroppedRows dropped =
      drops ? draws.label_dropout.rule(x.rows(), draws.seed, draws.first_row) : DroppedRows{};
  const auto draw = [&](std::size_t from, std::size_t to, std::size_t count) {
    if (count == 0) return;
    const std::uint64_t number = draws.first_row + from;
    copy(Device{}, count * columns, static_cast<const T*>(x.row(from)), data.row(to));
    fill_normal_rows(Device{}, draws.seed, Purpose::noise, draws.step, number, count, columns,
                     noise.row(to));
    sample_times(Device{}, times, draws.seed, draws.step, number, count, draws.jump_end,
                 batch.r.row(to), batch.t.row(to));
    count_up(Device{}, count, number, numbers.row(to));
    if (drops)
      drop_labels(Device{}, dropped, draws.step, from, count, draws.null_class,
                  batch.condition.labels.row(to));
  };
  draw(rows.jump_begin, 0, rows.jumps);
  draw(rows.rest_begin, rows.jumps, rest);
  interpolate(Device{}, path, rows.count, columns, static_cast<const T*>(batch.t.data()),
              static_cast<const T*>(data.data()), static_cast<const T*>(noise.data()),
              batch.z.data(), batch.v.data());
  batch.condition.dropout = {draws.seed, detail::step_tensor<Device>(draws.step), numbers};
  return batch;
}

}  // namespace meanflow
