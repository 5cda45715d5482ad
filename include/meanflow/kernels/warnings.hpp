// SPDX-License-Identifier: MIT
/// \file
/// Warnings that kernels raise while they run, such as a slow fallback.
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

/// Adds a warning of one sentence: what is slower than it should be, and why. Repeated sentences
/// are kept once.
inline void warn(const std::string& sentence) {
  detail::Warnings& all = detail::warnings();
  const std::lock_guard lock(all.mutex);
  if (std::ranges::find(all.sentences, sentence) == all.sentences.end())
    all.sentences.push_back(sentence);
}

/// All warnings of this process so far, in the order in which they first appeared.
[[nodiscard]] inline std::vector<std::string> warnings_so_far() {
  detail::Warnings& all = detail::warnings();
  const std::lock_guard lock(all.mutex);
  return all.sentences;
}

}  // namespace meanflow::kernels
