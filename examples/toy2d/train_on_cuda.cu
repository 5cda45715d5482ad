// SPDX-License-Identifier: MIT
#include <meanflow/cuda.hpp>

#include "training.hpp"

namespace toy2d {

Trained train_on_cuda(const Settings& s, const Data& data, const std::string& objective,
                      std::uint64_t steps) {
  return train_on<meanflow::Cuda>(s, data, objective, steps);
}

}  // namespace toy2d
