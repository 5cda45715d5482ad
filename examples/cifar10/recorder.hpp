// SPDX-License-Identifier: MIT
// What a training run writes: numbers for log.csv and TensorBoard, and grids of samples.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/io/csv_log.hpp>
#include <meanflow/io/image.hpp>
#include <meanflow/io/tensorboard.hpp>
#include <meanflow/train/trainer.hpp>

#include "model.hpp"
#include "sampling.hpp"

namespace cifar10 {

/// The means of what happened since the last row of the log.
class Means {
 public:
  /// `metrics` are those that the objective reports.
  explicit Means(std::vector<std::string> metrics)
      : metrics_(std::move(metrics)), sums_(3 + metrics_.size()) {}

  void add(const meanflow::StepReport& report, std::size_t rows) {
    const auto now = std::chrono::steady_clock::now();
    if (count_ == 0) begin_ = last_;
    last_ = now;
    std::size_t place = 0;
    sums_[place++] += report.loss;
    for (const std::string& metric : metrics_) sums_[place++] += report.metrics[metric];
    sums_[place++] += report.gradient_norm;
    sums_[place++] += report.learning_rate;
    rows_ += rows;
    ++count_;
  }

  [[nodiscard]] std::vector<std::string> columns() const {
    std::vector<std::string> all{"step", "loss"};
    all.insert(all.end(), metrics_.begin(), metrics_.end());
    for (const char* name : {"gradient_norm", "learning_rate", "rows_per_second"})
      all.emplace_back(name);
    return all;
  }

  /// In the order of the columns after the step's; starts over.
  [[nodiscard]] std::vector<double> take() {
    std::vector<double> means;
    for (double& sum : sums_) means.push_back(std::exchange(sum, 0) / static_cast<double>(count_));
    const std::chrono::duration<double> took = last_ - begin_;
    means.push_back(static_cast<double>(rows_) / std::max(took.count(), 1e-9));
    count_ = rows_ = 0;
    return means;
  }

  [[nodiscard]] bool empty() const { return count_ == 0; }

 private:
  std::vector<std::string> metrics_;
  std::vector<double> sums_;
  std::size_t count_ = 0, rows_ = 0;
  std::chrono::steady_clock::time_point begin_, last_ = std::chrono::steady_clock::now();
};

/// A callback of `meanflow::MeanFlowTrainer::fit`, which appends to what is in the folder.
class Recorder {
 public:
  static constexpr bool root_only = true;

  Recorder(const Settings& settings, const ImageFormat& format,
           const std::filesystem::path& workdir, const std::vector<std::string>& metrics)
      : means_(metrics), settings_(settings), format_(format), workdir_(workdir) {}

  template <class Trainer>
  void on_begin(Trainer& trainer) {
    const std::uint64_t next = trainer.steps_done() + 1;
    log_.emplace(workdir_ / "log.csv", means_.columns(), next);
    board_.emplace(workdir_ / "tensorboard", meanflow::TensorBoardOptions{.first_step = next});
    std::filesystem::create_directories(pictures());
  }

  template <class Trainer>
  void on_step(Trainer& trainer, const meanflow::StepReport& report) {
    const std::uint64_t done = trainer.steps_done();
    means_.add(report, trainer.settings().batch);
    if (done % settings_.log.every == 0) write_numbers(done);
    if (settings_.sample.every > 0 && done % settings_.sample.every == 0) write_pictures(trainer);
  }

  template <class Trainer>
  void on_end(Trainer& trainer) {
    if (!means_.empty()) write_numbers(trainer.steps_done());
    const bool finished = trainer.steps_done() == trainer.settings().steps;  // else save at once
    if (finished && pictures_at_ != trainer.steps_done()) write_pictures(trainer);
    board_->flush();
  }

 private:
  void write_numbers(std::uint64_t done) {
    const std::vector<double> means = means_.take();
    log_->row(done, means);
    const auto columns = means_.columns();
    for (std::size_t i = 0; i < means.size(); ++i)
      board_->scalar("train/" + columns[i + 1], means[i], done);
  }

  /// Always the same noise, so that pictures can be followed from grid to grid.
  template <class Trainer>
  void write_pictures(Trainer& trainer) {
    const SampleSettings& s = settings_.sample;
    Sampling sampling{.nfe = s.nfe, .seed = s.seed, .guidance = s.guidance, .input = s.input};
    if (instantaneous(make_objective(settings_))) sampling.solver = meanflow::Solver::euler;
    const std::size_t classes = settings_.data.labels ? format_.classes : 0;
    const meanflow::UseValues averaged(trainer.net().parameters(), trainer.best_values());
    const auto samples = all_pictures(
        {}, format_, s.count, sampling.batch, [&](std::size_t first, std::size_t count) {
          return sample_batch(trainer.net(), format_, first, count, grid_labels(s.count, classes),
                              sampling);
        });
    pictures_at_ = trainer.steps_done();
    char name[40];
    std::snprintf(name, sizeof name, "step-%06llu", static_cast<unsigned long long>(pictures_at_));
    if (settings_.data.kind == DataKind::latents)
      return save_latents(pictures() / (std::string(name) + ".npy"), settings_, samples);
    const meanflow::Image grid = make_grid(samples, grid_columns(s.count, classes));
    meanflow::save_png(pictures() / (std::string(name) + ".png"), grid);
    board_->image("samples", grid, pictures_at_);
  }

  [[nodiscard]] std::filesystem::path pictures() const { return workdir_ / "samples"; }

  Means means_;
  Settings settings_;
  ImageFormat format_;
  std::filesystem::path workdir_;
  std::optional<meanflow::CsvLog> log_;  // once training begins
  std::optional<meanflow::TensorBoardWriter> board_;
  std::uint64_t pictures_at_ = 0;
};

/// A callback that writes, in each process, what is its own to log-process-RANK.csv, if that is
/// asked for: the mean loss of its rows, and the seconds of a step, and of those the ones in which
/// it waited for the others' gradients.
class ProcessLog {
 public:
  ProcessLog(const Settings& settings, std::filesystem::path workdir)
      : wanted_(settings.log.each_process),
        every_(settings.log.every),
        workdir_(std::move(workdir)) {}

  template <class Trainer>
  void on_begin(Trainer& trainer) {
    if (!wanted_) return;
    std::filesystem::create_directories(workdir_);
    const std::size_t rank = trainer.recipe().communicator.rank();
    log_.emplace(workdir_ / ("log-process-" + std::to_string(rank) + ".csv"),
                 std::vector<std::string>{"step", "loss", "seconds", "waited"},
                 trainer.steps_done() + 1);
    last_ = std::chrono::steady_clock::now();
  }

  template <class Trainer>
  void on_step(Trainer& trainer, const meanflow::StepReport&) {
    if (!log_) return;
    const auto processes = static_cast<double>(trainer.recipe().communicator.size());
    loss_ += trainer.rows().part_of_loss() * processes;
    waited_ += trainer.communication().waited;
    ++count_;
    if (trainer.steps_done() % every_ == 0) write(trainer.steps_done());
  }

  template <class Trainer>
  void on_end(Trainer& trainer) {
    if (log_ && count_ > 0) write(trainer.steps_done());
  }

 private:
  void write(std::uint64_t done) {
    const auto now = std::chrono::steady_clock::now();
    const std::chrono::duration<double> took = now - std::exchange(last_, now);
    const auto steps = static_cast<double>(std::exchange(count_, 0));
    log_->row(done, std::exchange(loss_, 0) / steps, took.count() / steps,
              std::exchange(waited_, 0) / steps);
  }

  bool wanted_;
  std::uint64_t every_;
  std::filesystem::path workdir_;
  std::optional<meanflow::CsvLog> log_;  // once training begins
  std::chrono::steady_clock::time_point last_;
  double loss_ = 0, waited_ = 0;
  std::size_t count_ = 0;  // steps since the last row
};

}  // namespace cifar10
