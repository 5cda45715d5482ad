// SPDX-License-Identifier: MIT
// Threads that stand for the processes of a training run.
#pragma once

#include <algorithm>
#include <barrier>
#include <cstddef>
#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <omp.h>

#include <meanflow/tensor/tensor.hpp>

namespace meanflow::test {

/// What such threads share: a place for a buffer of each.
struct Meeting {
  explicit Meeting(std::size_t size) : parts(size), barrier(static_cast<std::ptrdiff_t>(size)) {}
  std::vector<void*> parts;
  std::barrier<> barrier;
};

/// A process that is a thread.
struct ThreadProcess {
  std::size_t number = 0;
  Meeting* meeting = nullptr;

  [[nodiscard]] std::size_t size() const { return meeting->parts.size(); }
  [[nodiscard]] std::size_t rank() const { return number; }

  template <class T>
  void all_reduce(Tensor<T>& values) const {
    sum(values.span());
  }
  void all_reduce(std::span<double> numbers) const { sum(numbers); }
  void broadcast(std::span<char> bytes, std::size_t rank) const {
    meet(bytes, [&](std::span<char> all) {
      std::copy_n(static_cast<const char*>(meeting->parts[rank]), all.size(), all.data());
    });
  }

  /// Sums in the background, of which the test sees whether they are left alone until then.
  template <class T>
  struct Pending {
    const ThreadProcess* process;
    std::span<T> numbers;
    std::vector<T> sent;
    bool summed = false;

    [[nodiscard]] bool done() const { return summed; }
    void wait() {
      if (summed) return;
      if (!std::equal(sent.begin(), sent.end(), numbers.begin(),
                      [](T a, T b) { return a == b || (a != a && b != b); }))
        throw std::runtime_error("the numbers were changed while they were added up");
      process->sum(numbers);
      summed = true;
    }
  };

 private:
  template <class T>
  void sum(std::span<T> values) const {
    meet(values, [&](std::span<T> all) {
      for (std::size_t i = 0; i < all.size(); ++i) {
        all[i] = 0;
        for (const void* part : meeting->parts) all[i] += static_cast<const T*>(part)[i];
      }
    });
  }

  /// own = combine(all), where every process sees the buffers as all have brought them.
  template <class T, class F>
  void meet(std::span<T> own, F combine) const {
    std::vector<T> brought(own.begin(), own.end());
    meeting->parts[number] = brought.data();
    meeting->barrier.arrive_and_wait();
    combine(own);
    meeting->barrier.arrive_and_wait();
  }
};

/// One that adds up in the background.
struct OverlappingProcess : ThreadProcess {
  explicit OverlappingProcess(ThreadProcess process = {}) : ThreadProcess(process) {}

  template <class T>
  [[nodiscard]] Pending<T> begin_all_reduce(std::span<T> numbers) const {
    return {this, numbers, {numbers.begin(), numbers.end()}};
  }
};

/// f(communicator) on a thread for each of `count` processes; what each threw, or "".
template <class F>
std::vector<std::string> as_processes(std::size_t count, F f) {
  Meeting meeting(count);
  std::vector<std::string> thrown(count);
  {
    std::vector<std::jthread> processes;
    for (std::size_t rank = 0; rank < count; ++rank)
      processes.emplace_back([&, rank] {
        omp_set_num_threads(1);
        try {
          f(ThreadProcess{rank, &meeting});
        } catch (const std::exception& error) {
          thrown[rank] = error.what();
        }
      });
  }
  return thrown;
}

}  // namespace meanflow::test
