// SPDX-License-Identifier: MIT
/// \file
/// Tests that a machine cannot run, and say so.
#pragma once

#include <cstdio>
#include <string>

namespace meanflow_test {

/// How many tests were skipped.
[[nodiscard]] inline int& skips() {
  static int count = 0;
  return count;
}

/// Says that the current test was not run, and why. The test must return after it.
inline void skip(const std::string& why) {
  ++skips();
  std::fprintf(stderr, "skipped: %s\n", why.c_str());
}

}  // namespace meanflow_test
