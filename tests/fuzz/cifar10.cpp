// SPDX-License-Identifier: MIT
#include <meanflow/data/cifar10.hpp>

#include "fuzz/fuzz.hpp"

using namespace meanflow;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  meanflow_fuzz::try_reading({data, size}, [size](const auto& path) {
    ImageSet set{
        .height = 32, .width = 32, .channels = 3, .pixels = {}, .labels = {}, .classes = 10};
    detail::append_cifar10(path, set);  // what load_cifar10 does for each file of a folder
    meanflow_fuzz::expect(set.count == size / 3073);
    set.check();
  });
  return 0;
}
