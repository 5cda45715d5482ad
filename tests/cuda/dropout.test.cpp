// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>

#include <doctest/doctest.h>

#include <meanflow/cuda.hpp>

using namespace meanflow;

namespace {

/// Three rows, of which the first two have tangents.
template <class Device>
[[nodiscard]] Tensor<double> dropped(const Tensor<double>& x) {
  const std::size_t rows = 3, tangents = 2;
  Tensor<std::uint64_t> numbers({rows});
  for (std::size_t row = 0; row < rows; ++row) numbers[row] = 40 + row;
  const auto step = Tensor<std::uint64_t, Device>::full({1}, 6);
  const auto rows_of_device = to_device<Device>(numbers);
  const auto in = to_device<Device>(x);
  Tensor<double, Device> out(x.shape());
  kernels::dropout(Device{}, rows, tangents, x.row_size(), 0.4, 9, step.data(),
                   rows_of_device.data(), 1U << 20, in.data(), out.data());
  return to_host(out);
}

}  // namespace

TEST_CASE("the device drops what the plain loop drops") {
  for (const std::size_t columns : {1, 5, 8, 300}) {
    INFO(columns, " columns");
    const Tensor<double> x = normal_noise<double>({5, columns}, 2);
    const double before = kernels::cuda::work().moved;
    const Tensor<double> y = dropped<Cuda>(x), expected = dropped<Reference>(x);
    const double moved = kernels::cuda::work().moved - before;  // by a kernel of the device's own
    for (std::size_t i = 0; i < y.size(); ++i) REQUIRE(y[i] == expected[i]);
    CHECK(moved >= 2.0 * 5 * static_cast<double>(columns * sizeof(double)));
  }
}
