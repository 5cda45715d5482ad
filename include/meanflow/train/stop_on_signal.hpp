// SPDX-License-Identifier: MIT
/// \file
/// Ctrl-C and a plain `kill` end training after the current step, with everything saved (POSIX).
#pragma once

#include <csignal>

#include <signal.h>

#include <meanflow/train/trainer.hpp>

namespace meanflow {

namespace detail {

inline volatile std::sig_atomic_t stop_signal = 0;

/// The next signal, of either kind, has its default effect.
extern "C" inline void remember_stop_signal(int signal) {
  stop_signal = signal;
  ::signal(SIGINT, SIG_DFL);
  ::signal(SIGTERM, SIG_DFL);
}

}  // namespace detail

/// A callback of `MeanFlowTrainer::fit`: while it lives, SIGINT and SIGTERM stop training after
/// the current step, so that `Checkpoints` saves it. A second signal ends the program at once. Have
/// one at a time; the previous handlers are restored at its end.
class StopOnSignal {
 public:
  StopOnSignal() {
    detail::stop_signal = 0;
    struct sigaction action {};
    action.sa_handler = detail::remember_stop_signal;
    ::sigemptyset(&action.sa_mask);
    ::sigaction(SIGINT, &action, &interrupt_);
    ::sigaction(SIGTERM, &action, &terminate_);
  }
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;
  ~StopOnSignal() {
    ::sigaction(SIGINT, &interrupt_, nullptr);
    ::sigaction(SIGTERM, &terminate_, nullptr);
  }

  /// Whether to stop.
  [[nodiscard]] bool operator()(const StepReport&) const { return signal() != 0; }

  /// The signal that came, or 0.
  [[nodiscard]] int signal() const { return detail::stop_signal; }

 private:
  struct sigaction interrupt_ {
  }, terminate_{};
};

}  // namespace meanflow
