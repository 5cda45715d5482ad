// SPDX-License-Identifier: MIT
/// \file
/// The batches of a training run, one after the other, and the next one ahead of its step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <utility>

#include <meanflow/train/source.hpp>

namespace meanflow::detail {

/// Batches from a source, by number. `prepare` fills one while a device is busy with another; what
/// it throws is thrown when that batch is asked for.
template <class T, class C, class Source>
class Batches {
 public:
  Batches(Source& source, std::size_t rows, std::uint64_t seed)
      : source_(source), rows_(rows), seed_(seed), current_(source, rows) {}

  [[nodiscard]] const SourceBatch<T, C>& batch(std::uint64_t number) {
    if (std::exchange(prepared_, std::nullopt) != number) {
      failure_ = nullptr;
      current_.fill(source_, seed_, number);
      return current_;
    }
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    std::swap(current_, *next_);
    return current_;
  }

  void prepare(std::uint64_t number) {
    failure_ = nullptr;
    try {
      if (!next_) next_.emplace(source_, rows_);
      next_->fill(source_, seed_, number);
    } catch (...) {
      failure_ = std::current_exception();
    }
    prepared_ = number;
  }

 private:
  Source& source_;
  std::size_t rows_;
  std::uint64_t seed_;
  SourceBatch<T, C> current_;
  std::optional<SourceBatch<T, C>> next_;
  std::optional<std::uint64_t> prepared_;  // the number of `next_`
  std::exception_ptr failure_;
};

}  // namespace meanflow::detail
