// SPDX-License-Identifier: MIT
/// \file
/// Which elements of a set a batch consists of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <meanflow/random/philox.hpp>

namespace meanflow::detail {

/// Each element once per epoch in a random order: row r of step s of batches of B rows is at the
/// place p = s B + r of all epochs, element permutation(N, seed, p / N)[p % N]. Keeps the order of
/// the current epoch.
class EpochOrder {
 public:
  /// The elements of a step's rows, out of `count`.
  const std::vector<std::uint32_t>& choose(std::size_t batch, std::size_t count, std::uint64_t seed,
                                           std::uint64_t step) {
    chosen_.resize(batch);
    for (std::size_t i = 0; i < batch; ++i) {
      const std::uint64_t place = step * batch + i, epoch = place / count;
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
