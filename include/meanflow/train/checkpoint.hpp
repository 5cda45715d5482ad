// SPDX-License-Identifier: MIT
/// \file
/// Checkpoints: one safetensors file from which training resumes bit for bit as if it had never
/// stopped, and from which any program can take the parameters or an average of them.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <meanflow/io/parameters.hpp>
#include <meanflow/train/identity.hpp>
#include <meanflow/train/trainer.hpp>

namespace meanflow {

namespace detail {

inline constexpr const char* checkpoint_format = "meanflow checkpoint 1";

[[nodiscard]] inline std::string average_prefix(std::size_t index) {
  return "average." + std::to_string(index) + ".";
}

template <class Trainer>
inline constexpr std::size_t optimizer_parts =
    decltype(std::declval<const Trainer&>().recipe().optimizer)::state.size();

template <class Trainer>
[[nodiscard]] std::string optimizer_prefix(std::size_t index) {
  using Optimizer = decltype(std::declval<const Trainer&>().recipe().optimizer);
  return "optimizer." + std::string(Optimizer::state[index]) + ".";
}

/// Throws FileError if the file holds a tensor that this training run has no place for.
template <class Trainer>
void check_parts(const Safetensors& file, const Trainer& trainer) {
  std::vector<std::string> prefixes{""};
  for (std::size_t k = 0; k < optimizer_parts<Trainer>; ++k)
    prefixes.push_back(optimizer_prefix<Trainer>(k));
  for (std::size_t k = 0; k < trainer.settings().averages.size(); ++k)
    prefixes.push_back(average_prefix(k));
  std::set<std::string> expected{"step"};
  for (const ParameterEntry& entry : trainer.net().parameters().entries())
    for (const std::string& prefix : prefixes) expected.insert(prefix + entry.name);
  for (const std::string& name : file.names())
    if (!expected.contains(name))
      throw FileError(quoted(file.path()) + " was written for another net: this one has no " +
                      shown(name));
}

}  // namespace detail

/// Writes the whole state of a run (`TrainingState`) to one safetensors file, whole or not at
/// all: a crash at any moment leaves an older file of that name as it was.
///
/// The parameters have their own names, so that `load_parameters` and PyTorch programs read them;
/// the averages are "average.0.NAME" and so on, the optimizer's state is
/// "optimizer.STATE.NAME" (Adam's first and second), the steps done "step". `metadata` is kept as
/// strings; names that begin with "meanflow." are the library's own. Throws FileError, naming the
/// file, if it cannot be written.
///
/// Where the optimizer's state is sharded, all processes call this, never the root alone or in
/// `by_root`, and the root writes, which has the whole state in memory meanwhile. Call it in
/// `in_all` for the others to hear if the root could not.
template <class Trainer>
void save_checkpoint(const std::filesystem::path& path, const Trainer& trainer,
                     const std::map<std::string, std::string>& metadata = {}) {
  const auto& parameters = trainer.net().parameters();
  const auto state = trainer.whole_state();
  if (trainer.is_sharded() && !is_root(trainer.recipe().communicator)) return;
  SafetensorsWriter writer;
  for (const auto& [key, value] : metadata) writer.metadata(key, value);
  writer.metadata("meanflow.format", detail::checkpoint_format);
  for (const auto& [key, value] : detail::training_identity(trainer))
    writer.metadata("meanflow." + key, value);
  const auto steps = static_cast<std::int64_t>(state.step);
  writer.add("step", {}, std::span<const std::int64_t>(&steps, 1));
  using T = typename Trainer::T;
  const auto add = [&](const std::string& prefix, const Tensor<T>& values) {
    add_parameters(writer, prefix, parameters, values);
  };
  add("", state.parameters);
  for (std::size_t k = 0; k < state.optimizer.size(); ++k)
    add(detail::optimizer_prefix<Trainer>(k), state.optimizer[k]);
  for (std::size_t k = 0; k < state.averages.size(); ++k)
    add(detail::average_prefix(k), state.averages[k]);
  writer.write(path);
}

/// Resumes from a file of `save_checkpoint`: with the same settings and data training continues
/// bit for bit. The number of steps and the learning rate may change in between; seed, batch and
/// averages may not.
/// Throws FileError, naming the file and what differs, if it is damaged or that of another net or
/// of other settings; the trainer is then unchanged.
template <class Trainer>
void load_checkpoint(const std::filesystem::path& path, Trainer& trainer) {
  using Values = Tensor<typename Trainer::T>;
  const Safetensors file(path);
  auto metadata = file.metadata();  // files of versions that knew no coupling do not name it
  metadata.emplace("meanflow.coupling", detail::describe(IndependentCoupling{}));
  auto identity = detail::training_identity(trainer);
  identity.emplace("format", detail::checkpoint_format);
  for (const auto& [key, expected] : identity) {
    const auto found = metadata.find("meanflow." + key);
    if (found == metadata.end())
      throw FileError(detail::quoted(path) + " is not a training checkpoint: it has no " +
                      detail::shown("meanflow." + key));
    if (found->second != expected)
      throw FileError(detail::quoted(path) + " was written with " + key + " " +
                      detail::shown(found->second) + ", but this training run has " +
                      detail::shown(expected));
  }
  const auto& parameters = trainer.net().parameters();
  const auto read = [&](const std::string& prefix) {
    Values values = Values::zeros({parameters.flat_size()});
    read_parameters(file, prefix, parameters, values);
    return values;
  };
  detail::check_parts(file, trainer);
  const std::int64_t step = file.read<std::int64_t>("step").at(0);
  if (step < 0)
    throw FileError(detail::quoted(path) + ": step is " + std::to_string(step) +
                    ", but must be at least 0");
  TrainingState<typename Trainer::T> state{static_cast<std::uint64_t>(step), read(""), {}, {}};
  for (std::size_t k = 0; k < detail::optimizer_parts<Trainer>; ++k)
    state.optimizer.push_back(read(detail::optimizer_prefix<Trainer>(k)));
  for (std::size_t k = 0; k < trainer.settings().averages.size(); ++k)
    state.averages.push_back(read(detail::average_prefix(k)));
  trainer.restore(state);
}

/// Where checkpoints are kept, and how many.
struct CheckpointSettings {
  std::filesystem::path folder;
  std::uint64_t every = 1000;  ///< steps from one to the next; 0: only at the end of training
  std::size_t keep = 3;        ///< the last so many; older ones are removed
};

/// FOLDER/checkpoint-000001000.safetensors
[[nodiscard]] inline std::filesystem::path checkpoint_path(const std::filesystem::path& folder,
                                                           std::uint64_t step) {
  std::string digits = std::to_string(step);
  digits.insert(0, 9 - std::min<std::size_t>(digits.size(), 9), '0');
  return folder / ("checkpoint-" + digits + ".safetensors");
}

/// The checkpoints in a folder with their steps, the oldest first; none if there is no such folder.
[[nodiscard]] inline std::vector<std::pair<std::uint64_t, std::filesystem::path>> list_checkpoints(
    const std::filesystem::path& folder) {
  std::vector<std::pair<std::uint64_t, std::filesystem::path>> found;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
    const std::string name = entry.path().filename().string();
    const std::string begin = "checkpoint-", end = ".safetensors";
    if (!name.starts_with(begin) || !name.ends_with(end)) continue;
    std::uint64_t step = 0;
    const char *first = name.data() + begin.size(), *last = name.data() + name.size() - end.size();
    const auto parsed = std::from_chars(first, last, step);
    if (first < last && parsed.ec == std::errc{} && parsed.ptr == last)
      found.emplace_back(step, entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// The newest checkpoint in a folder, if there is one.
[[nodiscard]] inline std::optional<std::filesystem::path> latest_checkpoint(
    const std::filesystem::path& folder) {
  const auto all = list_checkpoints(folder);
  if (all.empty()) return std::nullopt;
  return all.back().second;
}

/// A callback of `MeanFlowTrainer::fit` that writes a checkpoint every so many steps and at the
/// end, unless that is a NonFiniteError or no step was done, and keeps the last few. Name it before
/// other callbacks, so that a step is saved before one of them can fail.
///
/// Of several processes the root alone writes; the others take part where the optimizer's state is
/// sharded.
class Checkpoints {
 public:
  /// `metadata` is written to every checkpoint.
  explicit Checkpoints(CheckpointSettings settings,
                       std::map<std::string, std::string> metadata = {})
      : settings_(std::move(settings)), metadata_(std::move(metadata)) {
    if (settings_.keep == 0) throw SettingError("Checkpoints: keep is 0, but must be at least 1");
  }

  /// Resumes from the newest checkpoint, if there is one; returns whether there was. Of several
  /// processes, which all call this, the root reads, and the others have its state afterwards.
  template <class Trainer>
  bool resume(Trainer& trainer) {
    const bool resumed = trainer.restore_by_root([&] {
      const auto latest = latest_checkpoint(settings_.folder);
      if (latest) load_checkpoint(*latest, trainer);
      return latest.has_value();
    });
    if (resumed) saved_ = trainer.steps_done();
    return resumed;
  }

  /// Creates the folder, and removes what a killed process may have left half-written in it.
  /// Throws FileError if the folder cannot be created, or holds checkpoints of later steps: those
  /// of another run, or of one that was not resumed. They would be taken for this run's own.
  template <class Trainer>
  void on_begin(Trainer& trainer) {
    begun_ = trainer.steps_done();
    if (!is_root(trainer.recipe().communicator)) return;
    create_folder();
    remove_leftovers();
    refuse_later(begun_);
  }
  template <class Trainer>
  void on_step(Trainer& trainer, const StepReport&) {
    if (settings_.every > 0 && trainer.steps_done() % settings_.every == 0) save(trainer);
  }
  template <class Trainer>
  void on_end(Trainer& trainer) {
    const std::uint64_t done = trainer.steps_done();
    if (done != begun_ && done != saved_) save(trainer);
  }

  /// Writes a checkpoint now. Throws FileError if it cannot be written, or as `on_begin` does;
  /// where the optimizer's state is sharded, OtherProcessError in the other processes.
  template <class Trainer>
  void save(const Trainer& trainer) {
    const bool root = is_root(trainer.recipe().communicator);
    const auto write = [&] {
      if (root) {
        create_folder();
        refuse_later(trainer.steps_done());
      }
      save_checkpoint(checkpoint_path(settings_.folder, trainer.steps_done()), trainer, metadata_);
    };
    if (trainer.is_sharded()) {
      auto communicator = trainer.recipe().communicator;
      in_all(communicator, write);
    } else if (root) {
      write();
    }
    saved_ = trainer.steps_done();
    if (root) remove_old();
  }

 private:
  void create_folder() const {
    std::error_code error;
    std::filesystem::create_directories(settings_.folder, error);
    if (error)
      throw FileError(detail::quoted(settings_.folder) + " cannot be created: " + error.message() +
                      ".");
  }

  void refuse_later(std::uint64_t step) const {
    const auto all = list_checkpoints(settings_.folder);
    if (!all.empty() && all.back().first > step)
      throw FileError(detail::quoted(settings_.folder) + " holds checkpoints up to step " +
                      std::to_string(all.back().first) + ", but this training run is at step " +
                      std::to_string(step) + ": resume it, or choose another folder.");
  }

  void remove_old() const {
    const auto all = list_checkpoints(settings_.folder);
    std::error_code ignored;  // a file that cannot be removed is no reason to stop training
    for (std::size_t i = 0; i + settings_.keep < all.size(); ++i)
      std::filesystem::remove(all[i].second, ignored);
  }

  void remove_leftovers() const {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(settings_.folder, ignored)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with("checkpoint-") && name.find(".safetensors.tmp-") != std::string::npos)
        std::filesystem::remove(entry.path(), ignored);
    }
  }

  CheckpointSettings settings_;
  std::map<std::string, std::string> metadata_;
  std::optional<std::uint64_t> saved_{};  // the step of the last checkpoint
  std::uint64_t begun_ = 0;               // the steps that were done when training began
};

}  // namespace meanflow
