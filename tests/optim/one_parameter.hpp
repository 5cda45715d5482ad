// SPDX-License-Identifier: MIT
/// \file
/// A single parameter for optimizers to work on.
#pragma once

#include <algorithm>

#include <expect_op.hpp>

#include <meanflow/autodiff/parameters.hpp>
#include <meanflow/optim/update.hpp>

namespace meanflow::test {

/// Parameters with one named "p".
[[nodiscard]] inline Parameters<double> parameters_of(const Values& p) {
  Parameters<double> parameters;
  const auto only = parameters.add("p", p.shape());
  std::ranges::copy(p.span(), only.data());
  return parameters;
}

/// A gradient as the flat buffer of such parameters: what is behind it is zero.
[[nodiscard]] inline Values flat(const Values& g) {
  auto all = Values::zeros({(g.size() + 15) / 16 * 16});
  std::ranges::copy(g.span(), all.data());
  return all;
}

}  // namespace meanflow::test
