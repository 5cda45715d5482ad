// SPDX-License-Identifier: MIT
#include <array>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include <meanflow/cuda.hpp>

using namespace meanflow;

namespace {

using Buffer = Tensor<double, Cuda>;

/// One way to compute attention and its gradients, forward with tangents of the first rows.
struct Operands {
  AttentionShape s;
  std::size_t tangent_rows;
  Buffer q, k, v, g;

  Operands(std::size_t rows, std::size_t tangents, std::size_t heads, std::size_t queries,
           std::size_t keys, std::size_t channels)
      : s{.rows = rows,
          .heads = heads,
          .queries = queries,
          .keys = keys,
          .channels = channels,
          .q = strides(heads, queries, channels),
          .k = strides(heads, keys, channels),
          .v = strides(heads, keys, channels),
          .y = strides(heads, queries, channels)},
        tangent_rows(tangents),
        q(normal_noise<double, Cuda>({rows + tangents, queries, heads * channels}, 1)),
        k(normal_noise<double, Cuda>({rows + tangents, keys, heads * channels}, 2)),
        v(normal_noise<double, Cuda>({rows + tangents, keys, heads * channels}, 3)),
        g(normal_noise<double, Cuda>({rows, queries, heads * channels}, 4)) {}

  static TokenStrides strides(std::size_t heads, std::size_t tokens, std::size_t channels) {
    return {tokens * heads * channels, channels, heads * channels};
  }

  template <class Forward, class Backward>
  [[nodiscard]] std::vector<double> run(Forward forward, Backward backward) const {
    Buffer y(q.shape()), lse({s.rows, s.heads, s.queries});
    Buffer gq(q.shape().with_rows(s.rows)), gk(k.shape().with_rows(s.rows)),
        gv(v.shape().with_rows(s.rows));
    forward(s, tangent_rows, q.data(), k.data(), v.data(), y.data(), lse.data());
    backward(s, q.data(), k.data(), v.data(), static_cast<const double*>(y.data()),
             static_cast<const double*>(lse.data()), g.data(), gq.data(), gk.data(), gv.data());
    std::vector<double> all;
    for (const Buffer& part : {y, lse, gq, gk, gv}) {
      const Tensor<double> here = to_host(part);
      all.insert(all.end(), here.span().begin(), here.span().end());
    }
    return all;
  }
  [[nodiscard]] std::vector<double> by_tiles() const {
    return run([](auto... a) { kernels::cuda::attention_by_tiles<double>(a...); },
               [](auto... a) { kernels::cuda::attention_backward_by_tiles<double>(a...); });
  }
  [[nodiscard]] std::vector<double> by_products() const {
    return run(
        [](auto... a) { kernels::cuda::attention_by_products<double>(a...); },
        [](const AttentionShape& shape, const double* a, const double* b, const double* c,
           const double*, const double* sums, const double* up, double* x, double* y, double* z) {
          kernels::cuda::attention_backward_by_products<double>(shape, a, b, c, sums, up, x, y, z);
        });
  }
};

void check_close(const std::vector<double>& found, const std::vector<double>& expected) {
  REQUIRE(found.size() == expected.size());
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i)
    worst =
        std::max(worst, std::abs(found[i] - expected[i]) / std::max(1.0, std::abs(expected[i])));
  CHECK(worst <= 1e-12);
}

}  // namespace

TEST_CASE("attention tile by tile is attention by products, at lengths around a tile") {
  for (const std::size_t tokens : {1, 15, 16, 17, 33, 70})
    for (const std::size_t channels : {4, 5, 40, 128}) {
      INFO(tokens, " tokens of ", channels, " channels");
      const Operands operands(2, 1, 2, tokens, tokens, channels);
      check_close(operands.by_tiles(), operands.by_products());
    }
}

TEST_CASE("the memory of attention tile by tile is linear in the number of tokens") {
  const auto bytes = [](std::size_t tokens) {
    const Operands operands(1, 1, 1, tokens, tokens, 8);
    return kernels::cuda::AttentionTiles<double>(operands.s, 8, 2).numbers(8, 2);
  };
  CHECK(bytes(64) == bytes(256));
}

TEST_CASE("heads that are too wide are refused") {
  const AttentionShape shape{.rows = 1,
                             .heads = 1,
                             .queries = 1,
                             .keys = 1,
                             .channels = 100000,
                             .q = {},
                             .k = {},
                             .v = {},
                             .y = {}};
  CHECK_THROWS_WITH_AS((kernels::cuda::AttentionTiles<double>(shape, 8, 2)),
                       "attention: heads of 100000 channels are too wide for this device's "
                       "attention of long sequences",
                       CudaError);
}
