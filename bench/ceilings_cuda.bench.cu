// SPDX-License-Identifier: MIT
// What a GPU can at most: copies of its memory, and products and convolutions of its libraries, at
// sizes that fill it. Names: ceiling/copy, ceiling/product/PRECISION, where "stored" are numbers
// that lie in memory as bfloat16, and ceiling/convolution/PRECISION, 3x3 at the sizes of SongUNet.
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <string_view>

#include <benchmark/benchmark.h>

#include <meanflow/cuda.hpp>

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
#include <cuda_bf16.h>
#endif

namespace {

using namespace meanflow;

struct Sizes {
  std::size_t copied = std::size_t{1} << 30;  // bytes
  std::size_t side = 8192;                    // of the matrices
  std::size_t rows = 128;                     // of the images
};

/// Times f(), which the device does later, in groups that it is waited for.
template <class F>
void time(benchmark::State& state, double count, const char* unit, F f) {
  constexpr int group = 10;
  f();
  wait(Cuda{});
  for (auto _ : state) {
    for (int i = 0; i < group; ++i) f();
    wait(Cuda{});
  }
  state.counters[unit] =
      benchmark::Counter(count * group, benchmark::Counter::kIsIterationInvariantRate);
}

void copy_memory(benchmark::State& state, const Sizes& sizes) {
  const Tensor<char, Cuda> from({sizes.copied});
  Tensor<char, Cuda> to({sizes.copied});
  time(state, 2 * static_cast<double>(sizes.copied), "bytes/s",
       [&] { copy(Cuda{}, sizes.copied, from.data(), to.data()); });
}

[[nodiscard]] double product_operations(std::size_t n) {
  const auto side = static_cast<double>(n);
  return 2 * side * side * side;
}

void product(benchmark::State& state, const Sizes& sizes, Precision precision) {
  const AutocastScope scope(precision, Cuda{});
  const std::size_t n = sizes.side;
  const auto a = normal_noise<float, Cuda>({n, n}, 1), b = normal_noise<float, Cuda>({n, n}, 2);
  Tensor<float, Cuda> c({n, n});
  time(state, product_operations(n), "operations/s", [&] {
    gemm(Cuda{}, Transpose::no, Transpose::no, n, n, n, a.data(), b.data(), 0.0F, c.data());
  });
}

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
void product_stored(benchmark::State& state, const Sizes& sizes) {
  namespace cuda = kernels::cuda;
  const std::size_t n = sizes.side;
  const auto a = normal_noise<float, Cuda>({n, n}, 1);
  const cuda::Scratch<__nv_bfloat16> x(n * n), y(n * n);
  cuda::convert(n * n, a.data(), x.data());
  const float one = 1, zero = 0;
  const int side = static_cast<int>(n);
  time(state, product_operations(n), "operations/s", [&] {
    cuda::check(cublasGemmEx(cuda::context().blas, CUBLAS_OP_N, CUBLAS_OP_N, side, side, side, &one,
                             x.data(), CUDA_R_16BF, side, x.data(), CUDA_R_16BF, side, &zero,
                             y.data(), CUDA_R_16BF, side, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                "cublasGemmEx");
  });
}
#endif

void convolution(benchmark::State& state, const Sizes& sizes, Precision precision) {
  const AutocastScope scope(precision, Cuda{});
  const ConvShape shape{.rows = sizes.rows,
                        .height = 16,
                        .width = 16,
                        .in = 256,
                        .out = 256,
                        .kernel = 3,
                        .stride = 1,
                        .padding = 1};
  const auto x = normal_noise<float, Cuda>({shape.rows, 16, 16, 256}, 1),
             w = normal_noise<float, Cuda>({256, 256, 3, 3}, 2);
  Tensor<float, Cuda> y({shape.rows, 16, 16, 256});
  time(state, 2.0 * static_cast<double>(y.size()) * 256 * 9, "operations/s",
       [&] { conv2d(Cuda{}, shape, x.data(), w.data(), y.data()); });
}

void add(const std::string& name, std::function<void(benchmark::State&)> f) {
  benchmark::RegisterBenchmark(("ceiling/" + name).c_str(), [f](benchmark::State& state) {
    try {
      f(state);
    } catch (const std::exception& error) {
      state.SkipWithError(error.what());
    }
  })->UseRealTime();
}

}  // namespace

int main(int argc, char** argv) {
  Sizes sizes;
  if (argc > 1 && std::string_view(argv[1]) == "--small") {
    sizes = {.copied = std::size_t{1} << 16, .side = 64, .rows = 1};
    --argc;
    ++argv;
  }
  add("copy", [=](benchmark::State& state) { copy_memory(state, sizes); });
  const auto each = [&](const char* name, Precision precision) {
    add(std::string("product/") + name,
        [=](benchmark::State& state) { product(state, sizes, precision); });
    add(std::string("convolution/") + name,
        [=](benchmark::State& state) { convolution(state, sizes, precision); });
  };
  each("float32", Precision::float32);
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
  each("tf32", Precision::tf32);
  each("bfloat16", Precision::bfloat16);
  add("product/bfloat16_stored", [=](benchmark::State& state) { product_stored(state, sizes); });
#endif
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
