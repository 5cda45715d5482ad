// SPDX-License-Identifier: MIT
// The configurations of the example program cifar10. What is accepted must survive being written
// and read again, as it does on its way through a checkpoint.
#include <string>

#include <meanflow/error.hpp>

#include "configuration.hpp"
#include "fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cifar10::Settings settings;
  try {
    settings = cifar10::parse_configuration({data, data + size}, "fuzz.yaml");
  } catch (const meanflow::FileError&) {  // is not YAML
    return 0;
  } catch (const meanflow::SettingError&) {  // unknown, of the wrong type, out of range
    return 0;
  }
  const std::string text = cifar10::to_yaml(settings);
  const cifar10::Settings again = cifar10::parse_configuration(text, "again.yaml");
  meanflow_fuzz::expect(cifar10::to_yaml(again) == text);
  meanflow_fuzz::expect(!cifar10::difference(again, settings));
  return 0;
}
