// SPDX-License-Identifier: MIT
#include "all_headers.hpp"

const meanflow::Version* version_seen_by_two();

const meanflow::Version* version_seen_by_two() { return &meanflow::version; }
