// SPDX-License-Identifier: MIT
// Parts of a training run that fail in one process.
#pragma once

#include <cstddef>
#include <stdexcept>

#include <meanflow/flow/mean_flow.hpp>
#include <meanflow/nn/mlp.hpp>

namespace meanflow::test {

/// An objective whose third step fails in one process, at the end of the way back.
struct FailsOnTheWayBack {
  static constexpr auto metrics = flow_metrics;
  std::size_t rank;

  auto operator()(const Mlp<>& net, const FlowBatchOf<Mlp<>>& batch,
                  const StepContext<Mlp<>, ConstantWeighting>& context) const {
    if (rank == 1 && context.step == 2)
      context.tape.record([](auto&) { throw std::runtime_error("the way back is closed"); });
    return MeanFlow{}(net, batch, context);
  }
};

}  // namespace meanflow::test
