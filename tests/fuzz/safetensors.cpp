// SPDX-License-Identifier: MIT
#include <vector>

#include <meanflow/io/safetensors.hpp>

#include "fuzz/fuzz.hpp"

using namespace meanflow;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  meanflow_fuzz::try_reading({data, size}, [](const auto& path) {
    const Safetensors file(path);
    for (const std::string& name : file.names()) {
      const std::vector<std::byte> bytes = file.read_bytes(name);
      meanflow_fuzz::expect(bytes.size() == file.size(name) * size_of(file.dtype(name)));
      try {
        meanflow_fuzz::expect(file.read<double>(name).size() == file.size(name));
        static_cast<void>(file.read<float>(name));
        static_cast<void>(file.read<std::int8_t>(name));
      } catch (const FileError&) {  // a value that the type cannot hold
      }
    }
  });
  return 0;
}
