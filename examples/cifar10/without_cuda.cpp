// SPDX-License-Identifier: MIT
#include <meanflow/error.hpp>

#include "on_cuda.hpp"

namespace cifar10 {

namespace {

[[noreturn]] void refuse() {
  throw meanflow::SettingError(
      "--device is cuda, but this program was built without CUDA: nvcc, the CUDA toolkit and cuDNN "
      "have to be there when it is configured");
}

}  // namespace

void use_gpu(int) { refuse(); }
void train_on_cuda(Run) { refuse(); }
Sampler sampler_on_cuda(const Settings&, const ImageFormat&, const std::filesystem::path&,
                        const std::string&) {
  refuse();
}

}  // namespace cifar10
