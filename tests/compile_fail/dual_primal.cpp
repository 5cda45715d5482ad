// compiles
// SPDX-License-Identifier: MIT
#include <meanflow/scalar/dual.hpp>

float value(meanflow::Dual<float> x) { return x.primal; }
