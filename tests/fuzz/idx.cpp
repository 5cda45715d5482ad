// SPDX-License-Identifier: MIT
#include <meanflow/data/mnist.hpp>

#include "fuzz/fuzz.hpp"

using namespace meanflow;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  meanflow_fuzz::try_reading({data, size}, [](const auto& path) {
    const IdxArray array = load_idx(path);
    std::size_t count = 1;
    for (const std::size_t extent : array.shape) count *= extent;
    meanflow_fuzz::expect(array.values.size() == count);
  });
  return 0;
}
