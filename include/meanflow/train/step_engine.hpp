// SPDX-License-Identifier: MIT
/// \file
/// One training step, on any device: forward and back in tiles, the all-reduce, the update. Whether
/// the numbers are finite is decided where they lie, so that a device need not be waited for and
/// its work can be recorded; the host learns the outcome once all work is queued.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <meanflow/kernels/recording.hpp>
#include <meanflow/optim/update.hpp>
#include <meanflow/tensor/transfer.hpp>
#include <meanflow/train/exchange.hpp>
#include <meanflow/train/gradient_sum.hpp>
#include <meanflow/train/recipe.hpp>
#include <meanflow/train/report.hpp>
#include <meanflow/train/settings.hpp>
#include <meanflow/train/step_plan.hpp>
#include <meanflow/train/tile_pass.hpp>
#include <meanflow/train/workers.hpp>

namespace meanflow {

namespace detail {

/// *gradient += 0 times the sum of numbers: NaN if one of them is not finite.
template <class T>
struct Poison {
  using value_type = double;
  static constexpr std::size_t sums = 1;
  const double* numbers;
  T* gradient;

  template <class At>
  [[nodiscard]] MEANFLOW_HOST_DEVICE auto term(std::size_t /*row*/, At at, At /*column*/) const {
    const auto value = at.load(numbers);
    return Sums<decltype(value * 0.0), 1>{value * 0.0};
  }
  MEANFLOW_HOST_DEVICE void finish(std::size_t /*row*/, const Sums<double, 1>& sum) const {
    *gradient += static_cast<T>(sum.of[0]);
  }
};

}  // namespace detail

/// The memory that steps work in, and the steps.
template <class N, class R>
class StepEngine {
 public:
  using T = typename N::value_type;
  using Device = typename N::device_type;
  using Values = Tensor<T, Device>;
  using C = ConditionOf<N>;
  using Update = ParameterUpdate<decltype(R::optimizer), T, Device>;
  static constexpr auto metrics = detail::metrics_of<decltype(R::objective)>();

  /// If the optimizer's state is shared out, `shards` are the bounds of the processes' parts.
  explicit StepEngine(std::size_t parameters, std::vector<std::size_t> shards = {})
      : exchange_(std::move(shards)), gradient_(Values::zeros({parameters})) {}

  /// Forward, back and update; reports the rows, and gives the norm of the gradient. If a loss or
  /// the norm is not finite, nothing has been changed.
  [[nodiscard]] double run(const N& net, R& recipe, const TrainerSettings& settings, Update& update,
                           const C& null, const StepPlan& plan, const Values& x,
                           const C& condition) {
    stage(x, x_);
    if constexpr (requires { condition.dropout; }) condition_.dropout = condition.dropout;
    C::fields([](const char*, const auto& from, auto& to) { stage(from, to); }, condition,
              condition_);
    write_counters(plan);
    changes_with_step_ = changes_with_step(recipe.objective);
    update.prepare(plan.learning_rate, plan.step, plan.all.rows);
    const std::size_t numbers = 1 + (1 + metrics.size()) * plan.rows.count;
    if (report_.size() != numbers) report_ = Tensor<double, Device>({numbers});
    TileSplit split = split_of(settings, plan);
    const auto pass = [&] {
      auto pass = pass_over(net, recipe, settings, update, plan, split, x_, condition_, report_);
      pass.draws.null = null;
      return pass;
    };
    while (!try_step(settings, plan, split, recipe.communicator, update,
                     net.parameters().values().data(),
                     [&] { work(pass(), recipe, settings, update); }))
      split.tiles = tile_count(settings, plan);
    if (!on_host<Device> && meanwhile_) meanwhile_();
    const Tensor<double> known = to_host(report_);
    reports_ = reports_of(known, plan, known_);
    return std::sqrt(known[0]);
  }

  /// Loss and metrics of a batch, without learning from it: without dropout, and all rows are told
  /// their condition. `step` is what the objective sees; the random numbers are those of the plan.
  [[nodiscard]] RowReports measure(const N& net, const R& recipe, const TrainerSettings& settings,
                                   const Update& update, const StepPlan& plan, std::uint64_t step,
                                   const Values& x, const C& condition) {
    write_counters(plan);
    const std::size_t rows = plan.rows.count;
    Tensor<double, Device> report({1 + (1 + metrics.size()) * rows});
    const TileSplit split = split_of(settings, plan);
    auto pass = pass_over(net, recipe, settings, update, plan, split, x, condition, report);
    pass.step = step;
    pass.net_dropout = false;
    pass.draws.dropout = {};
    with_batch_in_messages(pass, [](const auto& tiles) { forward(tiles); });
    Tensor<double> known;
    return reports_of(to_host(report), plan, known);
  }

  /// Loss and metrics of the rows of the last step.
  [[nodiscard]] const RowReports& rows() const { return reports_; }

  /// From now on steps on a device that is not the host call f(), unless it is empty, after they
  /// have been launched and before their report is waited for.
  void while_running(std::function<void()> f) { meanwhile_ = std::move(f); }

  /// Discards what a failed step left behind.
  void clear() { workers_.clear(); }

  /// Adds NaN to the gradients of the other processes, so that none of them takes the step that
  /// this one has failed in; nothing if they have been added up already.
  void spoil(const N& net, R& recipe, const TrainerSettings& settings) {
    if (std::exchange(added_up_, true)) return;
    exchange_.with_sum(net, recipe.communicator, settings, workers_, gradient_, 0, [&](auto& sum) {
      exchange_.spoil(sum, net, recipe.communicator, settings);
    });
  }
  /// The next step begins: nothing of it has been added up.
  void begin() { added_up_ = false; }

  [[nodiscard]] const Values& gradient() const { return gradient_; }
  [[nodiscard]] const CommunicationReport& communication() const { return communication_; }
  [[nodiscard]] kernels::RecordingReport recording() const {
    kernels::RecordingReport report = repeated_.report();
    if (Recorder::records && !replays_)
      report.why_not = "it is switched off, or the processes add up by way of the host";
    if (changes_with_step_) report.why_not = "what the objective does depends on the step";
    return report;
  }

 private:
  using Recorder = typename device_traits<Device>::Recorder;
  using Communicator = decltype(R::communicator);

  /// A pass as a training step makes it.
  [[nodiscard]] TilePass<N, R> pass_over(const N& net, const R& recipe,
                                         const TrainerSettings& settings, const Update& update,
                                         const StepPlan& plan, const TileSplit& split,
                                         const Values& x, const C& condition,
                                         Tensor<double, Device>& report) const {
    return {.net = net,
            .recipe = recipe,
            .x = x,
            .condition = condition,
            .split = split,
            .draws = {.seed = settings.seed,
                      .step = counters_.data(),
                      .jump_end = counters_.data() + 1,
                      .rows = plan.rows,
                      .all_rows = plan.all.rows,
                      .dropout = settings.condition_dropout},
            .batch = plan.all.rows,
            .step = plan.step,
            .steps = settings.steps,
            .averages = update.averages(),
            .net_dropout = true,
            .exact = settings.deterministic,
            .report = report.data() + 1};
  }

  /// What was reported by places, in the order in which the rows were given.
  [[nodiscard]] static RowReports reports_of(const Tensor<double>& by_place, const StepPlan& plan,
                                             Tensor<double>& by_row) {
    const std::size_t rows = plan.rows.count, size = by_place.size() - 1;
    if (by_row.size() != size) by_row = Tensor<double>({size});
    for (std::size_t place = 0; place < rows; ++place)
      for (std::size_t part = 0; part <= metrics.size(); ++part)
        by_row[part * rows + plan.row_at(place)] = by_place[1 + part * rows + place];
    return {by_row, rows, metrics, plan.all, plan.first_row};
  }

  /// On a device: copies to memory that stays where it is while the shape is the same.
  template <class Element>
  static void stage(const Tensor<Element, Device>& from, Tensor<Element, Device>& to) {
    if (on_host<Device> || from.empty()) {
      to = from;
      return;
    }
    if (to.empty() || to.data() == from.data() || !(to.shape() == from.shape()))
      to = Tensor<Element, Device>(from.shape());
    copy(Device{}, from.size(), from.data(), to.data());
  }

  void write_counters(const StepPlan& plan) {
    const std::array<std::uint64_t, 2> counters{plan.step, plan.all.jumps};
    if (counters_.empty()) counters_ = Tensor<std::uint64_t, Device>({2});
    write(counters_, counters.data());
  }

  [[nodiscard]] TileSplit split_of(const TrainerSettings& settings, const StepPlan& plan) const {
    TileSplit split{plan.rows.count, plan.carried, tile_count(settings, plan), {}, plan.first_row};
    if (plan.carried == plan.rows.jumps) split.order = plan.all;
    return split;
  }

  [[nodiscard]] std::size_t tile_count(const TrainerSettings& settings,
                                       const StepPlan& plan) const {
    const auto tiles_of = [](std::size_t rows, std::size_t each) {
      return std::max<std::size_t>(1, (rows + each - 1) / each);
    };
    const std::size_t rows = plan.rows.count;
    // Batches whose gradients are added up.
    const std::size_t at_least = tiles_of(plan.all.rows, settings.batch);
    const std::size_t each = settings.tile_rows > 0 ? settings.tile_rows : fitting_rows_;
    if (each > 0) return std::max(at_least, tiles_of(rows, each));
    return std::max(at_least, row_tiles(Device{}, rows, gradient_.size()));
  }

  /// Runs the step in these tiles; false if the device has too little memory for them. Then nothing
  /// has changed: parameters are updated only after everything has been allocated.
  template <class Work>
  [[nodiscard]] bool try_step(const TrainerSettings& settings, const StepPlan& plan,
                              const TileSplit& split, Communicator& communicator,
                              const Update& update, const T* parameters, Work work) {
    // Left free for samples drawn between steps, and for the device's own libraries.
    [[maybe_unused]] const auto spare = spare_memory(Device{}, 1.0 / 8);
    const bool several = communicator.size() > 1;
    replays_ = settings.replay && (!several || exchange_.can_be_recorded());
    const bool repeats = Recorder::records && replays_ && !changes_with_step_;
    if constexpr (RecordableCommunicator<Communicator>)
      if (several) communicator.expect();
    updating_ = false;
    try {
      if (repeats)
        repeated_.run(key_of(plan, split, several, update, parameters), work, several);
      else
        work();
      added_up_ = stepped_ = true;  // in a replay too
      return true;
    } catch (const OutOfMemoryError& error) {
      clear();
      if (updating_) throw;  // too late to start over
      // All processes record and replay the same steps: none of them may start over alone.
      if (several && repeats && stepped_)
        throw OutOfMemoryError(std::string(error.what()) +
                               "; several processes cannot begin a step anew once they record it: "
                               "set tile_rows, or replay to false");
      use_less_memory(settings, error, split);
      return false;
    } catch (...) {
      clear();
      throw;
    }
  }

  void work(const TilePass<N, R>& pass, R& recipe, const TrainerSettings& settings,
            Update& update) {
    added_up_ = updating_ = false;  // recording sets them too
    workers_.prepare(std::min(workers(Device{}), pass.split.tiles), pass.net.parameters(),
                     gradient_, update.frozen_entries());
    fill(Device{}, gradient_.size(), T(0), gradient_.data());
    double* const squared_norm = report_.data();
    Communicator& communicator = recipe.communicator;
    const auto all_back = [&](auto& sum) {
      try {
        with_batch_in_messages(
            pass, [&](const auto& tiles) { forward_backward(tiles, workers_, sum.watch()); });
      } catch (...) {
        if (sum.begun()) {  // the others wait for the rest
          added_up_ = updating_ = true;
          exchange_.spoil(sum, pass.net, communicator, settings);
        }
        throw;
      }
      poison(pass);
      communication_ =
          sum.finish(exchange_.measured(update.range(), {0, gradient_.size()}, settings),
                     squared_norm, [this] { added_up_ = updating_ = !repeated_.recording(); });
    };
    exchange_.with_sum(pass.net, communicator, settings, workers_, gradient_, pass.split.tiles,
                       all_back);
    exchange_.add_up_norms(communicator, settings, squared_norm);
    update.apply(pass.net.parameters(), {gradient_.data(), squared_norm, settings.clip_norm},
                 [&] { exchange_.gather_parameters(communicator, pass.net); });
  }

  /// Makes the gradient NaN if the loss of a row is not finite.
  void poison(const TilePass<N, R>& pass) {
    reduce_rows(Device{}, 1, pass.x.rows(), detail::Poison<T>{pass.report, gradient_.data()});
  }

  /// After the device ran out of memory: drops recordings if there are any, else halves the tiles.
  void use_less_memory(const TrainerSettings& settings, const OutOfMemoryError& error,
                       const TileSplit& split) {
    // The memory of recordings of other shapes may be all that is in the way.
    const bool recorded = repeated_.report().recordings > 0;
    repeated_.forget();
    if (recorded) return;
    if (settings.tile_rows > 0)
      throw OutOfMemoryError(std::string(error.what()) + "; tile_rows is " +
                             std::to_string(settings.tile_rows) +
                             ": set it lower, or to 0 for what fits");
    const std::size_t each = (split.rows + split.tiles - 1) / split.tiles;
    if (each <= 1) throw error;
    fitting_rows_ = (each + 1) / 2;
  }

  /// What has to be the same for one step's work to be that of another: its shapes, and the places
  /// of all that it reads and writes.
  [[nodiscard]] std::vector<std::uintptr_t> key_of(const StepPlan& plan, const TileSplit& split,
                                                   bool several, const Update& update,
                                                   const T* parameters) const {
    std::vector<std::uintptr_t> key{split.jumps, split.tiles,
                                    reinterpret_cast<std::uintptr_t>(update.numbers()),
                                    reinterpret_cast<std::uintptr_t>(parameters)};
    // Which rows of the batch of all are this process's depends on how many of all jump; and all
    // record the same steps.
    if (several) key.push_back(plan.all.jumps);
    for (std::size_t axis = 0; axis < x_.shape().rank(); ++axis) key.push_back(x_.shape()[axis]);
    const auto place = [&](const auto& tensor) {
      key.push_back(tensor.size());
      key.push_back(reinterpret_cast<std::uintptr_t>(tensor.data()));
    };
    place(x_);
    C::fields([&](const char*, const auto& part) { place(part); }, condition_);
    place(gradient_);
    place(report_);
    return key;
  }

  detail::StepExchange<N, R> exchange_;
  Values gradient_;
  Workers<T, Device> workers_;
  Values x_;
  C condition_;
  Tensor<std::uint64_t, Device> counters_;  // the step, and where its jumps end
  Tensor<double, Device> report_;           // squared norm; loss and metrics of the rows
  Tensor<double> known_;                    // loss and metrics on the host, by rows as given
  RowReports reports_;
  kernels::RepeatedWork<Recorder> repeated_;
  bool replays_ = true;
  bool stepped_ = false;  // a step has been taken
  bool changes_with_step_ = false;
  CommunicationReport communication_;
  std::function<void()> meanwhile_;
  bool updating_ = false;         // the current step has reached the update
  bool added_up_ = false;         // its gradient, with those of other processes
  std::size_t fitting_rows_ = 0;  // of a tile, once a device ran out of memory
};

}  // namespace meanflow
