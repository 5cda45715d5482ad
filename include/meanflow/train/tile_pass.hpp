// SPDX-License-Identifier: MIT
/// \file
/// A batch forward and back, tile by tile.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/flow/draw_batch.hpp>
#include <meanflow/flow/objective.hpp>
#include <meanflow/flow/tiles.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/train/report.hpp>
#include <meanflow/train/workers.hpp>

namespace meanflow {

namespace detail {

/// Writes the loss and the metrics of a tile's rows to their places in the report of the batch.
template <class T, std::size_t M>
struct ReportRows {
  TileRows rows;
  std::size_t batch;
  const double* loss;
  const T* metrics[M + 1];
  double* report;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t i) const {
    const std::size_t row = rows[i];
    report[row] = loss[i];
    for (std::size_t m = 0; m < M; ++m)
      report[(1 + m) * batch + row] = static_cast<double>(metrics[m][i]);
  }
};

template <class O, class T, class Device, std::size_t Outputs, std::size_t M>
void report_rows(const RowLosses<T, Device, Outputs, M>& losses, const TileRows& rows,
                 std::size_t batch, double* report) {
  static_assert(M == metrics_of<O>().size(),
                "an objective must name the metrics that it gives: static constexpr std::array "
                "metrics{Metric{\"name\"}, ...}");
  static_assert(M <= Metrics::max_count, "an objective may have at most 8 metrics");
  const auto check = [&](const char* what, std::size_t size) {
    if (size != rows.count)
      throw ShapeError("the objective returned " + std::to_string(size) + " " + what + " for " +
                       std::to_string(rows.count) + " rows");
  };
  check("losses", losses.loss.size());
  for (const auto& metric : losses.metrics) check("values of a metric", metric.size());
  ReportRows<T, M> body{rows, batch, losses.loss.data(), {}, report};
  for (std::size_t m = 0; m < M; ++m) body.metrics[m] = losses.metrics[m].data();
  for_each_index(Device{}, rows.count, body);
}

}  // namespace detail

/// The inputs of one pass over a batch, most of them held by reference.
template <class N, class R>
struct TilePass {
  using T = typename N::value_type;
  using Device = typename N::device_type;
  using Values = Tensor<T, Device>;

  const N& net;
  const R& recipe;
  const Values& x;  ///< (B, ...)
  const ConditionOf<N>& condition;
  TileSplit split;
  DrawSettings<ConditionOf<N>> draws;
  std::size_t batch;  ///< rows of all processes
  std::uint64_t step, steps;
  std::span<const Values> averages;
  bool net_dropout;
  bool exact;      ///< sums over tiles do not depend on their order
  double* report;  ///< loss and metrics, each of B rows

  using Weighting = decltype(recipe.weighting);
  using Objective = std::remove_cvref_t<decltype(recipe.objective)>;

  [[nodiscard]] FlowBatchOf<N> draw(const TileRows& rows) const {
    FlowBatchOf<N> drawn = draw_batch(x, condition, rows, recipe.path, recipe.times, draws);
    if (!net_dropout) drawn.condition = without_dropout(drawn.condition);
    return drawn;
  }

  [[nodiscard]] StepContext<N, std::remove_cvref_t<Weighting>> context(
      Tape<T, Device>& tape) const {
    return {tape, recipe.weighting, batch, step, steps, averages};
  }

  /// The losses of a tile's rows, which are reported.
  [[nodiscard]] auto losses(const TileRows& rows, Tape<T, Device>& tape) const {
    auto losses = recipe.objective(net, draw(rows), context(tape));
    detail::report_rows<Objective>(losses, rows, x.rows(), report);
    return losses;
  }
};

namespace detail {

inline void check_node(bool differentiated) {
  if (!differentiated)
    throw Error(
        "trainer: the objective does not depend on the net's parameters; the nodes of its outputs "
        "must be those of what the net computes from values on the given tape, and not all "
        "parameters may be frozen");
}

/// Moves a tile's gradient to the worker's exact sums, where those are wanted.
template <class N, class R, class T, class Device>
void settle(const TilePass<N, R>& pass, Workers<T, Device>& workers, std::size_t worker) {
  if constexpr (std::same_as<Device, Cpu>)
    if (pass.exact) workers.settle(worker);
}

inline void check_output(const Shape& found, const Shape& expected) {
  if (!(found == expected))
    throw_shape_error("the objective's output", found, expected, "it must have the shape of z");
}

}  // namespace detail

/// Forward and back: reports the rows, and adds to the workers' gradients. watch(worker) gives what
/// is called after each operation of a tile's backward pass, or nothing.
template <class N, class R, class T, class Device, class W>
  requires RowObjective<decltype(R::objective), N, decltype(R::weighting)>
void forward_backward(const TilePass<N, R>& pass, Workers<T, Device>& workers, W watch) {
  parallel_tasks(Device{}, pass.split.tiles, [&](std::size_t tile, std::size_t worker) {
    const TileRows rows = pass.split[tile];
    if (rows.count == 0) return;
    Tape<T, Device>& tape = workers.tape(worker);
    tape.clear();
    tape.watch(watch(worker));
    auto losses = pass.losses(rows, tape);
    bool differentiated = false;
    for (auto& output : losses.outputs) {
      differentiated = differentiated || output.node != Tape<T, Device>::no_node;
      tape.add_gradient(output.node, std::move(output.gradient));
    }
    detail::check_node(differentiated);
    tape.backward();
    tape.watch({});
    detail::settle(pass, workers, worker);
  });
  if constexpr (!on_host<Device>)
    workers.tape(0).clear();  // returns its memory to the pool that recorded steps share
}

/// The same for losses that couple rows: all tiles forward, the losses, then all tiles back. It is
/// not watched.
template <class N, class R, class T, class Device, class W>
  requires BatchObjective<decltype(R::objective), N>
void forward_backward(const TilePass<N, R>& pass, Workers<T, Device>& workers, W /*watch*/) {
  const std::size_t tiles = pass.split.tiles;
  workers.prepare_tiles(tiles);
  Tensor<std::size_t> nodes({tiles});
  Tensor<T, Device> outputs(pass.x.shape());
  parallel_tasks(Device{}, tiles, [&](std::size_t tile, std::size_t worker) {
    const TileRows rows = pass.split[tile];
    if (rows.count == 0) return;
    auto& tape = workers.bind_tile(tile, worker, pass.net.parameters());
    tape.clear();
    const auto output = pass.recipe.objective.output(pass.net, pass.draw(rows), tape);
    detail::check_node(!output.constant());
    detail::check_output(output.shape(), pass.x.shape().with_rows(rows.count));
    nodes[tile] = output.node();
    scatter(output.value(), rows, outputs);
  });
  auto losses = pass.recipe.objective.losses(outputs, pass.x);
  detail::report_rows<decltype(R::objective)>(losses, TileRows{0, 0, 0, pass.x.rows()},
                                              pass.x.rows(), pass.report);
  auto& gradient = losses.outputs[0].gradient;
  if (pass.batch != pass.x.rows())  // of the mean over the rows of all processes
    affine(Device{}, gradient.size(), std::size_t{0},
           static_cast<T>(static_cast<double>(pass.x.rows()) / static_cast<double>(pass.batch)),
           T(0), gradient.data(), gradient.data());
  parallel_tasks(Device{}, tiles, [&](std::size_t tile, std::size_t worker) {
    const TileRows rows = pass.split[tile];
    if (rows.count == 0) return;
    workers.bind_tile(tile, worker, pass.net.parameters())
        .backward(nodes[tile], gather(gradient, rows));
    detail::settle(pass, workers, worker);
  });
}

/// Forward alone: reports the rows.
template <class N, class R>
void forward(const TilePass<N, R>& pass) {
  using T = typename N::value_type;
  using Device = typename N::device_type;
  if constexpr (BatchObjective<decltype(R::objective), N>) {
    Tape<T, Device> tape;
    const TileRows all{0, pass.split.jumps, pass.split.jumps, pass.x.rows()};
    const auto output = pass.recipe.objective.output(pass.net, pass.draw(all), tape);
    detail::check_output(output.shape(), pass.x.shape());
    detail::report_rows<decltype(R::objective)>(
        pass.recipe.objective.losses(output.value(), pass.x), all, pass.x.rows(), pass.report);
  } else {
    parallel_tasks(Device{}, pass.split.tiles, [&](std::size_t tile, std::size_t) {
      Tape<T, Device> tape;  // to which nothing is bound: nothing is recorded
      if (pass.split[tile].count > 0) static_cast<void>(pass.losses(pass.split[tile], tape));
    });
  }
}

/// f(pass). Where shapes do not fit, all rows are tried in one tile, so that the message tells of
/// the batch and not of a tile, whose rows depend on the number of threads.
template <class N, class R, class F>
void with_batch_in_messages(const TilePass<N, R>& pass, F f) {
  try {
    f(pass);
  } catch (const ShapeError&) {
    if (pass.split.tiles <= 1) throw;
    TilePass<N, R> whole = pass;
    whole.split.tiles = 1;
    try {
      f(whole);
    } catch (const OutOfMemoryError&) {  // then a tile's message must do
    }
    throw;
  }
}

}  // namespace meanflow
