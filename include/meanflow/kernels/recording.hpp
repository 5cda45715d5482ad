// SPDX-License-Identifier: MIT
/// \file
/// Work that a device is asked for again and again: recorded once, and then asked for as one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/kernels/warnings.hpp>

namespace meanflow::kernels {

/// What came of recording.
template <class Recording>
struct Attempt {
  std::optional<Recording> recording;
  std::string why_not;  ///< if there is none
};

/// Of a device that cannot record.
struct NoRecorder {
  static constexpr bool records = false;
  struct Recording {
    void replay() {}
    [[nodiscard]] std::size_t nodes() const { return 0; }
  };
  template <class F>
  void run(F&& f) {
    f();
  }
  template <class F>
  [[nodiscard]] Attempt<Recording> record(F&&) {
    return {};
  }
  void release() {}
};

/// How a device records; devices that can specialise it. A recorder has
///  - `run(f)`, which does f() in the memory that recordings of it use;
///  - `record(f)`, which writes down what f() asks of the device, which does nothing yet: an
///    `Attempt` at a `Recording`, which has `replay()` and `nodes()`, the pieces of work it holds;
///  - `release()`, which gives memory back when there are no recordings any more.
template <class Device>
struct RecorderFor {
  using type = NoRecorder;
};
template <class Device>
using RecorderOf = typename RecorderFor<Device>::type;

/// What `RepeatedWork` has come to.
struct RecordingReport {
  std::size_t recordings = 0;  ///< that are kept
  std::size_t nodes = 0;       ///< pieces of work in the one that was replayed last
  std::uint64_t replays = 0;
  std::string why_not;  ///< the last thing that kept work from being recorded; empty: nothing
};

/// Does the same work again and again, after some rounds by replaying it. Work of several kinds may
/// take turns.
template <class Recorder>
class RepeatedWork {
 public:
  using Key = std::vector<std::uintptr_t>;

  /// Work is recorded when it has been done this often: by then the libraries of the device have
  /// made their plans.
  static constexpr int rounds_before = 3;
  /// Kinds of work that are remembered; one more takes the place of that which was not asked for
  /// the longest.
  static constexpr std::size_t most_kinds = 8;

  RepeatedWork() = default;
  explicit RepeatedWork(Recorder recorder) : recorder_(std::move(recorder)) {}

  /// f(), which asks a device for the same work whenever `key` is the same.
  template <class F>
  void run(const Key& key, F f) {
    Kind& kind = kind_of(key);
    if (kind.rounds == rounds_before && !kind.recording && !kind.refused) record(kind, f);
    if (kind.recording) return replay(kind);
    recorder_.run(f);
    if (kind.rounds < rounds_before) ++kind.rounds;
  }

  /// Starts anew, and gives the memory of the work back.
  void forget() {
    kinds_.clear();
    recorder_.release();
  }

  [[nodiscard]] RecordingReport report() const {
    RecordingReport report = report_;
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
  void record(Kind& kind, F& f) {
    if constexpr (!Recorder::records) {
      report_.why_not = "the device does not record its work";
      kind.refused = true;
    } else {
      auto attempt = recorder_.record(f);
      kind.recording = std::move(attempt.recording);
      if (kind.recording) return;
      kind.refused = true;
      report_.why_not = attempt.why_not;
      warn("work that repeats itself is not recorded, so that it may be slower: " +
           attempt.why_not);
    }
  }

  void replay(Kind& kind) {
    kind.recording->replay();
    report_.nodes = kind.recording->nodes();
    ++report_.replays;
  }

  Recorder recorder_;
  std::list<Kind> kinds_;  // the last one asked for first
  RecordingReport report_;
};

}  // namespace meanflow::kernels
