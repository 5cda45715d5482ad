// SPDX-License-Identifier: MIT
// Group normalisation of shapes that share their work among threads in other ways than most.
#include <cmath>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/cuda.hpp>
#include <meanflow/tensor/transfer.hpp>

using namespace meanflow;

namespace {

template <class Device>
using Floats = Tensor<float, Device>;

Floats<Cpu> some(const Shape& shape, std::uint64_t seed) {
  Floats<Cpu> x(shape);
  fill_normal<float>(x.span(), RandomStream(seed, Purpose::user));
  return x;
}

void expect_close(const char* what, const Floats<Cuda>& found, const Floats<Reference>& expected) {
  const Floats<Cpu> x = to_host(found);
  double difference = 0, size = 1;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double d = std::abs(double{x[i]} - double{expected[i]});
    difference = std::isnan(d) ? INFINITY : std::max(difference, d);
    size = std::max(size, std::abs(double{expected[i]}));
  }
  INFO(what);
  CHECK(difference < 3e-5 * size);
}

/// What a device makes of a batch: results, and all gradients.
template <class Device>
struct NormOutcome {
  Floats<Device> y, mean, inv_std, gx, ga, gb, gc;

  NormOutcome(const NormShape& n, std::size_t tangent_rows, bool shared, bool adds) {
    const std::size_t rows = n.rows + tangent_rows;
    const auto place = [](const Floats<Cpu>& x) { return to_device<Device>(x); };
    const auto x = place(some({rows, n.image()}, 1)), g = place(some({n.rows, n.image()}, 2));
    const std::size_t modulations = shared ? 1 : rows;
    const auto a = place(some({modulations, n.channels}, 3));
    const auto b = place(some({modulations, n.channels}, 4));
    const auto c = place(some({rows, n.channels}, 5));
    const auto before = place(some({n.rows, n.image()}, 6));
    const NormTerms<float> terms{a.data(), b.data(), shared, adds ? c.data() : nullptr};
    y = Floats<Device>({rows, n.image()});
    mean = Floats<Device>({n.rows, n.groups});
    inv_std = Floats<Device>({n.rows, n.groups});
    gx = Floats<Device>({n.rows, n.image()});
    for (auto* gradient : {&ga, &gb, &gc}) *gradient = Floats<Device>({n.rows, n.channels});
    group_norm(Device{}, Silu{}, n, tangent_rows, 1e-3F, x.data(), terms, y.data(), mean.data(),
               inv_std.data());
    group_norm_backward(Device{}, Silu{}, n, x.data(), terms, mean.data(), inv_std.data(), g.data(),
                        gx.data(), ga.data(), gb.data(), adds ? gc.data() : nullptr,
                        static_cast<const float*>(shared ? nullptr : before.data()));
    if (!adds) gc = Floats<Device>::zeros(gc.shape());
  }
};

}  // namespace

TEST_CASE("group_norm is that of plain loops, whatever the shape") {
  struct Case {
    const char* what;
    NormShape n;
  };
  for (const Case& of :
       {Case{"fours of channels", {3, 20, 16, 2}}, Case{"single channels", {3, 20, 6, 2}},
        Case{"threads left over", {2, 300, 12, 1}},
        Case{"more than a team's memory holds", {2, 4096, 16, 2}},
        Case{"more channels than threads", {2, 3, 2048, 1}}, Case{"one pixel", {4, 1, 32, 4}}})
    for (const bool shared : {false, true})
      for (const bool adds : {false, true}) {
        INFO(of.what, ", shared: ", shared, ", adds: ", adds);
        const NormOutcome<Cuda> found(of.n, of.n.rows - 1, shared, adds);
        const NormOutcome<Reference> expected(of.n, of.n.rows - 1, shared, adds);
        expect_close("y", found.y, expected.y);
        expect_close("mean", found.mean, expected.mean);
        expect_close("inv_std", found.inv_std, expected.inv_std);
        expect_close("gx", found.gx, expected.gx);
        expect_close("ga", found.ga, expected.ga);
        expect_close("gb", found.gb, expected.gb);
        expect_close("gc", found.gc, expected.gc);
      }
}

TEST_CASE("values of group_norm do not depend on tangents") {
  const NormShape n{3, 20, 16, 2};
  const NormOutcome<Cuda> with(n, 3, true, true), without(n, 0, true, true);
  const Floats<Cpu> y = to_host(with.y), same = to_host(without.y);
  for (std::size_t i = 0; i < same.size(); ++i) REQUIRE(y[i] == same[i]);
}
