// SPDX-License-Identifier: MIT
#include <meanflow/io/jpeg.hpp>

#include "fuzz/fuzz.hpp"

using namespace meanflow;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  meanflow_fuzz::try_reading(
      {data, size}, [](const auto& path) { detail::check_image("load_jpeg", load_jpeg(path)); });
  return 0;
}
