// SPDX-License-Identifier: MIT
#include <meanflow/meanflow.hpp>

#include "course_on.hpp"

namespace meanflow::test {

Courses courses_on_cpu() { return courses_on<Cpu>(); }

}  // namespace meanflow::test
