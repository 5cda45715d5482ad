// SPDX-License-Identifier: MIT
/// \file
/// `MeanFlowTrainer`: a net, a recipe and settings, composed.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <meanflow/flow/generate.hpp>
#include <meanflow/kernels/device.hpp>
#include <meanflow/kernels/report.hpp>
#include <meanflow/nn/net.hpp>
#include <meanflow/tensor/transfer.hpp>
#include <meanflow/train/agreement.hpp>
#include <meanflow/train/batches.hpp>
#include <meanflow/train/callback.hpp>
#include <meanflow/train/failure.hpp>
#include <meanflow/train/identity.hpp>
#include <meanflow/train/parts.hpp>
#include <meanflow/train/placement.hpp>
#include <meanflow/train/recipe.hpp>
#include <meanflow/train/report.hpp>
#include <meanflow/train/settings.hpp>
#include <meanflow/train/source.hpp>
#include <meanflow/train/state.hpp>
#include <meanflow/train/step_engine.hpp>
#include <meanflow/train/step_plan.hpp>
#include <meanflow/train/whole_state.hpp>

namespace meanflow {

/// Trains a net. The recipe's slots each have a documented concept and a default.
///
/// A step is cut into tiles of rows that stay in cache through all layers; each core takes its
/// tiles forward and back with kernels of its own and adds to a gradient of its own. For this, rows
/// must not depend on each other (`Net`).
///
/// With several processes, each is given rows of its own, those of rank k the rows from k B on of
/// the batch of all, and the gradient is that of the mean over all rows. Which of them jump, their
/// times and their noise are decided by their numbers in that batch (`JumpOrder`), and so are the
/// same for any number of processes.
template <Net N, AnyRecipe R = Recipe<>>
class MeanFlowTrainer {
  static_assert(kernels::Device<typename N::device_type>,
                "a device must have the traits and kernels that kernels/device.hpp lists");
  static_assert(Objective<decltype(R::objective), N, decltype(R::weighting)>,
                "an objective must be callable with (net, batch, context) and return RowLosses, or "
                "have output(net, batch, tape) and losses(outputs, data)");
  static_assert(Optimizer<decltype(R::optimizer), typename N::value_type, typename N::device_type>,
                "an optimizer must have state, Numbers<T>, numbers<T>(rates), and update(numbers, "
                "gradient, parameter, state...) or update_all(work)");
  static_assert(
      Communicator<decltype(R::communicator), typename N::value_type, typename N::device_type>,
      "a communicator must have size(), rank(), all_reduce(values), all_reduce(numbers) and "
      "broadcast(bytes, rank)");

 public:
  using T = typename N::value_type;
  using Device = typename N::device_type;
  using Values = Tensor<T, Device>;
  using Condition = ConditionOf<N>;
  using State = TrainingState<T, Device>;

  /// Throws SettingError if a setting is out of range or asks for what the net does not have.
  explicit MeanFlowTrainer(N net, TrainerSettings settings = {}, R recipe = {})
      : net_(std::move(net)),
        settings_((settings.check(), std::move(settings))),
        recipe_(std::move(recipe)),
        shards_(shard_bounds()),
        update_(net_.parameters(), recipe_.optimizer, settings_.groups, settings_.averages,
                own_shard()),
        engine_(net_.parameters().flat_size(), shards_) {
    if constexpr (requires { recipe_.objective.check(); }) recipe_.objective.check();
    check_precision(Device{}, settings_.precision);
    if (settings_.deterministic && !std::is_same_v<Device, Cpu>)
      throw SettingError("deterministic is for the processor, but this net is on another device");
    if (!std::is_same_v<T, float> && settings_.precision != Precision::float32)
      throw SettingError("precision is bfloat16, but this net's numbers are not float");
    if (settings_.condition_dropout.rate > 0) null_ = null_condition_of(net_, "condition dropout");
  }

  /// One step on the rows x (B, ...) with their conditions: of several processes, B rows of each.
  /// Throws NonFiniteError, before anything has changed, if a loss or the gradient is not finite,
  /// and OtherProcessError if another process failed in this step.
  StepReport step(const Values& x, const Condition& condition = {}) {
    return together([&] {
      check_same_rows(x.rows());
      return own_step(x, condition);
    });
  }

  /// Trains to `settings.steps` on batches from `source`, telling the callbacks
  /// (`TrainingCallback`) of every step. They are notified of the end even if it is an exception,
  /// which then reaches the caller; but not after a NonFiniteError, since parameters that lead to
  /// one are not worth saving. If one of several processes is told to stop, or fails, all stop
  /// after the same step.
  template <DataSource<T, Condition> Source, class... Callbacks>
    requires(TrainingCallback<Callbacks, MeanFlowTrainer> && ...)
  void fit(Source&& source, Callbacks&&... callbacks) {
    (detail::check_callback<std::remove_cvref_t<Callbacks>, MeanFlowTrainer>(), ...);
    if (std::is_same_v<Device, Cpu> && settings_.warnings) print_kernel_warnings_once();
    using Batches = detail::Batches<T, Condition, std::remove_reference_t<Source>>;
    std::optional<Batches> batches;
    agree([&] {
      batches.emplace(source, own_batch() * settings_.gradient_accumulation, settings_.seed);
    });
    check_same_run([&] { return detail::beginning_identity(*this, source); });
    const auto start = std::chrono::steady_clock::now();
    agree([&] { (notify(callbacks, [&] { detail::notify_begin(callbacks, *this); }), ...); });
    try {
      while (step_ < settings_.steps) {
        [[maybe_unused]] StepReport report = together([&] {
          const auto& communicator = recipe_.communicator;
          const auto number = [&](std::uint64_t step) {
            return step * communicator.size() + communicator.rank();
          };
          const auto& batch = batches->batch(number(step_));
          engine_.while_running([&, next = step_ + 1] {
            if (next < settings_.steps) batches->prepare(number(next));
          });
          const detail::AtExit done([this] { engine_.while_running({}); });
          return with_device_batch(batch, [this](const Values& x, const Condition& condition) {
            return own_step(x, condition);
          });
        });
        report.seconds = detail::seconds_since(start);
        const bool stops = agree([&] {
          bool stop = false;  // all of them are notified
          ((stop |=
            notify(callbacks, [&] { return detail::notify_step(callbacks, *this, report); })),
           ...);
          return stop;
        });
        if (stops) break;
      }
    } catch (const NonFiniteError&) {
      static_cast<void>(all_end_alike(false));
      throw;
    } catch (...) {
      if (all_end_alike(true))
        (notify(callbacks, [&] { detail::notify_failed_end(callbacks, *this); }), ...);
      throw;
    }
    agree([&] { (notify(callbacks, [&] { detail::notify_end(callbacks, *this); }), ...); });
  }

  /// The mean loss and metrics of `batches` batches of held-out rows, of the first average, or of
  /// the net itself if none is kept: without dropout, and with the same times and noise every time,
  /// so that numbers of different steps can be compared. Several processes share the rows, call
  /// this together, and get the same numbers.
  template <DataSource<T, Condition> Source>
  [[nodiscard]] EvaluationReport evaluate(Source&& source, std::size_t batches = 1) {
    if (batches == 0) throw SettingError("evaluate: batches is 0, but must be at least 1");
    check_not_alone("evaluate");
    const UseValues<T, Device> averaged(net_.parameters(), best_values());
    const AutocastScope precision(settings_.precision, Device{});
    const ConvolutionScope convolutions(settings_.convolutions);
    auto& communicator = recipe_.communicator;
    EvaluationReport report{.metrics = Metrics(engine_.metrics), .rows = batches * settings_.batch};
    // Beyond the rows of any training run, whose random numbers are others.
    const std::uint64_t first = (std::uint64_t{1} << 43) / settings_.batch;
    detail::ExactSums sums(1 + engine_.metrics.size());
    agree([&] {
      SourceBatch<T, Condition> batch(source, own_batch());
      for (std::uint64_t number = first; number < first + batches; ++number) {
        batch.fill(source, settings_.seed, number * communicator.size() + communicator.rank());
        const RowReports rows = measured(batch, number);
        if (settings_.deterministic) {
          rows.for_each_term([&](std::size_t i, double term) {
            sums.add(i, term / static_cast<double>(batches));
          });
          continue;
        }
        const Metrics metrics = rows.part_of_metrics();
        report.loss += rows.part_of_loss() / static_cast<double>(batches);
        for (std::size_t m = 0; m < metrics.size(); ++m)
          report.metrics.value(m) += metrics.value(m) / static_cast<double>(batches);
      }
    });
    meet([&] {
      if (settings_.deterministic)
        add_up(sums, report.loss, report.metrics);
      else
        add_up(report.loss, report.metrics);
    });
    return report;
  }

  /// Samples from noise (B, ...) with the first average, or the net itself if none is kept: in
  /// steps of the average velocity or, after flow matching, which learns the velocity alone, of
  /// Euler's rule.
  [[nodiscard]] Values sample(const Values& noise, std::size_t steps = 1,
                              const Condition& condition = {}) {
    return sample(noise, SamplingSettings{.steps = steps}, condition);
  }

  /// The same guided, by another solver, or in another way that `settings` tells.
  [[nodiscard]] Values sample(const Values& noise, SamplingSettings settings,
                              const Condition& condition = {}) {
    const UseValues<T, Device> averaged(net_.parameters(), best_values());
    const AutocastScope precision(settings_.precision, Device{});
    const ConvolutionScope convolutions(settings_.convolutions);
    if (instantaneous(recipe_.objective) && !settings.solver) settings.solver = Solver::euler;
    return generate(net_, noise, settings, condition);
  }

  [[nodiscard]] N& net() { return net_; }
  [[nodiscard]] const N& net() const { return net_; }
  [[nodiscard]] const TrainerSettings& settings() const { return settings_; }
  [[nodiscard]] const R& recipe() const { return recipe_; }
  [[nodiscard]] std::uint64_t steps_done() const { return step_; }

  /// The shape of a row of data: the net's own `row_shape()` if it says so, else that of the last
  /// step, empty before the first one.
  [[nodiscard]] Shape row_shape() const {
    if constexpr (requires { net_.row_shape(); })
      return net_.row_shape();
    else
      return row_shape_;
  }

  /// The average number `index`, as a flat buffer for `UseValues`.
  [[nodiscard]] const Values& average(std::size_t index = 0) const {
    return update_.averages().at(index);
  }

  /// The first average, or the current values if none is kept.
  [[nodiscard]] Values best_values() const {
    return update_.averages().empty() ? net_.parameters().values() : update_.averages().front();
  }

  /// What must be saved to resume later. The tensors share the trainer's memory, which the next
  /// step changes. Where the optimizer's state is sharded (`is_sharded`), its tensors are this
  /// process's parts: see `whole_state`.
  [[nodiscard]] State state() const {
    return {step_, net_.parameters().values(), update_.state(), update_.averages()};
  }

  /// The same on the host, with tensors that may share the trainer's memory, and whole: where the
  /// optimizer's state is sharded, all processes call this, never in `by_root`, and the root alone
  /// gets the optimizer's tensors.
  [[nodiscard]] TrainingState<T> whole_state() const {
    if (!is_sharded()) return detail::state_on_host(state());
    check_not_alone("whole_state");
    auto communicator = recipe_.communicator;
    return detail::gather_state(communicator, state(), shards_);
  }

  /// Whether each process has its part of the optimizer's state alone.
  [[nodiscard]] bool is_sharded() const { return !shards_.empty(); }

  /// Resumes from `state`, on the device or on the host, bit for bit as the training run that it
  /// was taken from, given the same settings and data. It must be whole, though each process takes
  /// its part alone where the optimizer's state is sharded. Throws ShapeError, and changes nothing,
  /// if it is that of another net, of another optimizer, or has another number of averages.
  template <class Place>
    requires(std::same_as<Place, Device> || std::same_as<Place, Cpu>)
  void restore(const TrainingState<T, Place>& state) {
    State own = this->state();
    detail::check_same_parts(state, own, net_.parameters().flat_size());
    detail::assign_state(state, update_.range(), own);
    step_ = state.step;
    if (kept_optimizer_) *kept_optimizer_ = detail::state_on_host(state).optimizer;
  }

  /// f(), by the root alone, which returns whether it has restored a state, by `restore` where the
  /// optimizer's is sharded: then all processes have that state. All of them call this. Throws
  /// OtherProcessError in the others if f throws.
  template <class F>
  bool restore_by_root(F f) {
    check_not_alone("restore_by_root");
    auto& communicator = recipe_.communicator;
    check_same_run([&] { return detail::process_identity(*this); });
    std::vector<Tensor<T>> optimizer;  // of the root, whole
    if (is_sharded() && is_root(communicator)) kept_optimizer_ = &optimizer;
    const detail::AtExit done([this] { kept_optimizer_ = nullptr; });
    const bool restored = agree([&] {
      if (!is_root(communicator) || !f()) return false;
      if (is_sharded() && optimizer.size() != update_.state().size())
        throw SettingError("restore_by_root: f returned true, but has not called restore");
      return true;
    });
    if (!restored || communicator.size() == 1) return restored;
    Tensor<T> place;  // all that can fail, before the processes wait for each other
    agree([&] { place = Tensor<T>({net_.parameters().flat_size()}); });
    communicator.broadcast({reinterpret_cast<char*>(&step_), sizeof step_}, 0);
    detail::send_state(communicator, state(), update_.range(), optimizer, place);
    return true;
  }

  /// Whether steps are recorded and replayed (`TrainerSettings::replay`).
  [[nodiscard]] kernels::RecordingReport recording() const { return engine_.recording(); }

  /// How the processes added up the gradient of the last step.
  [[nodiscard]] const CommunicationReport& communication() const { return engine_.communication(); }

  /// The gradient of the last step, as a flat buffer; where the optimizer's state is sharded, each
  /// process has the sum in its own part at least.
  [[nodiscard]] const Values& gradient() const { return engine_.gradient(); }

  /// The rows of the last step in the order in which they were given, until the next one.
  [[nodiscard]] const RowReports& rows() const { return engine_.rows(); }

 private:
  /// Where the processes' parts of the parameters begin, and the end; nothing if each has all.
  [[nodiscard]] std::vector<std::size_t> shard_bounds() const {
    const std::size_t processes = recipe_.communicator.size();
    if (!settings_.shard_optimizer || processes == 1) return {};
    return detail::shard_bounds(net_.parameters().flat_size(), processes);
  }
  [[nodiscard]] std::optional<FlatRange> own_shard() const {
    if (shards_.empty()) return {};
    return detail::shard_of(shards_, recipe_.communicator.rank());
  }

  /// The rows of a batch that are this process's.
  [[nodiscard]] std::size_t own_batch() const {
    const std::size_t processes = recipe_.communicator.size();
    if (settings_.batch % processes != 0)
      throw SettingError("batch is " + std::to_string(settings_.batch) +
                         ", but must be a multiple of the number of processes, " +
                         std::to_string(processes));
    const std::size_t own = settings_.batch / processes;
    if (settings_.deterministic && own % settings_.tile_rows != 0) throw_uneven(own);
    return own;
  }
  [[noreturn]] void throw_uneven(std::size_t rows) const {
    throw SettingError("deterministic is set: each process has " + std::to_string(rows) +
                       " rows, but must have a multiple of tile_rows, " +
                       std::to_string(settings_.tile_rows));
  }

  /// f() in all processes; whether one of them wants to stop (`detail::Agreement`).
  template <class F>
  bool agree(F f) {
    return agreement_(recipe_.communicator, f);
  }

  /// Whether callbacks are notified of a failure: where they gather a sharded state, only if all
  /// processes do so, after the same step.
  bool all_end_alike(bool notifies) {
    if (!is_sharded()) return notifies;
    const double step = static_cast<double>(step_);
    std::array<double, 3> sums{notifies ? 0.0 : 1.0, step, step * step};
    recipe_.communicator.all_reduce(std::span<double>(sums));
    return sums[0] == 0 && all_equal(sums[1], sums[2]);
  }

  /// Whether all processes have the same number, from the sums of theirs and of its squares.
  [[nodiscard]] bool all_equal(double sum, double squares) const {
    return static_cast<double>(recipe_.communicator.size()) * squares == sum * sum;
  }

  /// f(), in which the processes meet.
  template <class F>
  void meet(F f) {
    agreement_.meet(recipe_.communicator, f);
  }

  /// f(), which notifies the callback, unless that is for the root alone and this is another
  /// process; what f returns, or false.
  template <class C, class F>
  bool notify(C& /*callback*/, F f) {
    constexpr bool for_root = detail::root_only<C>;
    const auto& communicator = recipe_.communicator;
    if (for_root && !is_root(communicator)) return false;
    alone_ = for_root && communicator.size() > 1;
    const detail::AtExit together([this] { alone_ = false; });
    if constexpr (std::is_same_v<decltype(f()), bool>)
      return f();
    else
      return f(), false;
  }

  /// Others would be waited for that are not there.
  void check_not_alone(const char* what) const {
    if (alone_)
      throw SettingError(std::string(what) +
                         ": all processes have to call it, but a callback that is root_only did");
  }

  /// Throws ShapeError in all processes if one of them has other rows.
  void check_same_rows(std::size_t rows) {
    auto& communicator = recipe_.communicator;
    if (communicator.size() == 1) return;
    const double own = static_cast<double>(rows);
    std::array<double, 2> sums{own, own * own};
    agreement_.add_up(communicator, std::span<double>(sums));
    if (all_equal(sums[0], sums[1])) return;
    agreement_.all_throw();
    throw ShapeError("step: this process has " + std::to_string(rows) +
                     " rows, but others have other numbers of rows");
  }

  /// f(), a step. What one process fails in stops all: it spoils the gradient that they add up, and
  /// says why when they add up their reports.
  template <class F>
  StepReport together(F f) {
    if (recipe_.communicator.size() == 1) return f();
    check_not_alone("step");
    engine_.begin();
    return agreement_.meet(recipe_.communicator, f,
                           [this] { engine_.spoil(net_, recipe_, settings_); });
  }

  /// The sums over all processes.
  void add_up(double& loss, Metrics& metrics) {
    if (recipe_.communicator.size() == 1) return;
    std::vector<double> numbers{loss};
    for (std::size_t m = 0; m < metrics.size(); ++m) numbers.push_back(metrics.value(m));
    agreement_.add_up(recipe_.communicator, numbers);
    loss = numbers[0];
    for (std::size_t m = 0; m < metrics.size(); ++m) metrics.value(m) = numbers[1 + m];
  }

  /// The same of sums that have the same bits in any order.
  void add_up(detail::ExactSums& sums, double& loss, Metrics& metrics) {
    agreement_.add_up(recipe_.communicator, sums.parts());
    std::vector<double> means(sums.size());
    sums.give(std::span<double>(means));
    loss = means[0];
    for (std::size_t m = 0; m + 1 < means.size(); ++m) metrics.value(m) = means[1 + m];
  }

  /// Throws if identity() is not that of the root.
  template <class F>
  void check_same_run(F identity) {
    if (recipe_.communicator.size() == 1) return;
    std::map<std::string, std::string> own;
    agree([&] { own = identity(); });
    detail::check_same_run(recipe_.communicator, agreement_, own);
  }

  /// f(x, condition), with the rows where the step wants them.
  template <class F>
  auto with_places(const StepPlan& plan, const Values& x, const Condition& condition, F f) {
    return detail::with_places(recipe_.coupling, settings_.seed, plan, x, condition, f);
  }

  /// A batch of held-out rows.
  [[nodiscard]] RowReports measured(const SourceBatch<T, Condition>& batch, std::uint64_t number) {
    return with_device_batch(batch, [&](const Values& x, const Condition& condition) {
      detail::check_condition("evaluate", condition, x.rows());
      const StepPlan plan = planner_.plan(recipe_, settings_, x.rows(), number);
      return with_places(plan, x, condition, [&](const Values& placed, const Condition& told) {
        return engine_.measure(net_, recipe_, settings_, update_, plan, step_, placed, told);
      });
    });
  }

  /// f(x, condition) on the device.
  template <class F>
  auto with_device_batch(const SourceBatch<T, Condition>& batch, F f) {
    if constexpr (std::is_same_v<Device, Cpu>) {
      return f(batch.x(), batch.condition());
    } else {
      if constexpr (!on_host<Device>) detail::check_labels(net_, batch.condition());
      return f(to_device<Device>(batch.x()), to_device<Device>(batch.condition()));
    }
  }

  /// A step on the rows of this process, while the others take it on theirs.
  StepReport own_step(const Values& x, const Condition& condition) {
    detail::check_condition("trainer", condition, x.rows());
    detail::check_null("trainer", condition, null_);
    if (settings_.deterministic && x.rows() % settings_.tile_rows != 0) throw_uneven(x.rows());
    const StepPlan plan = planner_.plan(recipe_, settings_, x.rows(), step_);
    return with_places(plan, x, condition, [&](const Values& rows, const Condition& told) {
      return step_placed(plan, rows, told);
    });
  }

  /// A step on rows that stand at their places.
  StepReport step_placed(const StepPlan& plan, const Values& x, const Condition& condition) {
    const AutocastScope precision(settings_.precision, Device{});
    const ConvolutionScope convolutions(settings_.convolutions);
    StepReport report{.step = step_,
                      .steps = settings_.steps,
                      .learning_rate = plan.learning_rate,
                      .jump_rows = plan.all.jumps};
    row_shape_ = x.shape().row();
    report.gradient_norm =
        engine_.run(net_, recipe_, settings_, update_, null_, plan, x, condition);
    const RowReports& rows = engine_.rows();
    const bool taken = std::isfinite(report.gradient_norm);
    if (taken) ++step_;  // before another process can say that it has failed
    if (settings_.deterministic) {
      detail::ExactSums sums(1 + engine_.metrics.size());
      rows.for_each_term([&](std::size_t i, double term) { sums.add(i, term); });
      report.metrics = Metrics(engine_.metrics);
      add_up(sums, report.loss, report.metrics);
    } else {
      report.loss = rows.part_of_loss();
      report.metrics = rows.part_of_metrics();
      add_up(report.loss, report.metrics);
    }
    if (!taken) fail(plan, x.row_size(), rows.bad_rows());
    return report;
  }

  [[noreturn]] void fail(const StepPlan& plan, std::size_t elements, std::vector<std::size_t> bad) {
    engine_.clear();
    agreement_.all_throw();  // the gradient of all is not finite
    detail::throw_non_finite(recipe_, settings_.seed, plan, engine_.rows(), elements,
                             std::move(bad));
  }

  N net_;
  TrainerSettings settings_;
  R recipe_;
  std::vector<std::size_t> shards_;
  typename StepEngine<N, R>::Update update_;
  StepEngine<N, R> engine_;
  StepPlanner<Device> planner_;
  Condition null_{};  // set where conditions are dropped
  std::uint64_t step_ = 0;
  Shape row_shape_{};  // of the last batch
  detail::Agreement agreement_;
  bool alone_ = false;                                // a callback is notified by the root alone
  std::vector<Tensor<T>>* kept_optimizer_ = nullptr;  // where `restore` keeps it for others
};

}  // namespace meanflow
