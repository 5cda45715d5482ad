// SPDX-License-Identifier: MIT
// Functions of two operands, whatever is repeated of them.
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/cuda.hpp>
#include <meanflow/tensor/transfer.hpp>

using namespace meanflow;

namespace {

template <class Device>
using Numbers = Tensor<double, Device>;

/// z, dz, gx and gy of a device.
template <class Device, class F>
std::vector<Tensor<double>> results(F f, const Shape& sx, const Shape& sy) {
  const auto some = [](const Shape& shape, std::uint64_t seed) {
    return to_device<Device>(normal_noise<double>(shape, seed));
  };
  const Broadcast shape = broadcast("test", sx, sy);
  const auto x = some(sx, 1), dx = some(sx, 2), y = some(sy, 3), dy = some(sy, 4);
  const auto g = some(shape.shape, 5);
  Numbers<Device> z(shape.shape), dz(shape.shape);
  auto gx = Numbers<Device>::full(sx, 1), gy = Numbers<Device>::full(sy, 2);
  kernels::binary(Device{}, f, shape, x.data(), y.data(), z.data());
  binary_tangent(Device{}, f, shape, x.data(), dx.data(), y.data(), dy.data(), dz.data());
  binary_backward(Device{}, f, shape, x.data(), y.data(), g.data(), gx.data(), gy.data());
  return {to_host(z), to_host(dz), to_host(gx), to_host(gy)};
}

}  // namespace

TEST_CASE("functions of two operands are those of plain loops, whatever is repeated") {
  const std::vector<std::pair<Shape, Shape>> cases{{{8}, {8}},
                                                   {{8}, {1}},
                                                   {{1}, {8}},
                                                   {{6}, {1}},
                                                   {{7}, {7}},
                                                   {{3, 8}, {8}},
                                                   {{3, 8}, {3, 1}},
                                                   {{3, 1}, {1, 8}},
                                                   {{3, 5}, {1, 5}},
                                                   {{2, 3, 8}, {2, 1, 8}},
                                                   {{2, 3, 8}, {1, 3, 1}},
                                                   {{2, 3, 4, 8}, {2, 1, 1, 8}},
                                                   {{2, 3, 4, 8}, {2, 1, 4, 1}},
                                                   {{2, 1, 3, 1, 4}, {1, 5, 1, 2, 1}},
                                                   {{2, 70, 4}, {2, 1, 4}},
                                                   {{0, 4}, {1, 4}},
                                                   {{1, 1}, {1}}};
  for (const auto& [x, y] : cases) {
    INFO(to_string(x), " with ", to_string(y));
    const auto check = [&, &sx = x, &sy = y](auto f) {
      const auto found = results<Cuda>(f, sx, sy), expected = results<Reference>(f, sx, sy);
      for (std::size_t k = 0; k < 4; ++k)
        for (std::size_t i = 0; i < expected[k].size(); ++i)
          CHECK(found[k][i] == doctest::Approx(expected[k][i]).epsilon(1e-12));
    };
    check(Multiply{});
    check(Subtract{});
  }
}
