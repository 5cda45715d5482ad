// SPDX-License-Identifier: MIT
// Nets for tests.
#pragma once

#include <cstddef>

#include <expect_op.hpp>

#include <meanflow/autodiff/parameters.hpp>

namespace meanflow::test {

/// Values that no layer starts with, so that none is invisible behind one that starts at zero.
template <class N>
N stirred(N net) {
  Values values = net.parameters().values();
  for (const ParameterEntry& entry : net.parameters().entries()) {
    const Values noise = numbers({entry.shape.size()}, entry.offset + 1, -0.3, 0.3);
    for (std::size_t i = 0; i < noise.size(); ++i) values[entry.offset + i] += noise[i];
  }
  return net;
}

}  // namespace meanflow::test
