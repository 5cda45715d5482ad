// SPDX-License-Identifier: MIT
/// \file
/// The sum of the gradients of all tiles of all processes: after the backward pass, or in buckets
/// that are sent while it goes on.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <meanflow/autodiff/parameters.hpp>
#include <meanflow/autodiff/tape.hpp>
#include <meanflow/optim/update.hpp>
#include <meanflow/tensor/tensor.hpp>
#include <meanflow/train/communicator.hpp>
#include <meanflow/train/exact_sums.hpp>
#include <meanflow/train/parts.hpp>
#include <meanflow/train/workers.hpp>

namespace meanflow {

/// A part of the gradient on its way, in seconds since the step's first tile began.
struct SumReport {
  std::size_t numbers = 0;
  double sent = 0;
  double arrived = 0;  ///< as far as this process has looked
};

/// How the gradients of a step were added up.
struct CommunicationReport {
  std::size_t buckets = 0;  ///< parts in which the gradient was sent; 0: as a whole
  std::size_t early = 0;    ///< of which were sent before the backward pass had ended
  double backward = 0;      ///< seconds from the first tile to there; 0 if sent as a whole
  /// Seconds from there until all had arrived. On a GPU, by way of the host, with what the device
  /// still had to do; 0 if sums were only queued there.
  double waited = 0;
  std::vector<SumReport> sums{};  ///< in the order in which they were sent; none if as a whole
};

namespace detail {

/// Consecutive parameters, and their part of the flat gradient or some of it.
struct Bucket {
  std::size_t first_entry, end_entry, begin, end;
  std::size_t rank = 0;  ///< whose part it is, where processes have parts
};

/// The parameters in buckets of `elements` or more, which the last one may lack, from the last
/// parameter to the first: a backward pass completes them roughly in this order.
[[nodiscard]] inline std::vector<Bucket> gradient_buckets(
    const std::vector<ParameterEntry>& entries, std::size_t flat_size, std::size_t elements) {
  std::vector<Bucket> buckets;
  std::size_t end = flat_size, end_entry = entries.size();
  for (std::size_t i = entries.size(); i-- > 0;) {
    if (end - entries[i].offset < elements && i > 0) continue;
    const std::size_t begin = i == 0 ? 0 : entries[i].offset;
    buckets.push_back({i, end_entry, begin, end});
    end = begin;
    end_entry = i;
  }
  return buckets;
}

/// The same cut where the processes' parts begin, `shards`, still from the last number to the
/// first.
[[nodiscard]] inline std::vector<Bucket> cut_at(const std::vector<Bucket>& buckets,
                                                const std::vector<std::size_t>& shards) {
  if (shards.empty()) return buckets;
  std::vector<Bucket> pieces;
  for (const Bucket& bucket : buckets)
    for (std::size_t rank = shards.size() - 1; rank-- > 0;) {
      Bucket piece = bucket;
      piece.begin = std::max(bucket.begin, shards[rank]);
      piece.end = std::min(bucket.end, shards[rank + 1]);
      piece.rank = rank;
      if (piece.begin < piece.end) pieces.push_back(piece);
    }
  return pieces;
}

/// Whether a communicator adds up in the background.
template <class T, class C>
[[nodiscard]] bool overlaps([[maybe_unused]] const C& communicator) {
  if constexpr (!OverlappingCommunicator<C, T>)
    return false;
  else if constexpr (requires { communicator.overlaps(); })
    return communicator.overlaps();
  else
    return true;
}

/// Seconds since then.
[[nodiscard]] inline double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Adds up after the backward pass; with `exact`, in sums that do not depend on the order of their
/// terms. This and `OverlappedSum` have what a step needs of a sum:
///  1. `watch()`: a function of the worker that gives what is called after each operation of a
///     tile's backward pass, or nothing;
///  2. `begun()`: whether others have a part already;
///  3. `finish(measured, squared_norm, sends)`, after the backward pass: the sum is there, at least
///     in the part `measured`, whose squared norm is written; sends() is called right before
///     anything is sent, after which the step cannot be started over;
///  4. `spoil()`, instead: others get NaN for what they have not got yet.
template <class T, class Device, class C>
class SumAtEnd {
 public:
  SumAtEnd(C& communicator, Workers<T, Device>& workers, Tensor<T, Device> gradient, bool exact)
      : communicator_(communicator),
        workers_(workers),
        gradient_(std::move(gradient)),
        exact_(exact) {}

  [[nodiscard]] static auto watch() {
    return [](std::size_t) { return nullptr; };
  }
  [[nodiscard]] static bool begun() { return false; }

  template <class F>
  [[nodiscard]] CommunicationReport finish(const FlatRange& measured, double* squared_norm,
                                           F sends) {
    if (!exact_) workers_.add_up(squared_norm);
    if (!exact_ && communicator_.size() == 1) {
      sends();
      return {};
    }
    CommunicationReport report;
    if constexpr (std::same_as<Device, Cpu>)
      if (exact_) {
        ExactSums& sums = workers_.exact_sums();
        sends();
        report.waited = all_reduce(sums.parts());
        sums.give(gradient_.span());
      }
    if (!exact_) {
      sends();
      const double took = all_reduce(gradient_);
      if (!RecordableCommunicator<C>) report.waited = took;
    }
    workers_.measure(measured, squared_norm);
    return report;
  }

  void spoil() {
    if (exact_) {
      std::vector<double> parts(2 * gradient_.size(), std::numeric_limits<double>::quiet_NaN());
      all_reduce(std::span<double>(parts));
    } else {
      fill(Device{}, gradient_.size(), std::numeric_limits<T>::quiet_NaN(), gradient_.data());
      all_reduce(gradient_);
    }
  }

 private:
  /// The seconds that it took.
  template <class Numbers>
  double all_reduce(Numbers&& numbers) {
    const auto begin = std::chrono::steady_clock::now();
    communicator_.all_reduce(numbers);
    return seconds_since(begin);
  }

  C& communicator_;
  Workers<T, Device>& workers_;
  Tensor<T, Device> gradient_;
  bool exact_;
};

/// Sends each bucket of a gradient as soon as all tiles have gone back through the operations that
/// use its parameters. The last bucket, which holds the first parameter, is sent at the end alone.
template <class T, class C>
class OverlappedSum {
 public:
  /// Each process gets the sums of its part, which `shards` bound, alone; if there are none, those
  /// of all.
  OverlappedSum(const C& communicator, Workers<T, Cpu>& workers, Tensor<T> gradient,
                const std::vector<Bucket>& buckets, const std::vector<std::size_t>& shards,
                std::size_t tiles)
      : communicator_(communicator),
        workers_(workers),
        gradient_(std::move(gradient)),
        buckets_(cut_at(buckets, shards)),
        in_parts_(!shards.empty()),
        left_(buckets_.size()) {
    for (auto& left : left_) left = tiles;
    sums_.reserve(buckets_.size());
  }

  [[nodiscard]] auto watch() {
    return [this](std::size_t worker) {
      // The thread of the first worker is the one that talks to other processes.
      return [this, sends = worker == 0, tile = Tile{}](const Tape<T>& tape) mutable {
        tile.passed(*this, tape);
        if (sends) progress();
      };
    };
  }
  [[nodiscard]] bool begun() const { return !sums_.empty(); }

  template <class F>
  [[nodiscard]] CommunicationReport finish(const FlatRange& measured, double* squared_norm,
                                           F sends) {
    CommunicationReport report{
        .buckets = buckets_.size(), .early = sums_.size(), .backward = seconds_since(start_)};
    report.sums.reserve(buckets_.size());
    sends();
    while (sums_.size() < buckets_.size()) send();
    wait();
    report.waited = seconds_since(start_) - report.backward;
    for (const Sum& sum : sums_) report.sums.push_back(sum.report);
    workers_.measure(measured, squared_norm);
    return report;
  }

  void spoil() {
    while (sums_.size() < buckets_.size()) {
      const Bucket& bucket = buckets_[sums_.size()];
      std::fill(gradient_.data() + bucket.begin, gradient_.data() + bucket.end,
                std::numeric_limits<T>::quiet_NaN());
      begin_sum(bucket);
    }
    wait();
  }

 private:
  /// One tile on its way back.
  class Tile {
   public:
    void passed(OverlappedSum& sum, const Tape<T>& tape) {
      if (complete_at_.empty()) complete_at_ = sum.complete_at(tape);
      for (; done_ < complete_at_.size() && tape.size() <= complete_at_[done_]; ++done_)
        sum.left_[done_].fetch_sub(1, std::memory_order_acq_rel);
    }

   private:
    std::vector<std::size_t> complete_at_;  // by bucket: operations left on the tape
    std::size_t done_ = 0;                  // buckets
  };
  using Pending = decltype(std::declval<const C&>().begin_all_reduce(std::span<T>{}));
  struct Sum {
    Pending pending;
    SumReport report;
  };

  [[nodiscard]] std::vector<std::size_t> complete_at(const Tape<T>& tape) const {
    std::vector<std::size_t> at;
    for (const Bucket& bucket : buckets_) {
      std::size_t first = Tape<T>::no_node;
      for (std::size_t entry = bucket.first_entry; entry < bucket.end_entry; ++entry)
        first = std::min(first, tape.complete_at(entry));
      at.push_back(first);
    }
    return at;
  }

  void progress() {
    for (Sum& sum : sums_)
      if (sum.report.arrived == 0 && sum.pending.done()) sum.report.arrived = seconds_since(start_);
    while (sums_.size() + 1 < buckets_.size() &&
           left_[sums_.size()].load(std::memory_order_acquire) == 0)
      send();
  }

  /// Sends the next bucket.
  void send() {
    const Bucket& bucket = buckets_[sums_.size()];
    workers_.add_up(bucket.begin, bucket.end);
    begin_sum(bucket);
  }

  void begin_sum(const Bucket& bucket) {
    const std::size_t numbers = bucket.end - bucket.begin;
    const std::span<T> part = gradient_.span().subspan(bucket.begin, numbers);
    sums_.push_back({in_parts_ ? begin_reduce(communicator_, part, bucket.rank)
                               : communicator_.begin_all_reduce(part),
                     {.numbers = numbers, .sent = seconds_since(start_)}});
  }

  void wait() {
    for (Sum& sum : sums_) {
      if (sum.report.arrived > 0) continue;
      sum.pending.wait();
      sum.report.arrived = seconds_since(start_);
    }
  }

  const C& communicator_;
  Workers<T, Cpu>& workers_;
  Tensor<T> gradient_;
  std::vector<Bucket> buckets_;
  bool in_parts_;                               // each process has a part of the gradient
  std::vector<std::atomic<std::size_t>> left_;  // by bucket: tiles that still add to it
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::vector<Sum> sums_;  // of the first buckets; destroyed before what they write to
};

}  // namespace detail

}  // namespace meanflow
