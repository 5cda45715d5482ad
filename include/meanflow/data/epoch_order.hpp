// SPDX-License-Identifier: MIT
/// \file
/// Which elements of a set a batch consists of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <meanflow/random/philox.hpp>

namespace meanflow::detail {

/// Each element once per epoch in a random order: row r of batch n, of B rows, is at the
/// place p = n B + r of all epochs, element permutation(N, seed, p / N)[p % N]. Keeps the order of
/// the current epoch.
class EpochOrder {
 public:
  /// The elements of a batch, out of `count`.
  const std::vector<std::uint32_t>& choose(std::size_t rows, std::size_t count, std::uint64_t seed,
                                           std::uint64_t number) {
    chosen_.resize(rows);
    for (std::size_t i = 0; i < rows; ++i) {
      const std::uint64_t place = number * rows + i, epoch = place / count;
      if (order_.size() != count || seed_ != seed || epoch_ != epoch) {
        order_ = permutation<std::uint32_t>(count, seed, epoch);
        seed_ = seed;
        epoch_ = epoch;
      }
      chosen_[i] = order_[place % count];
    }
    return chosen_;
  }

 private:
  std::vector<std::uint32_t> order_, chosen_;
  std::uint64_t seed_ = 0, epoch_ = 0;
};

}  // namespace meanflow::detail
