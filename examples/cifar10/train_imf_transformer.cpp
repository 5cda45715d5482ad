// SPDX-License-Identifier: MIT
#include <utility>
#include <variant>

#include "train_net.hpp"

namespace cifar10 {

void train_imf_transformer(Run run) {
  const auto& net = std::get<ImfNet>(run.settings.net);
  auto built = build<meanflow::Cpu>(completed(net, run.settings, run.format));
  train_net(std::move(built), std::move(run));
}

}  // namespace cifar10
