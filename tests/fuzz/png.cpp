// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstring>

#include <zlib.h>

#include <meanflow/io/image.hpp>

#include "fuzz/fuzz.hpp"

using namespace meanflow;

namespace {

std::uint32_t big_endian(const std::uint8_t* bytes) {
  return std::uint32_t(bytes[0]) << 24 | std::uint32_t(bytes[1]) << 16 |
         std::uint32_t(bytes[2]) << 8 | bytes[3];
}

/// Makes the checksums of all chunks right, as far as chunks can be told.
void repair_checksums(std::uint8_t* data, std::size_t size) {
  const std::size_t signature = 8, around = 12;  // length, type and checksum of a chunk
  for (std::size_t begin = signature; begin + around <= size;) {
    const std::size_t length = big_endian(data + begin);
    if (length > size - begin - around) return;
    const std::uint8_t* const type = data + begin + 4;
    const auto checksum = static_cast<std::uint32_t>(crc32(0, type, unsigned(length + 4)));
    for (int i = 0; i < 4; ++i) {
      data[begin + 8 + length + i] = static_cast<std::uint8_t>(checksum >> (24 - 8 * i));
    }
    begin += around + length;
  }
}

}  // namespace

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

/// Most changes are hidden behind a wrong checksum; so three of four get a right one.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  const std::size_t changed = LLVMFuzzerMutate(data, size, most);
  if (seed % 4 != 0) repair_checksums(data, changed);
  return changed;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  meanflow_fuzz::try_reading(
      {data, size}, [](const auto& path) { detail::check_image("load_png", load_png(path)); });
  return 0;
}
