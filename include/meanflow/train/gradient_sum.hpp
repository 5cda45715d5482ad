// SPDX-License-Identifier: MIT
/// \file
/// The sum of the processes' gradients, in buckets that are sent while the backward pass goes on.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <meanflow/autodiff/parameters.hpp>
#include <meanflow/autodiff/tape.hpp>
#include <meanflow/tensor/tensor.hpp>
#include <meanflow/train/communicator.hpp>

namespace meanflow {

/// How the gradients of a step were added up.
struct CommunicationReport {
  std::size_t buckets = 0;  ///< parts in which the gradient was sent; 0: as a whole
  std::size_t early = 0;    ///< of which were sent before the backward pass had ended
  double waited = 0;        ///< seconds from there until all had arrived
};

namespace detail {

/// Consecutive parameters, and their part of the flat gradient.
struct Bucket {
  std::size_t first_entry, end_entry, begin, end;
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

/// Sends each bucket of a gradient as soon as all tiles have gone back through the operations that
/// use its parameters. The last bucket, which holds the first parameter, is sent at the end alone.
template <class T, class C>
class OverlappedSum {
 public:
  OverlappedSum(const C& communicator, std::vector<Bucket> buckets, std::size_t tiles,
                Tensor<T> gradient)
      : communicator_(communicator),
        buckets_(std::move(buckets)),
        left_(buckets_.size()),
        gradient_(std::move(gradient)) {
    for (auto& left : left_) left = tiles;
  }

  /// One tile on its way back.
  class Tile {
   public:
    /// `add_up(begin, end)` adds up what the threads of this process have of a part; `sends`:
    /// whether this is the thread that talks to other processes.
    template <class F>
    void passed(OverlappedSum& sum, const Tape<T>& tape, bool sends, F add_up) {
      if (complete_at_.empty()) complete_at_ = sum.complete_at(tape);
      for (; done_ < complete_at_.size() && tape.size() <= complete_at_[done_]; ++done_)
        sum.left_[done_].fetch_sub(1, std::memory_order_acq_rel);
      if (sends) sum.progress(add_up);
    }

   private:
    std::vector<std::size_t> complete_at_;  // by bucket: operations left on the tape
    std::size_t done_ = 0;                  // buckets
  };

  /// After the backward pass: sends the rest, and waits for all.
  template <class F>
  [[nodiscard]] CommunicationReport finish(F add_up) {
    CommunicationReport report{.buckets = buckets_.size(), .early = pending_.size()};
    const auto begin = std::chrono::steady_clock::now();
    while (pending_.size() < buckets_.size()) send(add_up);
    for (auto& sum : pending_) sum.wait();
    report.waited = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return report;
  }

 private:
  friend class Tile;
  using Pending = decltype(std::declval<const C&>().begin_all_reduce(std::span<T>{}));

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

  template <class F>
  void progress(F add_up) {
    for (auto& sum : pending_) static_cast<void>(sum.done());
    while (pending_.size() + 1 < buckets_.size() &&
           left_[pending_.size()].load(std::memory_order_acquire) == 0)
      send(add_up);
  }

  template <class F>
  void send(F add_up) {
    const Bucket& bucket = buckets_[pending_.size()];
    add_up(bucket.begin, bucket.end);
    pending_.push_back(communicator_.begin_all_reduce(
        gradient_.span().subspan(bucket.begin, bucket.end - bucket.begin)));
  }

  const C& communicator_;
  std::vector<Bucket> buckets_;
  std::vector<std::atomic<std::size_t>> left_;  // by bucket: tiles that still add to it
  Tensor<T> gradient_;
  std::vector<Pending> pending_;  // of the first buckets; destroyed before what they write to
};

}  // namespace detail

}  // namespace meanflow
