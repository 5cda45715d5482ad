// SPDX-License-Identifier: MIT
#include <meanflow/cuda.hpp>

#include "course_on.hpp"

namespace meanflow::test {

Courses courses_on_cuda() { return courses_on<Cuda>(); }

}  // namespace meanflow::test
