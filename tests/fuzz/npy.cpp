// SPDX-License-Identifier: MIT
#include <string>

#include <meanflow/data/image_array.hpp>
#include <meanflow/data/point_set.hpp>
#include <meanflow/io/npy.hpp>

#include "fuzz/fuzz.hpp"

using namespace meanflow;
using namespace std::string_literals;

namespace {

const std::string four_pictures =
    "\x93NUMPY\x01\0\x3c\0{'descr': '|u1', 'fortran_order': False, 'shape': (4, 1, 1)}1234"s;

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
  meanflow_fuzz::try_reading(bytes, [](const auto& labels) {
    const auto four = meanflow_fuzz::file_of<1>(
        {reinterpret_cast<const std::uint8_t*>(four_pictures.data()), four_pictures.size()});
    load_image_array(four, labels).check();
  });
  meanflow_fuzz::try_reading(bytes, [](const auto& path) {
    const PointSet set(path);
    meanflow_fuzz::expect(set.size() >= 2 && set.dim() >= 1);
  });
  return 0;
}
