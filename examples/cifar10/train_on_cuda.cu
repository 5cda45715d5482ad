// SPDX-License-Identifier: MIT
#include <utility>
#include <variant>

#include <meanflow/cuda.hpp>

#include "train_net.hpp"

namespace cifar10 {

void train_on_cuda(Run run) {
  const NetSettings chosen = run.settings.net;  // the run is moved on
  std::visit(
      [&](const auto& net) {
        auto built = build<meanflow::Cuda>(completed(net, run.settings, run.format));
        train_net(std::move(built), std::move(run));
      },
      chosen);
}

}  // namespace cifar10
