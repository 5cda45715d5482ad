// SPDX-License-Identifier: MIT
#include <meanflow/data/image_array.hpp>
#include <meanflow/data/point_set.hpp>
#include <meanflow/io/npy.hpp>

#include "fuzz/fuzz.hpp"

using namespace meanflow;

namespace {

template <class T>
void read_as(meanflow_fuzz::Bytes bytes) {
  meanflow_fuzz::try_reading(bytes, [](const auto& path) {
    const NpyArray<T> array = load_npy<T>(path);
    std::size_t count = 1;
    for (const std::size_t extent : array.shape) count *= extent;
    meanflow_fuzz::expect(array.values.size() == count);
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const meanflow_fuzz::Bytes bytes(data, size);
  read_as<double>(bytes);
  read_as<float>(bytes);
  read_as<std::int16_t>(bytes);
  meanflow_fuzz::try_reading(bytes, [](const auto& path) { load_image_array(path).check(); });
  // As pictures and labels at once, and as points.
  meanflow_fuzz::try_reading(bytes, [](const auto& path) { load_image_array(path, path).check(); });
  meanflow_fuzz::try_reading(bytes, [](const auto& path) {
    const PointSet set(path);
    meanflow_fuzz::expect(set.size() >= 2 && set.dim() >= 1);
  });
  return 0;
}
