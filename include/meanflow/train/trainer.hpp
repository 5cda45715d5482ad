// SPDX-License-Identifier: MIT
/// \file
/// `MeanFlowTrainer`: a net, a path, a time sampler, a weighting and an objective, composed.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <meanflow/flow/draw_batch.hpp>
#include <meanflow/flow/guidance.hpp>
#include <meanflow/flow/loss_weighting.hpp>
#include <meanflow/flow/objective.hpp>
#include <meanflow/flow/path_schedule.hpp>
#include <meanflow/flow/sampler.hpp>
#include <meanflow/flow/tiles.hpp>
#include <meanflow/flow/time_sampler.hpp>
#include <meanflow/kernels/recording.hpp>
#include <meanflow/kernels/step_numbers.hpp>
#include <meanflow/nn/net.hpp>
#include <meanflow/optim/adam.hpp>
#include <meanflow/optim/ema.hpp>
#include <meanflow/optim/learning_rate.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/tensor/transfer.hpp>
#include <meanflow/train/callback.hpp>
#include <meanflow/train/communicator.hpp>
#include <meanflow/train/report.hpp>
#include <meanflow/train/settings.hpp>
#include <meanflow/train/source.hpp>
#include <meanflow/train/state.hpp>

namespace meanflow {

/// Trains a net. Each part is a slot with a documented concept; each has a default.
///
/// A step is cut into tiles of rows that stay in cache through all layers; each core takes its
/// tiles forward and back with kernels of its own and adds to a gradient of its own. For this, rows
/// must not depend on each other (`Net`).
///
/// With several processes, `step` gets the rows of its own process, which are numbered after those
/// of the processes of lower rank; the gradient is that of the mean over all rows.
template <Net N, PathSchedule Path = LinearPath, TimeSampler Times = LogitNormalTimes,
          LossWeighting Weighting = ConstantWeighting, Objective<N> Goal = MeanFlow,
          Communicator<typename N::value_type, typename N::device_type> Exchange = OneProcess>
class MeanFlowTrainer {
 public:
  using T = typename N::value_type;
  using Device = typename N::device_type;
  using Values = Tensor<T, Device>;
  using State = TrainingState<T, Device>;
  /// Where data sources write.
  using Host = std::conditional_t<on_host<Device>, Device, Cpu>;

  explicit MeanFlowTrainer(N net, TrainerSettings settings = {}, Path path = {}, Times times = {},
                           Weighting weighting = {}, Goal objective = {}, Exchange exchange = {})
      : net_(std::move(net)),
        settings_(std::move(settings)),
        path_(std::move(path)),
        times_(std::move(times)),
        weighting_(std::move(weighting)),
        objective_(std::move(objective)),
        exchange_(std::move(exchange)),
        adam_(net_.parameters().flat_size()),
        gradient_(Values::zeros({net_.parameters().flat_size()})) {
    if (settings_.batch == 0) throw SettingError("batch is 0, but must be at least 1");
    if (!(settings_.clip_norm >= 0))
      throw SettingError("clip_norm is " + std::to_string(settings_.clip_norm) +
                         ", but must be at least 0");
    settings_.optimizer.check();
    settings_.learning_rate.check();
    for (const Averaging& rule : settings_.averages) check(rule);
    if constexpr (requires { objective_.check(); }) objective_.check();
    settings_.label_dropout.check();
    check_precision(Device{}, settings_.precision);
    if (!std::is_same_v<T, float> && settings_.precision != Precision::float32)
      throw SettingError("precision is bfloat16, but this net's numbers are not float");
    if (settings_.label_dropout.rate > 0)
      null_class_ = null_class_of(net_, settings_.label_dropout.null_class, "label dropout");
    for (std::size_t i = 0; i < settings_.averages.size(); ++i)
      averages_.push_back(net_.parameters().values().clone());
  }

  /// One step on the rows x (B, ...) with their conditions. Throws NonFiniteError, before anything
  /// has changed, if a loss or the gradient is not finite.
  StepReport step(const Values& x, const Condition<T, Device>& condition = {}) {
    const std::size_t rows = x.rows(), jumps = jump_count(rows, step_);
    detail::check_condition("trainer", condition, rows);
    prepare(rows);
    jump_end_ = row_number(x, jumps);
    const ComputeIn precision(settings_.precision, Device{});
    const double rate = settings_.learning_rate.at(step_, settings_.steps);
    double norm = 0;
    if constexpr (on_host<Device>)
      norm = step_on_host(x, condition, {rows, jumps, tile_count(rows)}, rate);
    else
      norm = step_on_device(x, condition, jumps, rate);
    StepReport report = summary(jumps);
    report.gradient_norm = norm;
    report.learning_rate = rate;
    ++step_;
    return report;
  }

  /// Trains to `settings.steps` on batches from `source`, telling the callbacks
  /// (`TrainingCallback`) of every step. They are told of the end also when it is an exception,
  /// which then goes on to the caller; but not after a NonFiniteError, since parameters that lead
  /// to one are not worth saving.
  template <DataSource<T, Host> Source, class... Callbacks>
    requires(TrainingCallback<Callbacks, MeanFlowTrainer> && ...)
  void fit(Source&& source, Callbacks&&... callbacks) {
    (detail::check_callback<std::remove_cvref_t<Callbacks>, MeanFlowTrainer>(), ...);
    Shape shape{settings_.batch};
    for (std::size_t extent : Shape(source.row_shape())) shape.push_back(extent);
    Tensor<T, Host> x(shape);
    Condition<T, Host> condition;
    const auto start = std::chrono::steady_clock::now();
    (detail::notify_begin(callbacks, *this), ...);
    try {
      while (step_ < settings_.steps) {
        const std::uint64_t number = step_ * exchange_.size() + exchange_.rank();
        if constexpr (requires { source.fill(x, condition, settings_.seed, number); })
          source.fill(x, condition, settings_.seed, number);
        else
          source.fill(x, settings_.seed, number);
        [[maybe_unused]] StepReport report = step_from_host(x, condition);
        report.seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        bool stops = false;
        ((stops = detail::notify_step(callbacks, *this, report) || stops),
         ...);  // all of them are told
        if (stops) break;
      }
    } catch (const NonFiniteError&) {
      throw;
    } catch (...) {
      (detail::notify_failed_end(callbacks, *this), ...);
      throw;
    }
    (detail::notify_end(callbacks, *this), ...);
  }

  /// Samples from noise (B, ...) with the first average, or the net itself if none is kept: in
  /// steps of the average velocity or, after flow matching, which learns the velocity alone, of
  /// Euler's rule.
  [[nodiscard]] Values sample(const Values& noise, std::size_t steps = 1,
                              const Condition<T, Device>& condition = {}) {
    const UseValues<T, Device> averaged(net_.parameters(), best_values());
    const ComputeIn precision(settings_.precision, Device{});
    if constexpr (detail::needs_jumps<Goal>())
      return meanflow::sample(net_, noise, steps, condition);
    else
      return meanflow::solve(net_, noise, steps, Solver::euler, condition);
  }

  [[nodiscard]] N& net() { return net_; }
  [[nodiscard]] const N& net() const { return net_; }
  [[nodiscard]] const TrainerSettings& settings() const { return settings_; }
  [[nodiscard]] std::uint64_t steps_done() const { return step_; }

  /// The average number `index`, as a flat buffer for `UseValues`.
  [[nodiscard]] const Values& average(std::size_t index = 0) const { return averages_.at(index); }

  /// The first average, or the current values if none is kept.
  [[nodiscard]] const Values& best_values() const {
    return averages_.empty() ? net_.parameters().values() : averages_.front();
  }

  /// What has to be kept to go on later. The tensors share the trainer's memory, which the next
  /// step changes.
  [[nodiscard]] TrainingState<T, Device> state() const {
    return {step_, net_.parameters().values(), adam_.first, adam_.second, averages_};
  }

  /// Goes on from `state`, to the bit as the training that it was taken from, given the same
  /// settings and data. Throws ShapeError, and changes nothing, if it is that of another net or has
  /// another number of averages.
  void restore(const TrainingState<T, Device>& state) {
    if (state.averages.size() != averages_.size())
      throw ShapeError("MeanFlowTrainer::restore: the state has " +
                       std::to_string(state.averages.size()) + " averages, the settings have " +
                       std::to_string(averages_.size()));
    const TrainingState<T, Device> own = this->state();
    const auto pairs = [&](auto f) {
      f(state.parameters, own.parameters);
      f(state.first, own.first);
      f(state.second, own.second);
      for (std::size_t k = 0; k < averages_.size(); ++k) f(state.averages[k], own.averages[k]);
    };
    pairs([](const Values& from, const Values& to) {
      if (from.size() != to.size())
        throw_shape_error("MeanFlowTrainer::restore", from.shape(), to.shape(),
                          "the state is that of another net");
    });
    pairs([](const Values& from, const Values& to) {
      copy(Device{}, from.size(), static_cast<const T*>(from.data()), to.data());
    });
    adam_.count = step_ = state.step;
  }

  /// Whether steps are recorded and replayed (`TrainerSettings::replay`).
  [[nodiscard]] kernels::RecordingReport recording() const { return repeated_.report(); }

  /// The gradient of the last step, as a flat buffer.
  [[nodiscard]] const Values& gradient() const { return gradient_; }

  /// The rows of the last step.
  [[nodiscard]] const RowReports& rows() const { return rows_; }

 private:
  /// What one core works with.
  struct Lane {
    Tape<T, Device> tape;
    Values gradient;
  };

  /// Partial sums that a device's squared norm may need memory for.
  static constexpr std::size_t norm_parts = 1024;

  /// Elements of the flat buffers that are worked on together, since they stay in cache.
  [[nodiscard]] static constexpr std::size_t chunk() { return 8192; }

  /// How many of the rows jump in a step.
  [[nodiscard]] std::size_t jump_count(std::size_t rows, std::uint64_t step) const {
    if constexpr (!detail::needs_jumps<Goal>()) {
      return 0;
    } else {
      RandomStream stream(settings_.seed, Purpose::times, step, ~std::uint32_t{0});
      const std::size_t jumps = times_.jump_rows(rows, stream);
      if (jumps > rows)
        throw SettingError("the time sampler lets " + std::to_string(jumps) + " of " +
                           std::to_string(rows) + " rows jump");
      return jumps;
    }
  }

  [[nodiscard]] StepReport step_from_host(const Tensor<T, Host>& x,
                                          const Condition<T, Host>& condition) {
    if constexpr (on_host<Device>)
      return step(x, condition);
    else {
      check_labels(condition.labels);
      return step(
          to_device<Device>(x),
          {to_device<Device>(condition.labels), to_device<Device>(condition.augmentation), {}});
    }
  }

  /// Classes that the net does not have, where they can still be seen.
  void check_labels(const Tensor<std::int32_t, Host>& labels) const {
    if constexpr (requires {
                    { net_.null_class() } -> std::convertible_to<std::optional<std::int32_t>>;
                  }) {
      const std::optional<std::int32_t> null = net_.null_class();
      for (std::size_t row = 0; null && row < labels.size(); ++row)
        if (labels[row] < 0 || labels[row] > *null)
          throw ShapeError("trainer: label " + std::to_string(labels[row]) + " of row " +
                           std::to_string(row) + " is not in [0, " + std::to_string(*null) + "]");
    }
  }

  void prepare(std::size_t rows) {
    for (auto* values :
         {&rows_.loss, &rows_.square, &rows_.velocity_square, &rows_.derivative_square})
      values->resize(rows);
    partial_norms_.resize((gradient_.size() + chunk() - 1) / chunk());
  }

  /// The first lane adds to the gradient itself, the others to gradients of their own.
  void prepare_lanes(std::size_t count) {
    while (lanes_.size() < count) {
      lanes_.push_back(std::make_unique<Lane>());
      lanes_.back()->gradient = lanes_.size() == 1 ? gradient_ : Values::zeros({gradient_.size()});
      lanes_.back()->tape.bind(net_.parameters(), lanes_.back()->gradient);
    }
  }

  [[nodiscard]] std::size_t tile_count(std::size_t rows) const {
    const std::size_t each = settings_.tile_rows > 0 ? settings_.tile_rows : fitting_rows_;
    if (each > 0) return std::max<std::size_t>(1, (rows + each - 1) / each);
    return row_tiles(Device{}, rows, gradient_.size());
  }

  /// How many rows carry a tangent on a device that plans and records its work by shape. Where the
  /// number of jumping rows is random, it is rounded up so that only a few shapes occur. The
  /// surplus rows have r = t, so their tangent has no effect.
  [[nodiscard]] std::size_t carried_rows(std::size_t rows, std::size_t jumps) {
    if (!jumps_vary(rows)) return jumps;
    const std::size_t bucket = std::max<std::size_t>(1, rows / 16);
    return std::min(rows, (jumps + bucket - 1) / bucket * bucket);
  }

  /// Whether the number of jumping rows differs between steps. Decided by the first steps of the
  /// run rather than those seen so far, so that a resumed training run rounds the same way.
  [[nodiscard]] bool jumps_vary(std::size_t rows) {
    if (rows == checked_rows_) return jumps_vary_;
    checked_rows_ = rows;
    jumps_vary_ = false;
    for (std::uint64_t step = 1; step < 8; ++step)
      jumps_vary_ = jumps_vary_ || jump_count(rows, step) != jump_count(rows, 0);
    return jumps_vary_;
  }

  /// After the device ran out of memory: drops recordings if there are any, else halves the tiles.
  void use_less_memory(const OutOfMemoryError& error, std::size_t rows, std::size_t tiles) {
    // The memory of recordings of other shapes may be all that is in the way.
    const bool recorded = repeated_.report().recordings > 0;
    repeated_.forget();
    if (recorded) return;
    if (settings_.tile_rows > 0)
      throw OutOfMemoryError(std::string(error.what()) + "; tile_rows is " +
                             std::to_string(settings_.tile_rows) +
                             ": set it lower, or to 0 for what fits");
    const std::size_t each = (rows + tiles - 1) / tiles;
    if (each <= 1) throw error;
    fitting_rows_ = (each + 1) / 2;
  }

  [[nodiscard]] double step_on_host(const Values& x, const Condition<T, Device>& condition,
                                    const TileSplit& split, double learning_rate) {
    prepare_lanes(std::min(lanes(Device{}), split.tiles));
    fill(Device{}, gradient_.size(), T(0), gradient_.data());
    try {
      parallel_tasks(Device{}, split.tiles, [&](std::size_t tile, std::size_t lane) {
        const TileRows rows = split[tile];
        if (rows.count > 0) collect(rows, run_tile(*lanes_[lane], x, condition, rows));
      });
    } catch (...) {
      clear_lanes();
      throw;
    }
    const double norm = std::sqrt(reduce_gradients());
    check_rows();
    check_gradient(norm);
    update(learning_rate, norm);
    return norm;
  }

  /// The same on a device that is not waited for: whether the numbers are finite and how far they
  /// are to be clipped is decided there, and known here when all has been asked for. What the work
  /// reads and writes stays where it is from step to step, so that it can be recorded.
  [[nodiscard]] double step_on_device(const Values& x, const Condition<T, Device>& condition,
                                      std::size_t jumps, double learning_rate) {
    const std::size_t rows = x.rows();
    prepare_lanes(1);
    lay(x, x_);
    lay(condition.labels, condition_.labels);
    lay(condition.augmentation, condition_.augmentation);
    if (report_.size() != 1 + 4 * rows) report_ = Tensor<double, Device>({1 + 4 * rows});
    write_numbers(learning_rate, rows);
    TileSplit split{rows, carried_rows(rows, jumps), tile_count(rows)};
    while (!try_step(split)) split.tiles = tile_count(rows);
    const double norm = read_report(split, jumps);
    check_rows();
    check_gradient(norm);
    ++adam_.count;
    return norm;
  }

  /// Runs the step in these tiles; false if the device has too little memory for them. Then nothing
  /// has changed: parameters are updated only after everything has been allocated.
  [[nodiscard]] bool try_step(const TileSplit& split) {
    // Left free for samples drawn between steps, and for the device's own libraries.
    [[maybe_unused]] const auto spare = spare_memory(Device{}, 1.0 / 8);
    const auto work = [&] { work_on_device(split); };
    try {
      if (settings_.replay && exchange_.size() == 1)
        repeated_.run(key_of(split), work);
      else
        work();
      return true;
    } catch (const OutOfMemoryError& error) {
      clear_lanes();
      use_less_memory(error, split.rows, split.tiles);
      return false;
    } catch (...) {
      clear_lanes();
      throw;
    }
  }

  /// Copies to memory that stays where it is while the shape is the same.
  template <class Element>
  static void lay(const Tensor<Element, Device>& from, Tensor<Element, Device>& to) {
    if (from.empty()) {
      to = {};
      return;
    }
    if (to.empty() || !(to.shape() == from.shape())) to = Tensor<Element, Device>(from.shape());
    copy(Device{}, from.size(), static_cast<const Element*>(from.data()), to.data());
  }

  /// What has to be the same for one step's work to be that of another: its shapes, and the places
  /// of all that it reads and writes.
  [[nodiscard]] std::vector<std::uintptr_t> key_of(const TileSplit& split) const {
    std::vector<std::uintptr_t> key{split.jumps, split.tiles, condition_.labels.size(),
                                    condition_.augmentation.size()};
    for (std::size_t axis = 0; axis < x_.shape().rank(); ++axis) key.push_back(x_.shape()[axis]);
    const auto place = [&](const auto& tensor) {
      key.push_back(reinterpret_cast<std::uintptr_t>(tensor.data()));
    };
    place(net_.parameters().values());
    place(x_);
    place(condition_.labels);
    place(condition_.augmentation);
    place(numbers_);
    place(shares_);
    place(report_);
    return key;
  }

  void write_numbers(double learning_rate, std::size_t rows) {
    const kernels::StepNumbers<T> numbers{
        step_, jump_end_,
        kernels::AdamNumbers<T>(
            adam_coefficients(settings_.optimizer, learning_rate, adam_.count + 1))};
    if (numbers_.empty()) numbers_ = Tensor<kernels::StepNumbers<T>, Device>({1});
    write(numbers_, &numbers);
    if (averages_.empty()) return;
    std::vector<T> shares;
    for (const Averaging& rule : settings_.averages)
      shares.push_back(static_cast<T>(1 - decay_at(rule, step_, rows * exchange_.size())));
    if (shares_.empty()) shares_ = Values({shares.size()});
    write(shares_, shares.data());
  }

  void work_on_device(const TileSplit& split) {
    const std::size_t size = gradient_.size();
    double* const reports = report_.data() + 1;
    fill(Device{}, size, T(0), gradient_.data());
    std::size_t first = 0;
    for (std::size_t tile = 0; tile < split.tiles; ++tile) {
      const TileRows rows = split[tile];
      if (rows.count == 0) continue;
      const TileReport report = run_tile(*lanes_.front(), x_, condition_, rows);
      report_rows(Device{}, rows.count, static_cast<const double*>(report.loss.data()),
                  static_cast<const T*>(report.square.data()),
                  static_cast<const T*>(report.velocity_square.data()),
                  static_cast<const T*>(report.derivative_square.data()), reports + 4 * first);
      first += rows.count;
    }
    lanes_.front()->tape.clear();  // returns its memory to the pool that recorded steps share
    poison(Device{}, 4 * split.rows, static_cast<const double*>(reports), gradient_.data());
    if (exchange_.size() > 1) {
      // The last memory that the step takes: to run out of it after the exchange would be too late.
      static_cast<void>(Tensor<double, Device>({norm_parts}));
      exchange_.sum(gradient_);
    }
    square_norm(Device{}, size, static_cast<const T*>(gradient_.data()), report_.data());
    const double* const square = report_.data();
    T* const parameters = net_.parameters().values().data();
    guarded_adam(Device{}, size, static_cast<const kernels::StepNumbers<T>*>(numbers_.data()),
                 settings_.clip_norm, square, static_cast<const T*>(gradient_.data()),
                 adam_.first.data(), adam_.second.data(), parameters);
    for (std::size_t k = 0; k < averages_.size(); ++k)
      guarded_average(Device{}, size, static_cast<const T*>(shares_.data() + k), square,
                      static_cast<const T*>(parameters), averages_[k].data());
  }

  /// What the work has laid down: fills `rows_`, and returns the norm of the gradient.
  [[nodiscard]] double read_report(const TileSplit& split, std::size_t jumps) {
    const Tensor<double> known = to_host(report_);
    const double* of_row = known.data() + 1;
    for (std::size_t tile = 0; tile < split.tiles; ++tile) {
      const TileRows rows = split[tile];
      for (std::size_t i = 0; i < rows.count; ++i, of_row += 4) {
        const std::size_t row = rows[i];
        rows_.loss[row] = of_row[0];
        rows_.square[row] = of_row[1];
        rows_.velocity_square[row] = of_row[2];
        rows_.derivative_square[row] = row < jumps ? of_row[3] : 0;
      }
    }
    return std::sqrt(known[0]);
  }

  /// On a device that records, what changes from step to step is read from its memory.
  [[nodiscard]] auto draw_settings(const Values& x) const {
    const auto with = [&](auto step, auto jump_end) {
      return DrawSettings<decltype(step)>{
          settings_.seed, step, jump_end, row_number(x, 0), settings_.label_dropout, null_class_};
    };
    if constexpr (on_host<Device>)
      return with(step_, jump_end_);
    else
      return with(&numbers_.data()->step, &numbers_.data()->jump_end);
  }

  /// What is reported of a tile's rows, where the device left it.
  struct TileReport {
    Tensor<double, Device> loss;
    Values square, velocity_square, derivative_square;
  };

  /// A tile's rows forward and back; adds to the lane's gradient.
  [[nodiscard]] TileReport run_tile(Lane& lane, const Values& x,
                                    const Condition<T, Device>& condition, const TileRows& rows) {
    lane.tape.clear();
    const FlowBatch<T, Device> batch =
        draw_batch(x, condition, rows, path_, times_, draw_settings(x));
    FlowResidual<T, Device> residual = objective_(net_, batch, lane.tape);
    if (residual.node == Tape<T, Device>::no_node)
      throw Error(
          "trainer: the objective's residual does not depend on the net's parameters; its node "
          "must be that of u, computed by the net from values on the given tape");
    const Tensor<double, Device> losses = weigh(weighting_, residual, x.rows() * exchange_.size());
    lane.tape.backward(residual.node, residual.error);
    return {losses, residual.square, residual.velocity_square, residual.derivative_square};
  }

  void collect(const TileRows& rows, const TileReport& tile) {
    const auto rows_to = [&](const auto& values, std::vector<double>& to) {
      for (std::size_t i = 0; i < values.size(); ++i) to[rows[i]] = static_cast<double>(values[i]);
    };
    rows_to(tile.loss, rows_.loss);
    rows_to(tile.square, rows_.square);
    rows_to(tile.velocity_square, rows_.velocity_square);
    rows_to(tile.derivative_square, rows_.derivative_square);
  }

  /// Adds the other lanes' gradients to that of the first, clears them for the next step, and
  /// returns the squared norm of the sum.
  [[nodiscard]] double reduce_gradients() {
    parallel_for(Device{}, partial_norms_.size(), 1, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) {
        const std::size_t begin = i * chunk(), size = std::min(chunk(), gradient_.size() - begin);
        T* sum = gradient_.data() + begin;
        for (std::size_t lane = 1; lane < lanes_.size(); ++lane) {
          T* part = lanes_[lane]->gradient.data() + begin;
          accumulate(Device{}, size, static_cast<const T*>(part), sum);
          fill(Device{}, size, T(0), part);
        }
        if (exchange_.size() == 1)
          partial_norms_[i] = square_norm(Device{}, size, static_cast<const T*>(sum));
      }
    });
    if (exchange_.size() > 1) {
      // All processes have to hear of it, or the others would wait for this one's next gradient.
      if (!rows_are_finite())
        fill(Device{}, 1, std::numeric_limits<T>::quiet_NaN(), gradient_.data());
      exchange_gradients();
    }
    double sum = 0;
    for (double part : partial_norms_) sum += part;
    return sum;
  }

  void exchange_gradients() {
    exchange_.sum(gradient_);
    parallel_for(Device{}, partial_norms_.size(), 1, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i)
        partial_norms_[i] = square_norm(Device{}, std::min(chunk(), gradient_.size() - i * chunk()),
                                        static_cast<const T*>(gradient_.data() + i * chunk()));
    });
  }

  /// The number of row `row` of x in the batch of all processes.
  [[nodiscard]] std::uint64_t row_number(const Values& x, std::size_t row) const {
    return exchange_.rank() * x.rows() + row;
  }

  /// Optimizer and averages in one pass over the flat buffers.
  void update(double learning_rate, double norm) {
    const bool clips = settings_.clip_norm > 0 && norm > settings_.clip_norm;
    const AdamCoefficients c = adam_coefficients(settings_.optimizer, learning_rate, ++adam_.count,
                                                 clips ? settings_.clip_norm / norm : 1);
    const Values& parameters = net_.parameters().values();
    decays_.resize(averages_.size());
    for (std::size_t k = 0; k < averages_.size(); ++k)
      decays_[k] = decay_at(settings_.averages[k], step_, rows_.loss.size() * exchange_.size());
    parallel_for(Device{}, partial_norms_.size(), 1, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) {
        const std::size_t begin = i * chunk(), size = std::min(chunk(), gradient_.size() - begin);
        T* p = parameters.data() + begin;
        adam(Device{}, size, c, static_cast<const T*>(gradient_.data() + begin),
             adam_.first.data() + begin, adam_.second.data() + begin, p);
        for (std::size_t k = 0; k < averages_.size(); ++k)
          kernels::average(Device{}, size, decays_[k], static_cast<const T*>(p),
                           averages_[k].data() + begin);
      }
    });
  }

  [[nodiscard]] StepReport summary(std::size_t jumps) const {
    StepReport report;
    report.step = step_;
    report.steps = settings_.steps;
    report.jump_rows = jumps;
    const double rows = static_cast<double>(rows_.loss.size());
    for (std::size_t i = 0; i < rows_.loss.size(); ++i) {
      report.loss += rows_.loss[i] / rows;
      report.square += rows_.square[i] / rows;
      report.velocity_square += rows_.velocity_square[i] / rows;
      report.derivative_norm += std::sqrt(rows_.derivative_square[i]);
    }
    report.derivative_norm /= static_cast<double>(std::max<std::size_t>(jumps, 1));
    return report;
  }

  [[nodiscard]] bool rows_are_finite() const {
    return std::all_of(rows_.loss.begin(), rows_.loss.end(),
                       [](double loss) { return std::isfinite(loss); });
  }

  void check_rows() {
    std::vector<std::size_t> bad;
    for (std::size_t i = 0; i < rows_.loss.size(); ++i)
      if (!std::isfinite(rows_.loss[i])) bad.push_back(i);
    if (!bad.empty()) fail("the loss is not finite", std::move(bad));
  }

  void check_gradient(double norm) {
    if (!std::isfinite(norm)) fail("the gradient is not finite", {});
  }

  /// Forgets what a step that failed has left behind.
  void clear_lanes() {
    for (auto& lane : lanes_) {
      lane->tape.clear();
      fill(Device{}, lane->gradient.size(), T(0), lane->gradient.data());
    }
  }

  [[noreturn]] void fail(const std::string& what, std::vector<std::size_t> rows) {
    clear_lanes();
    std::string message = "training stopped at step " + std::to_string(step_) + ": " + what;
    if (!rows.empty()) {
      message += " in " + std::to_string(rows.size()) + " of " + std::to_string(rows_.loss.size()) +
                 " rows (";
      for (std::size_t i = 0; i < std::min<std::size_t>(rows.size(), 8); ++i)
        message += (i ? ", " : "") + std::to_string(rows[i]);
      message += rows.size() > 8 ? ", ...)" : ")";
    }
    throw NonFiniteError(message + "; the parameters are those of the step before", step_,
                         std::move(rows));
  }

  N net_;
  TrainerSettings settings_;
  Path path_;
  Times times_;
  Weighting weighting_;
  Goal objective_;
  Exchange exchange_;
  AdamState<T, Device> adam_;
  Values gradient_;
  std::vector<Values> averages_;
  std::vector<double> decays_;
  std::vector<double> partial_norms_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  // Of a device that is not waited for: what its work reads and writes.
  Values x_, shares_;
  Condition<T, Device> condition_;
  Tensor<kernels::StepNumbers<T>, Device> numbers_;
  Tensor<double, Device> report_;
  kernels::RepeatedWork<kernels::RecorderOf<Device>> repeated_;
  RowReports rows_;
  std::int32_t null_class_ = -1;  // set where labels are dropped
  std::uint64_t step_ = 0;
  std::uint64_t jump_end_ = 0;    // of the step at hand
  std::size_t fitting_rows_ = 0;  // of a tile, once a device had too little memory
  std::size_t checked_rows_ = 0;  // the batch that `jumps_vary_` is about
  bool jumps_vary_ = false;
};

}  // namespace meanflow
