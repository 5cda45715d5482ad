// SPDX-License-Identifier: MIT
#include <meanflow/error.hpp>

#include "training.hpp"

namespace cifar10 {

void train_on_cuda(Run) {
  throw meanflow::SettingError(
      "--device is cuda, but this program was built without CUDA: nvcc, the CUDA toolkit and cuDNN "
      "have to be there when it is configured");
}

}  // namespace cifar10
