// SPDX-License-Identifier: MIT
/// \file
/// A progress bar for `MeanFlowTrainer::fit`.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>

#include <unistd.h>

#include <meanflow/train/trainer.hpp>

namespace meanflow {

/// Shows step, loss, the first metric of the objective, steps per second and the time left: on a
/// terminal a bar that is drawn ten times a second, elsewhere ten lines in all.
class ProgressBar {
 public:
  static constexpr bool root_only = true;

  explicit ProgressBar(std::string title, std::FILE* out = stderr)
      : title_(std::move(title)), out_(out), terminal_(isatty(fileno(out)) != 0) {}

  template <class Trainer>
  void on_begin(Trainer&) {
    count_ = 0;
    shown_at_ = -1;
  }

  template <class Trainer>
  void on_step(Trainer&, const StepReport& report) {
    (*this)(report);
  }

  void operator()(const StepReport& report) {
    if (report.steps == 0) return;
    // Smoothed, since a single batch's loss says little.
    const double keep = std::min(0.98, static_cast<double>(count_) / (count_ + 1.0));
    loss_ = keep * loss_ + (1 - keep) * report.loss;
    if (report.metrics.size() > 0) first_ = keep * first_ + (1 - keep) * report.metrics.value(0);
    ++count_;
    const std::uint64_t done = report.steps_done();
    const bool last = done == report.steps;
    if (!last && !due(report, done)) return;
    shown_at_ = report.seconds;
    line_is_open_ = terminal_ && !last;
    std::fprintf(out_, "%s%s%s", terminal_ ? "\r" : "", line(report, done).c_str(),
                 line_is_open_ ? "\033[K" : "\n");
    std::fflush(out_);
  }

  /// A run that was stopped leaves its bar unfinished.
  template <class Trainer>
  void on_end(Trainer&) {
    if (std::exchange(line_is_open_, false)) std::fputc('\n', out_);
  }

 private:
  [[nodiscard]] bool due(const StepReport& report, std::uint64_t done) const {
    if (terminal_) return report.seconds - shown_at_ >= 0.1;
    return done * 10 / report.steps != (done - 1) * 10 / report.steps;
  }

  [[nodiscard]] std::string line(const StepReport& report, std::uint64_t done) const {
    constexpr std::size_t width = 20;
    const std::size_t full = width * done / report.steps;
    const double rate = static_cast<double>(count_) / std::max(report.seconds, 1e-9);
    const auto left = static_cast<std::uint64_t>(static_cast<double>(report.steps - done) / rate);
    char numbers[160];
    std::snprintf(
        numbers, sizeof numbers, " %llu/%llu  loss %.4f%s  %.*f steps/s  %llu:%02llu left",
        static_cast<unsigned long long>(done), static_cast<unsigned long long>(report.steps), loss_,
        first_metric(report).c_str(), rate < 10 ? 2 : 0, rate,
        static_cast<unsigned long long>(left / 60), static_cast<unsigned long long>(left % 60));
    return title_ + " [" + std::string(full, '#') + std::string(width - full, '.') + "]" + numbers;
  }

  /// "  squared error 0.1234", or nothing for objectives without metrics.
  [[nodiscard]] std::string first_metric(const StepReport& report) const {
    if (report.metrics.size() == 0) return {};
    std::string name(report.metrics.name(0));
    std::replace(name.begin(), name.end(), '_', ' ');
    char number[40];
    std::snprintf(number, sizeof number, " %.4f", first_);
    return "  " + name + number;
  }

  std::string title_;
  std::FILE* out_;
  bool terminal_, line_is_open_ = false;
  std::uint64_t count_ = 0;
  double loss_ = 0, first_ = 0, shown_at_ = -1;
};

}  // namespace meanflow
