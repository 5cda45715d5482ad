// SPDX-License-Identifier: MIT
/// \file
/// Work that repeats itself: recorded once, then replayed with a single launch.
///
/// A recorder, `device_traits<Device>::Recorder`, has
///  - `records`, whether it does;
///  - `run(f)`, which calls f() with the memory pool that its recordings use;
///  - `record(f)`, which captures the work that f() launches without doing it, and returns an
///    `Attempt` at a `Recording`; that one has `replay()` and `nodes()`, the number of operations
///    that it holds; `Recorder::Recording` is its type;
///  - `release()`, which frees the pool's memory once there are no recordings left.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/kernels/warnings.hpp>

namespace meanflow::kernels {

/// The outcome of recording: a recording, or the reason why there is none.
template <class Recording>
struct Attempt {
  std::optional<Recording> recording;
  std::string why_not;
};

/// The state of a `RepeatedWork`.
struct RecordingReport {
  std::size_t recordings = 0;  ///< recordings held now
  std::size_t nodes = 0;       ///< operations in the recording that was replayed last
  std::uint64_t replays = 0;
  std::string why_not;  ///< why work was last refused; empty if it never was
};

/// Runs work that repeats itself, and replays it after some rounds. Several kinds of work may
/// alternate.
template <class Recorder>
class RepeatedWork {
 public:
  using Key = std::vector<std::uintptr_t>;

  /// Work is recorded after this many runs: by then the device's libraries have made their plans.
  static constexpr int rounds_before = 3;
  /// How many kinds of work are remembered; another one replaces the least recently used.
  static constexpr std::size_t most_kinds = 8;

  RepeatedWork() = default;
  explicit RepeatedWork(Recorder recorder) : recorder_(std::move(recorder)) {}

  /// Runs f(), or replays it. f must launch the same work whenever `key` is the same. With
  /// `insists` work that cannot be recorded is an error: for work of which other processes record
  /// their part.
  template <class F>
  void run(const Key& key, F f, bool insists = false) {
    recording_ = false;  // a recorder may have thrown
    Kind& kind = kind_of(key);
    if (kind.rounds == rounds_before && !kind.recording && !kind.refused) record(kind, f, insists);
    if (kind.recording) return replay(*kind.recording);
    recorder_.run(f);
    if (kind.rounds < rounds_before) ++kind.rounds;
  }

  /// Drops all recordings and frees their memory.
  void forget() {
    kinds_.clear();
    recorder_.release();
  }

  /// Whether f() is being recorded, and so nothing of it is done yet.
  [[nodiscard]] bool recording() const { return recording_; }

  [[nodiscard]] RecordingReport report() const {
    RecordingReport report = report_;
    if (!Recorder::records) report.why_not = "the device does not record its work";
    for (const Kind& kind : kinds_) report.recordings += kind.recording.has_value();
    return report;
  }

 private:
  struct Kind {
    Key key;
    int rounds = 0;
    bool refused = false;
    std::optional<typename Recorder::Recording> recording{};
  };

  [[nodiscard]] Kind& kind_of(const Key& key) {
    for (auto kind = kinds_.begin(); kind != kinds_.end(); ++kind) {
      if (kind->key != key) continue;
      kinds_.splice(kinds_.begin(), kinds_, kind);
      return kinds_.front();
    }
    if (kinds_.size() == most_kinds) kinds_.pop_back();
    kinds_.push_front({.key = key});
    return kinds_.front();
  }

  template <class F>
  void record(Kind& kind, F& f, bool insists) {
    if constexpr (!Recorder::records) {
      kind.refused = true;
    } else {
      recording_ = true;
      auto attempt = recorder_.record(f);
      recording_ = false;
      kind.recording = std::move(attempt.recording);
      if (kind.recording) return;
      if (insists)
        throw Error("a training step of several processes cannot be recorded, " + attempt.why_not +
                    ": set replay to false");
      kind.refused = true;
      report_.why_not = attempt.why_not;
      warn("the training step is not recorded as a graph, which may make it slower: " +
           attempt.why_not);
    }
  }

  void replay(typename Recorder::Recording& recording) {
    recording.replay();
    report_.nodes = recording.nodes();
    ++report_.replays;
  }

  Recorder recorder_;
  std::list<Kind> kinds_;  // most recently used first
  RecordingReport report_;
  bool recording_ = false;
};

}  // namespace meanflow::kernels
