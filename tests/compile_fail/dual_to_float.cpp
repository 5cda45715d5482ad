// error: cannot convert .*Dual<float>|no viable conversion from .*Dual<float>
// SPDX-License-Identifier: MIT
#include <meanflow/scalar/dual.hpp>

float value(meanflow::Dual<float> x) { return x; }
