// SPDX-License-Identifier: MIT
#include <cstddef>

#include <doctest/doctest.h>

#include <meanflow/cuda.hpp>

using namespace meanflow;

namespace {

template <class Device>
[[nodiscard]] Tensor<double> rotated(const Tensor<double>& x, const Tensor<double>& cosines,
                                     const Tensor<double>& sines, double sign) {
  const auto in = to_device<Device>(x), c = to_device<Device>(cosines),
             s = to_device<Device>(sines);
  Tensor<double, Device> out(x.shape());
  kernels::rope(Device{}, x.rows(), x.shape()[1], x.shape()[2], x.shape()[3] / 2, sign, c.data(),
                s.data(), in.data(), out.data());
  return to_host(out);
}

}  // namespace

TEST_CASE("the device rotates positions as the plain loop does") {
  for (const std::size_t half : {1, 3, 4, 6})
    for (const double sign : {1.0, -1.0}) {
      INFO(half, " pairs, sign ", sign);
      const Tensor<double> x = normal_noise<double>({3, 5, 2, 2 * half}, 2);
      const Tensor<double> cosines = normal_noise<double>({5, half}, 3),
                           sines = normal_noise<double>({5, half}, 4);
      const double before = kernels::cuda::work().moved;
      const Tensor<double> y = rotated<Cuda>(x, cosines, sines, sign),
                           expected = rotated<Reference>(x, cosines, sines, sign);
      // By a kernel of the device's own.
      CHECK(kernels::cuda::work().moved - before ==
            2 * static_cast<double>(x.size() * sizeof(double)));
      for (std::size_t i = 0; i < y.size(); ++i)
        REQUIRE(y[i] == doctest::Approx(expected[i]).epsilon(1e-14));
    }
}
