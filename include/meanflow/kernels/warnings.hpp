// SPDX-License-Identifier: MIT
/// \file
/// What kernels have to say about how they run, for people who wait for them.
#pragma once

#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

namespace meanflow::kernels {

namespace detail {

struct Warnings {
  std::mutex mutex;
  std::vector<std::string> sentences;
};

// Never destroyed: threads may outlive static objects.
[[nodiscard]] inline Warnings& warnings() {
  static Warnings* all = new Warnings;
  return *all;
}

}  // namespace detail

/// Notes one sentence: that something is slower than it should be, and why. The same sentence is
/// kept once.
inline void warn(const std::string& sentence) {
  detail::Warnings& all = detail::warnings();
  const std::lock_guard lock(all.mutex);
  if (std::ranges::find(all.sentences, sentence) == all.sentences.end())
    all.sentences.push_back(sentence);
}

/// All that kernels of this process have noted so far, in the order of its first time.
[[nodiscard]] inline std::vector<std::string> warnings_so_far() {
  detail::Warnings& all = detail::warnings();
  const std::lock_guard lock(all.mutex);
  return all.sentences;
}

}  // namespace meanflow::kernels
