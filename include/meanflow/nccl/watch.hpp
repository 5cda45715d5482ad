// SPDX-License-Identifier: MIT
/// \file
/// Ends a program whose other processes do not answer: NCCL itself would wait for ever.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include <nccl.h>

namespace meanflow::detail {

/// A thread that looks after a communicator: it ends the program with one sentence when NCCL
/// reports that another process is gone, or when this one has waited for longer than the timeout.
class NcclWatch {
 public:
  using Seconds = std::chrono::duration<double>;

  explicit NcclWatch(Seconds timeout)
      : timeout_(timeout), thread_([this](const std::stop_token& stop) { look_after(stop); }) {}

  /// From when this returns on, no other communicator is looked after.
  void look_after(ncclComm_t comm) {
    const std::lock_guard lock(mutex_);
    comm_ = comm;
  }

  /// This process waits for the others from now on, if it does not already.
  void begin() {
    auto none = Clock::rep{0};
    since_.compare_exchange_strong(none, Clock::now().time_since_epoch().count());
  }
  void end() { since_ = 0; }

 private:
  using Clock = std::chrono::steady_clock;

  void look_after(const std::stop_token& stop) {
    std::condition_variable_any woken;
    std::unique_lock lock(mutex_);
    while (!woken.wait_for(lock, stop, std::chrono::milliseconds(200), [] { return false; }) &&
           !stop.stop_requested()) {
      ncclResult_t status = ncclSuccess;
      if (comm_ && ncclCommGetAsyncError(comm_, &status) == ncclSuccess)
        if (status != ncclSuccess && status != ncclInProgress)
          end_program(std::string("NCCL failed, maybe since another process is gone: ") +
                      ncclGetErrorString(status));
      const auto since = since_.load();
      if (since == 0) continue;
      const Seconds waited = Clock::now() - Clock::time_point(Clock::duration(since));
      if (waited > timeout_)
        end_program("no answer from other processes in " +
                    std::to_string(static_cast<long>(waited.count())) + " s");
    }
  }

  [[noreturn]] static void end_program(const std::string& why) {
    std::fprintf(stderr, "meanflow: %s; the training run ends\n", why.c_str());
    std::fflush(stderr);
    std::_Exit(1);  // by which a launcher knows that it has to end the others
  }

  Seconds timeout_;
  std::mutex mutex_;
  ncclComm_t comm_ = nullptr;
  std::atomic<Clock::rep> since_ = 0;
  std::jthread thread_;  // the last: it uses what is above
};

}  // namespace meanflow::detail
