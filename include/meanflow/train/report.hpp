// SPDX-License-Identifier: MIT
/// \file
/// What a training step reports, and how it fails.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/flow/row_losses.hpp>
#include <meanflow/flow/tiles.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// The metrics of an objective, by name.
class Metrics {
 public:
  /// More than any objective should need; a report stays off the heap.
  static constexpr std::size_t max_count = 8;

  Metrics() = default;
  explicit Metrics(std::span<const Metric> metrics) : metrics_(metrics), values_{} {}

  [[nodiscard]] std::size_t size() const { return metrics_.size(); }
  [[nodiscard]] std::string_view name(std::size_t index) const { return metrics_[index].name; }
  [[nodiscard]] double value(std::size_t index) const { return values_[index]; }
  [[nodiscard]] double& value(std::size_t index) { return values_[index]; }

  /// The metric of that name, if the objective has it.
  [[nodiscard]] std::optional<double> find(std::string_view name) const {
    for (std::size_t i = 0; i < size(); ++i)
      if (metrics_[i].name == name) return values_[i];
    return std::nullopt;
  }

  /// The metric of that name. Throws SettingError if the objective has none.
  [[nodiscard]] double operator[](std::string_view name) const {
    std::string names;
    for (std::size_t i = 0; i < size(); ++i) {
      if (metrics_[i].name == name) return values_[i];
      names += (i > 0 ? ", " : "") + std::string(metrics_[i].name);
    }
    throw SettingError("there is no metric " + std::string(name) +
                       "; the objective's are: " + (names.empty() ? "none" : names));
  }

 private:
  std::span<const Metric> metrics_;
  double values_[max_count] = {};
};

/// What happened in a step, to the rows of all processes.
struct StepReport {
  std::uint64_t step = 0;   ///< from 0: the first step is 0
  std::uint64_t steps = 0;  ///< of the whole run
  double loss = 0;          ///< weighted; with adaptive p = 1 near 1 all the time
  /// What the objective names. Those of `mean_flow.hpp`: "squared_error", the mean of a row, is the
  /// one to watch; "velocity_error", the mean |u - v|^2 with v as the data have it, not guided;
  /// "jvp_norm", the mean |du/dt| of the rows that jump.
  Metrics metrics{};
  double gradient_norm = 0;  ///< before clipping
  double learning_rate = 0;
  std::size_t jump_rows = 0;
  double seconds = 0;  ///< since `fit` began

  /// Steps done with this one, from 1: the number that logs and files' names count by.
  [[nodiscard]] std::uint64_t steps_done() const { return step + 1; }
};

/// Held-out numbers: `MeanFlowTrainer::evaluate`.
struct EvaluationReport {
  double loss = 0;
  Metrics metrics{};
  std::size_t rows = 0;  ///< that the means are over
};

/// Training met a number that is not finite. The parameters are those of the step before.
struct NonFiniteError : Error {
  NonFiniteError(const std::string& message, std::uint64_t at, std::vector<std::size_t> bad_rows)
      : Error(message), step(at), rows(std::move(bad_rows)) {}
  std::uint64_t step;
  std::vector<std::size_t>
      rows;  ///< of this process's batch; empty if only the gradient was not finite
};

/// Loss and metrics of every row of a step.
class RowReports {
 public:
  RowReports() = default;
  /// `values`: the losses of all rows, then each metric of all rows, which stand from `first_row`
  /// on in the batch of all processes.
  RowReports(const Tensor<double>& values, std::size_t rows, std::span<const Metric> metrics,
             JumpOrder order, std::size_t first_row)
      : values_(values), rows_(rows), metrics_(metrics), order_(order), first_row_(first_row) {}

  [[nodiscard]] std::size_t size() const { return rows_; }
  [[nodiscard]] std::span<const double> loss() const { return part(0); }

  /// A metric by its name. Throws SettingError if there is none.
  [[nodiscard]] std::span<const double> operator[](std::string_view name) const {
    for (std::size_t i = 0; i < metrics_.size(); ++i)
      if (metrics_[i].name == name) return part(1 + i);
    throw SettingError("there is no metric " + std::string(name));
  }

  [[nodiscard]] bool has(std::string_view name) const {
    return std::any_of(metrics_.begin(), metrics_.end(),
                       [name](const Metric& metric) { return metric.name == name; });
  }

  /// Whether a row jumps: r < t.
  [[nodiscard]] bool jumps(std::size_t row) const { return order_.jumps_at(first_row_ + row); }

  /// What these rows add to the mean loss of the rows of all processes: with one, the mean.
  [[nodiscard]] double part_of_loss() const {
    double sum = 0;
    for_each_term([&](std::size_t i, double term) { sum += i == 0 ? term : 0; });
    return sum;
  }

  /// What these rows add to the means of the metrics, of which some are over the rows that jump
  /// alone.
  [[nodiscard]] Metrics part_of_metrics() const {
    Metrics means(metrics_);
    for_each_term([&](std::size_t i, double term) {
      if (i > 0) means.value(i - 1) += term;
    });
    return means;
  }

  /// f(i, term) for each row's term of the mean loss (i = 0) and of the mean of each metric m
  /// (i = 1 + m).
  template <class F>
  void for_each_term(F f) const {
    for (const double row_loss : loss())
      f(std::size_t{0}, row_loss / static_cast<double>(order_.rows));
    for (std::size_t m = 0; m < metrics_.size(); ++m) {
      const bool all = metrics_[m].rows != MetricRows::jumping;
      const auto count = static_cast<double>(all ? order_.rows : order_.jumps);
      for (std::size_t row = 0; row < rows_; ++row)
        if (all || jumps(row)) f(1 + m, part(1 + m)[row] / count);
    }
  }

  /// Rows whose loss is not finite.
  [[nodiscard]] std::vector<std::size_t> bad_rows() const {
    std::vector<std::size_t> bad;
    for (std::size_t row = 0; row < rows_; ++row)
      if (!std::isfinite(loss()[row])) bad.push_back(row);
    return bad;
  }

 private:
  [[nodiscard]] std::span<const double> part(std::size_t index) const {
    return std::span<const double>(values_.data() + index * rows_, rows_);
  }

  Tensor<double> values_;
  std::size_t rows_ = 0;
  std::span<const Metric> metrics_;
  JumpOrder order_;
  std::size_t first_row_ = 0;
};

}  // namespace meanflow
