// SPDX-License-Identifier: MIT
/// \file
/// The processes of an MPI program as those of one training run.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <mpi.h>

#include <meanflow/error.hpp>
#include <meanflow/kernels/precision.hpp>
#include <meanflow/mpi/bfloat16.hpp>
#include <meanflow/mpi/session.hpp>
#include <meanflow/tensor/tensor.hpp>
#include <meanflow/tensor/transfer.hpp>
#include <meanflow/train/parts.hpp>

namespace meanflow {

struct MpiSettings {
  /// How long a process waits for the others before it ends the program.
  std::chrono::duration<double> timeout = std::chrono::seconds(60);
  /// Of gradients in float on their way: bfloat16 halves the bytes, and rounds each sum to 8 bits.
  Precision wire = Precision::float32;
};

namespace detail {

template <class T>
  requires std::same_as<T, float> || std::same_as<T, double>
[[nodiscard]] MPI_Datatype mpi_type() {
  return std::same_as<T, float> ? MPI_FLOAT : MPI_DOUBLE;
}

}  // namespace detail

/// `Communicator` over the processes of an MPI communicator, of which it has a duplicate of its
/// own: `Recipe{.communicator = MpiCommunicator{}}`. Make it after `MpiSession`, in all processes,
/// and use it from the main thread.
///
/// A process that waits longer than the timeout ends the whole program with a sentence that names
/// the processes that do not answer: one that was killed or stopped must not leave the others
/// waiting for ever.
class MpiCommunicator {
 public:
  using Settings = MpiSettings;

  explicit MpiCommunicator(MPI_Comm comm = MPI_COMM_WORLD, const Settings& settings = {})
      : settings_(settings) {
    MPI_Comm own;
    MPI_Comm_dup(comm, &own);
    MPI_Op sum;
    MPI_Op_create(detail::sum_bfloat16, 1, &sum);
    handles_ = std::shared_ptr<Handles>(new Handles{own, sum}, [](Handles* held) {
      int ended = 0;
      MPI_Finalized(&ended);  // nothing is freed together once an exception ends this process
      if (!ended && !detail::mpi_is_abandoned() && std::uncaught_exceptions() == 0) {
        MPI_Comm_free(&held->comm);
        MPI_Op_free(&held->sum_bfloat16);
      }
      delete held;
    });
    int size = 1, rank = 0;
    MPI_Comm_size(own, &size);
    MPI_Comm_rank(own, &rank);
    size_ = static_cast<std::size_t>(size);
    rank_ = static_cast<std::size_t>(rank);
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t rank() const { return rank_; }

  template <class T>
  void all_reduce(Tensor<T>& values) const {
    sum(values.span());
  }
  /// By way of the host.
  template <class T, class Device>
    requires(!std::same_as<Device, Cpu>)
  void all_reduce(Tensor<T, Device>& values) const {
    Tensor<T> here = to_host(values).clone();
    all_reduce(here);
    write(values, here.data());
  }
  void all_reduce(std::span<double> numbers) const { sum(numbers); }

  /// Sums of numbers that are under way. Destroying it waits for them.
  template <class T>
  class Pending {
   public:
    /// For the process of that rank, or for all.
    Pending(const MpiCommunicator& communicator, std::span<T> numbers,
            std::optional<std::size_t> rank)
        : communicator_(&communicator), numbers_(numbers) {
      if (numbers.size() > std::size_t{std::numeric_limits<int>::max()})
        throw SettingError("MPI adds up at most 2^31 - 1 numbers at a time, but " +
                           std::to_string(numbers.size()) + " were given");
      if constexpr (std::same_as<T, float>)
        if (communicator.settings_.wire == Precision::bfloat16) {
          halves_ = detail::to_bfloat16(numbers);
          begin(halves_.data(), MPI_UINT16_T, communicator.handles_->sum_bfloat16, rank);
          return;
        }
      begin(numbers.data(), detail::mpi_type<T>(), MPI_SUM, rank);
    }
    Pending(Pending&& other) noexcept
        : communicator_(other.communicator_),
          numbers_(other.numbers_),
          halves_(std::move(other.halves_)),
          request_(std::exchange(other.request_, MPI_REQUEST_NULL)) {
      other.halves_.clear();
    }
    Pending& operator=(Pending&&) = delete;
    ~Pending() { wait(); }

    [[nodiscard]] bool done() {
      int done = 0;
      MPI_Test(&request_, &done, MPI_STATUS_IGNORE);
      if (done) finish();
      return done != 0;
    }
    void wait() {
      communicator_->wait(request_);
      finish();
    }

   private:
    void begin(void* numbers, MPI_Datatype type, MPI_Op sum, std::optional<std::size_t> rank) {
      const int count = static_cast<int>(numbers_.size());
      const MPI_Comm comm = communicator_->handles_->comm;
      if (!rank) {
        MPI_Iallreduce(MPI_IN_PLACE, numbers, count, type, sum, comm, &request_);
        return;
      }
      const bool here = *rank == communicator_->rank();
      MPI_Ireduce(here ? MPI_IN_PLACE : numbers, here ? numbers : nullptr, count, type, sum,
                  static_cast<int>(*rank), comm, &request_);
    }
    void finish() {
      if constexpr (std::same_as<T, float>)
        if (!halves_.empty()) detail::from_bfloat16(std::exchange(halves_, {}), numbers_);
    }

    const MpiCommunicator* communicator_;
    std::span<T> numbers_;
    std::vector<std::uint16_t> halves_;  // on their way, if the wire is of bfloat16
    MPI_Request request_ = MPI_REQUEST_NULL;
  };

  /// Begins to replace numbers by their sums over all processes. Throws SettingError if there are
  /// 2^31 or more.
  template <class T>
  [[nodiscard]] Pending<T> begin_all_reduce(std::span<T> numbers) const {
    return {*this, numbers, {}};
  }
  /// The same, for the process of that rank alone.
  template <class T>
  [[nodiscard]] Pending<T> begin_reduce(std::span<T> numbers, std::size_t rank) const {
    return {*this, numbers, rank};
  }
  /// Gives all processes the values [bounds[k], bounds[k + 1]) of each process k.
  template <class T>
  void all_gather(std::span<T> values, std::span<const std::size_t> bounds) const {
    if (values.size() > std::size_t{std::numeric_limits<int>::max()}) {
      detail::broadcast_parts(*this, values, bounds);
      return;
    }
    std::vector<int> counts(size_), begins(size_);
    for (std::size_t k = 0; k < size_; ++k) {
      counts[k] = static_cast<int>(bounds[k + 1] - bounds[k]);
      begins[k] = static_cast<int>(bounds[k]);
    }
    MPI_Request request;
    MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values.data(), counts.data(), begins.data(),
                    detail::mpi_type<T>(), handles_->comm, &request);
    wait(request);
  }

  void broadcast(std::span<char> bytes, std::size_t rank) const {
    in_parts(bytes, [&](std::span<char> part) {
      MPI_Request request;
      MPI_Ibcast(part.data(), static_cast<int>(part.size()), MPI_CHAR, static_cast<int>(rank),
                 handles_->comm, &request);
      wait(request);
    });
  }

 private:
  struct Handles {
    MPI_Comm comm;
    MPI_Op sum_bfloat16;
  };

  template <class T>
  void sum(std::span<T> numbers) const {
    in_parts(numbers, [&](std::span<T> part) { begin_all_reduce(part).wait(); });
  }

  /// f(part) of parts whose size fits MPI's int.
  template <class T, class F>
  static void in_parts(std::span<T> all, F f) {
    constexpr std::size_t most = std::size_t{1} << 30;
    for (std::size_t first = 0; first < all.size(); first += most)
      f(all.subspan(first, std::min(most, all.size() - first)));
  }

  using Clock = std::chrono::steady_clock;

  /// Waits for the request, and lets others have the processor that they may need to get there.
  void wait(MPI_Request& request) const {
    const auto begin = Clock::now();
    for (std::size_t tries = 0;; ++tries) {
      int done = 0;
      MPI_Test(&request, &done, MPI_STATUS_IGNORE);
      if (done) return;
      if (tries < 1000) continue;
      std::this_thread::yield();
      if (tries % 1000 == 0 && Clock::now() - begin > settings_.timeout) end_all();
    }
  }

  /// Ends the program, naming who does not answer.
  [[noreturn]] void end_all() const {
    const std::vector<std::size_t> silent = roll_call();
    const std::size_t speaker = first_but(silent);
    if (rank_ == speaker) {
      std::string names;
      for (const std::size_t rank : silent)
        names += (names.empty() ? "" : ", ") + std::to_string(rank);
      std::fprintf(stderr, "meanflow: %s; the training run ends after %.0f s of waiting\n",
                   silent.empty() ? "the processes wait for different calls"
                                  : ("no answer from process " + names).c_str(),
                   settings_.timeout.count());
      std::fflush(stderr);
    }
    MPI_Abort(handles_->comm, 1);
    std::abort();
  }

  /// The processes that do not wait as well: those from which nothing is heard after a while.
  [[nodiscard]] std::vector<std::size_t> roll_call() const {
    constexpr int tag = 1;
    std::vector<MPI_Request> sent(size_), heard(size_);
    std::vector<char> bytes(size_);
    char own = 0;
    for (std::size_t rank = 0; rank < size_; ++rank) {
      const int other = static_cast<int>(rank);
      MPI_Irecv(&bytes[rank], 1, MPI_CHAR, other, tag, handles_->comm, &heard[rank]);
      MPI_Isend(&own, 1, MPI_CHAR, other, tag, handles_->comm, &sent[rank]);
    }
    std::vector<std::size_t> silent;
    const auto begin = Clock::now();
    do {
      silent.clear();
      for (std::size_t rank = 0; rank < size_; ++rank) {
        int done = 0;
        MPI_Test(&heard[rank], &done, MPI_STATUS_IGNORE);
        if (!done) silent.push_back(rank);
      }
      std::this_thread::yield();
    } while (!silent.empty() && Clock::now() - begin < patience());
    return silent;
  }

  /// How long to listen: others may notice later that they have waited too long.
  [[nodiscard]] std::chrono::duration<double> patience() const {
    return std::max<std::chrono::duration<double>>(std::chrono::seconds(1), settings_.timeout / 10);
  }

  [[nodiscard]] std::size_t first_but(const std::vector<std::size_t>& silent) const {
    std::size_t first = 0;
    while (std::ranges::find(silent, first) != silent.end()) ++first;
    return first;
  }

  Settings settings_;
  std::shared_ptr<Handles> handles_;
  std::size_t size_ = 1, rank_ = 0;
};

}  // namespace meanflow
