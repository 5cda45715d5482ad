// SPDX-License-Identifier: MIT
#include "training.hpp"

namespace toy2d {

Trained train_on_cuda(const Settings&, const Data&, const std::string&, std::uint64_t) {
  throw meanflow::SettingError(
      "--device is cuda, but this program was built without CUDA: nvcc, the CUDA toolkit and cuDNN "
      "have to be there when it is configured");
}

}  // namespace toy2d
