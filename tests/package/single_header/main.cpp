// SPDX-License-Identifier: MIT
#include <meanflow_dual.hpp>
// Twice, and after what it is made of.
#include <meanflow_dual.hpp>

int main() {
  const meanflow::Dual<double> x{0.5, 1.0};
  const auto y = meanflow::silu(x * x) + sin(x);
  const meanflow::Dual<meanflow::Dual<float>> twice{{2.0F, 1.0F}, {1.0F, 0.0F}};
  const float second = (twice * twice * twice).tangent.tangent;  // (x^3)'' = 6 x
  return y.primal > 0 && y.tangent > 0 && second == 12.0F ? 0 : 1;
}
