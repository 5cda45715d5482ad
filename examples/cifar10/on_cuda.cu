// SPDX-License-Identifier: MIT
#include <utility>
#include <variant>

#include <meanflow/cuda.hpp>

#include "on_cuda.hpp"
#include "train_net.hpp"

namespace cifar10 {

void use_gpu(int number) { meanflow::use_cuda_device(number); }

void train_on_cuda(Run run) {
  const NetSettings chosen = run.settings.net;  // the run is moved on
  std::visit(
      [&](const auto& net) {
        auto built = build<meanflow::Cuda>(completed(net, run.settings, run.format));
        train_net(std::move(built), std::move(run));
      },
      chosen);
}

Sampler sampler_on_cuda(const Settings& settings, const ImageFormat& format,
                        const std::filesystem::path& checkpoint, const std::string& prefix) {
  return with_net<meanflow::Cuda>(settings, format, [&](auto net) {
    return make_sampler(std::move(net), format, checkpoint, prefix);
  });
}

}  // namespace cifar10
