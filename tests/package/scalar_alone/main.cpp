// SPDX-License-Identifier: MIT
#include <meanflow/scalar/math.hpp>

int main() {
  const meanflow::Dual<double> x{0.0, 1.0};
  return exp(x).tangent == 1.0 ? 0 : 1;
}
