// SPDX-License-Identifier: MIT
// One of two translation units that include every header; what is missing an `inline` is defined
// twice in this program, and then it does not link.
#include "all_headers.hpp"

const meanflow::Version* version_seen_by_two();

int main() { return version_seen_by_two() == &meanflow::version ? 0 : 1; }
