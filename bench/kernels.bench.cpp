// SPDX-License-Identifier: MIT
// Kernels on the shapes of the MLP 256 x 4, each on all threads at once as a training step runs
// them. Names: product/KIND/ROWS by this library, product_alone/KIND/ROWS by the linked library
// called directly; activation/KIND/ROWS; optimizer. Rates are floating-point operations per second.
#include <cstddef>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <omp.h>

#include <meanflow/meanflow.hpp>

namespace {

using namespace meanflow;

enum class Product { forward, input_gradient, weight_gradient };

struct Matrices {
  Tensor<float> x, w, y;
};

std::vector<Matrices> matrices(std::size_t rows, std::size_t width) {
  std::vector<Matrices> all(static_cast<std::size_t>(omp_get_max_threads()));
  for (auto& m : all)
    m = {normal_noise({rows, width}, 1), normal_noise({width, width}, 2),
         normal_noise({rows, width}, 3)};
  return all;
}

constexpr std::size_t width = 256;

/// One product per thread: y = x w^T, x = y w, or w += y^T x.
template <class Call>
void run_products(benchmark::State& state, Product kind, Call call) {
  const auto rows = static_cast<std::size_t>(state.range(0));
  const auto all = matrices(rows, width);
  constexpr int repeats = 20;
  for (auto _ : state)
    kernels::parallel_tasks(Cpu{}, all.size(), [&](std::size_t task, std::size_t) {
      const Matrices& m = all[task];
      for (int i = 0; i < repeats; ++i) call(kind, rows, m.x.data(), m.w.data(), m.y.data());
    });
  const double operations = 2.0 * static_cast<double>(rows * width * width * all.size()) * repeats;
  state.counters["flop/s"] =
      benchmark::Counter(operations * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate, benchmark::Counter::kIs1000);
}

void ours(Product kind, std::size_t rows, float* x, float* w, float* y) {
  using enum Transpose;
  const float *cx = x, *cw = w, *cy = y;
  if (kind == Product::forward)
    kernels::gemm(Cpu{}, no, yes, rows, width, width, cx, cw, 0.0f, y);
  else if (kind == Product::input_gradient)
    kernels::gemm(Cpu{}, no, no, rows, width, width, cy, cw, 0.0f, x);
  else
    kernels::gemm(Cpu{}, yes, no, width, width, rows, cy, cx, 1.0f, w);
}

void alone(Product kind, std::size_t rows, float* x, float* w, float* y) {
  const auto n = static_cast<int>(rows), k = static_cast<int>(width);
#ifdef MEANFLOW_WITH_ONEDNN
  if (kind == Product::forward)
    dnnl_sgemm('N', 'T', n, k, k, 1, x, k, w, k, 0, y, k);
  else if (kind == Product::input_gradient)
    dnnl_sgemm('N', 'N', n, k, k, 1, y, k, w, k, 0, x, k);
  else
    dnnl_sgemm('T', 'N', k, k, n, 1, y, k, x, k, 1, w, k);
#else
  if (kind == Product::forward)
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, k, k, 1, x, k, w, k, 0, y, k);
  else if (kind == Product::input_gradient)
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, k, k, 1, y, k, w, k, 0, x, k);
  else
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, k, k, n, 1, y, k, x, k, 1, w, k);
#endif
}

/// silu(x + bias) of `rows` rows, a share of them with tangents, and its derivative.
void activation(benchmark::State& state) {
  const auto rows = static_cast<std::size_t>(state.range(0));
  const auto tangents = static_cast<std::size_t>(state.range(1));
  const std::size_t lanes = kernels::lanes(Cpu{});
  std::vector<Tensor<float>> x, bias, slope;
  for (std::size_t i = 0; i < lanes; ++i) {
    x.push_back(normal_noise({rows + tangents, width}, 1));
    bias.push_back(Tensor<float>::zeros({width}));
    slope.push_back(Tensor<float>::zeros({rows, width}));
  }
  for (auto _ : state)
    kernels::parallel_tasks(Cpu{}, lanes, [&](std::size_t i, std::size_t) {
      kernels::bias_unary(Cpu{}, Silu{}, rows, tangents, width,
                          static_cast<const float*>(bias[i].data()), x[i].data(), slope[i].data());
    });
  state.counters["elements/s"] = benchmark::Counter(
      static_cast<double>(rows * width * lanes) * static_cast<double>(state.iterations()),
      benchmark::Counter::kIsRate);
}

template <class F>
void add(const std::string& name, F f, const std::vector<std::vector<std::int64_t>>& arguments) {
  auto* bench = benchmark::RegisterBenchmark(name.c_str(), f)->UseRealTime();
  for (const auto& list : arguments) bench->Args(list);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::vector<std::int64_t>> rows{{128}, {224}, {448}};
  const std::vector<std::pair<std::string, Product>> products{
      {"forward", Product::forward},
      {"input_gradient", Product::input_gradient},
      {"weight_gradient", Product::weight_gradient}};
  for (const auto& [name, kind] : products) {
    add(
        "product/" + name, [k = kind](auto& state) { run_products(state, k, ours); }, rows);
    add(
        "product_alone/" + name, [k = kind](auto& state) { run_products(state, k, alone); }, rows);
  }
  add("activation/silu", activation, {{128, 0}, {128, 96}});
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
