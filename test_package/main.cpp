// SPDX-License-Identifier: MIT
#include <meanflow/meanflow.hpp>

int main() {
  const meanflow::Mlp<float> net({.dimension = 2, .hidden = 16, .layers = 1});
  const auto x = meanflow::sample(net, meanflow::normal_noise({4, 2}, 1));
  return x.rows() == 4 ? 0 : 1;
}
