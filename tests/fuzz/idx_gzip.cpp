// SPDX-License-Identifier: MIT
// The bytes are what a packed IDX file holds: as they are, few changes of them would get past the
// checksum of gzip. The last byte says where the packed file is damaged, if at all.
#include <algorithm>
#include <vector>

#include <zlib.h>

#include <meanflow/data/mnist.hpp>

#include "fuzz/fuzz.hpp"

using namespace meanflow;

namespace {

std::vector<std::uint8_t> packed(meanflow_fuzz::Bytes bytes) {
  z_stream stream{};
  const int gzip = 16 + MAX_WBITS, memory = 8;
  meanflow_fuzz::expect(
      deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, gzip, memory, Z_DEFAULT_STRATEGY) == Z_OK);
  std::vector<std::uint8_t> out(deflateBound(&stream, bytes.size()) + 32);
  stream.next_in = const_cast<std::uint8_t*>(bytes.data());
  stream.avail_in = static_cast<unsigned>(bytes.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<unsigned>(out.size());
  meanflow_fuzz::expect(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

void read(meanflow_fuzz::Bytes bytes) {
  meanflow_fuzz::try_reading(bytes, [](const auto& path) {
    const IdxArray array = load_idx(path);
    std::size_t count = 1;
    for (const std::size_t extent : array.shape) count *= extent;
    meanflow_fuzz::expect(array.values.size() == count);
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::vector<std::uint8_t> file = packed({data, size - 1});
  read(file);
  file[data[size - 1] % file.size()] ^= data[size - 1];
  read(file);
  read(std::span(file).first(data[size - 1] % file.size()));
  return 0;
}
