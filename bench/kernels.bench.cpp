// SPDX-License-Identifier: MIT
// Kernels on the shapes of the MLP 256 x 4, each on all threads at once as a training step runs
// them, and convolutions of the image nets. Names: product/KIND/ROWS and convolution/KIND/SHAPE by
// this library, convolution_direct/... by its direct algorithm, product_alone/... and
// convolution_alone/... by the linked library called directly, convolution_onednn_winograd/... by
// oneDNN 2's own Winograd algorithm in the layout that it wants;
// activation/KIND/ROWS/TANGENTS. coupling/KIND/ROWS/BLOCK: pairing a batch of points in the plane
// with its noise, beside which a training step is to be seen. Rates are floating-point operations
// per second.
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
  auto all = matrices(rows, width);
  constexpr int repeats = 20;
  for (auto _ : state)
    kernels::parallel_tasks(Cpu{}, all.size(), [&](std::size_t task, std::size_t) {
      Matrices& m = all[task];
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
  const std::size_t lanes = kernels::workers(Cpu{});
  std::vector<Tensor<float>> x, bias, slope;
  for (std::size_t i = 0; i < lanes; ++i) {
    x.push_back(normal_noise({rows + tangents, width}, 1));
    bias.push_back(Tensor<float>::zeros({width}));
    slope.push_back(Tensor<float>::zeros({rows, width}));
  }
  for (auto _ : state)
    kernels::parallel_tasks(Cpu{}, lanes, [&](std::size_t i, std::size_t) {
      kernels::bias_unary(Cpu{}, Silu{}, rows, tangents, width, bias[i].data(), x[i].data(),
                          slope[i].data());
    });
  state.counters["elements/s"] = benchmark::Counter(
      static_cast<double>(rows * width * lanes) * static_cast<double>(state.iterations()),
      benchmark::Counter::kIsRate);
}

#ifdef MEANFLOW_WITH_ONEDNN

using Direction = kernels::detail::OnednnConvolution::Direction;

/// Images and weights of a convolution of 3 x 3 pixels.
struct Images {
  explicit Images(const ConvShape& s)
      : shape(s),
        x(normal_noise({s.rows, s.height, s.width, s.in}, 1)),
        y(normal_noise({s.rows, s.height, s.width, s.out}, 2)),
        weights(normal_noise({s.out, s.in, s.kernel.height, s.kernel.width}, 3)) {}

  ConvShape shape;
  Tensor<float> x, y, weights;
};

void convolve(Direction direction, Images& i) {
  const float *x = i.x.data(), *y = i.y.data(), *w = i.weights.data();
  if (direction == Direction::forward)
    kernels::conv2d(Cpu{}, i.shape, x, w, i.y.data());
  else if (direction == Direction::backward_data)
    kernels::conv2d_backward_data(Cpu{}, i.shape, y, w, i.x.data());
  else
    kernels::conv2d_backward_weights(Cpu{}, i.shape, x, y, i.weights.data());
}

/// Those of the definition, whatever the algorithm makes of them.
void count_operations(benchmark::State& state, const ConvShape& s) {
  const auto per_call =
      static_cast<double>(s.rows * s.out_height() * s.out_width() * s.out * s.in * s.kernel.size());
  state.counters["flop/s"] =
      benchmark::Counter(2.0 * per_call * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate, benchmark::Counter::kIs1000);
}

/// Of this library by whichever algorithm it chooses and by the direct one, and of oneDNN alone
/// with weights where and how it wants them.
enum class By { ours, direct, alone };

void convolution(benchmark::State& state, Direction direction, ConvShape shape, By by) {
  const ConvolutionScope algorithm(by == By::ours ? ConvolutionAlgorithm::automatic
                                                  : ConvolutionAlgorithm::direct);
  Images images(shape);
  auto& bare = kernels::detail::onednn_convolution(shape, direction);
  Tensor<float> ordered = Tensor<float>::zeros({bare.ordered_bytes() / sizeof(float)});
  for (auto _ : state) {
    if (by == By::alone)
      bare.run_ordered(images.x.data(), images.y.data(), ordered.data());
    else
      convolve(direction, images);
  }
  count_operations(state, shape);
}

/// The same by oneDNN's own Winograd algorithm with everything in the layout that it wants, which
/// oneDNN 3 no longer has.
void onednn_winograd(benchmark::State& state, Direction direction, ConvShape shape) {
#if DNNL_VERSION_MAJOR < 3
  using dnnl::memory;
  const auto dim = [](std::size_t value) { return static_cast<memory::dim>(value); };
  const auto any = [](const memory::dims& dims) {
    return memory::desc(dims, memory::data_type::f32, memory::format_tag::any);
  };
  const memory::desc x = any({dim(shape.rows), dim(shape.in), dim(shape.height), dim(shape.width)});
  const memory::desc y =
      any({dim(shape.rows), dim(shape.out), dim(shape.out_height()), dim(shape.out_width())});
  const memory::desc w = any({dim(shape.out), dim(shape.in), 3, 3});
  const memory::dims one{1, 1};
  constexpr auto algorithm = dnnl::algorithm::convolution_winograd;
  const dnnl::engine& engine = kernels::detail::onednn_engine();
  dnnl::stream stream(engine);
  const auto run = [&](const auto& primitive, int from, const memory::desc& from_desc, int by,
                       const memory::desc& by_desc, int to, const memory::desc& to_desc) {
    const memory first(from_desc, engine), second(by_desc, engine), result(to_desc, engine);
    for (auto _ : state) {
      primitive.execute(stream, {{from, first}, {by, second}, {to, result}});
      stream.wait();
    }
  };
  try {
    using Forward = dnnl::convolution_forward;
    const Forward::primitive_desc forward(
        {dnnl::prop_kind::forward_training, algorithm, x, w, y, one, one, one}, engine);
    if (direction == Direction::forward) {
      run(Forward(forward), DNNL_ARG_SRC, forward.src_desc(), DNNL_ARG_WEIGHTS,
          forward.weights_desc(), DNNL_ARG_DST, forward.dst_desc());
    } else if (direction == Direction::backward_data) {
      using Backward = dnnl::convolution_backward_data;
      const Backward::primitive_desc d({algorithm, x, w, y, one, one, one}, engine, forward);
      run(Backward(d), DNNL_ARG_DIFF_DST, d.diff_dst_desc(), DNNL_ARG_WEIGHTS, d.weights_desc(),
          DNNL_ARG_DIFF_SRC, d.diff_src_desc());
    } else {
      using Backward = dnnl::convolution_backward_weights;
      const Backward::primitive_desc d({algorithm, x, w, y, one, one, one}, engine, forward);
      run(Backward(d), DNNL_ARG_SRC, d.src_desc(), DNNL_ARG_DIFF_DST, d.diff_dst_desc(),
          DNNL_ARG_DIFF_WEIGHTS, d.diff_weights_desc());
    }
  } catch (const dnnl::error& error) {
    return state.SkipWithError(error.what());
  }
  count_operations(state, shape);
#else
  state.SkipWithError("oneDNN 3 has no Winograd algorithm");
#endif
}

void add_convolutions() {
  // Levels of MeanFlowNet at batch 32 and of SongUNet at batch 4, with tangents of 75 % of the
  // rows.
  const std::vector<std::pair<std::string, ConvShape>> shapes{
      {"meanflownet_32x32x64", {56, 32, 32, 64, 64, 3, 1, 1}},
      {"meanflownet_16x16x128", {56, 16, 16, 128, 128, 3, 1, 1}},
      {"meanflownet_8x8x256", {56, 8, 8, 256, 256, 3, 1, 1}},
      {"songunet_32x32x256", {7, 32, 32, 256, 256, 3, 1, 1}},
      {"songunet_16x16x256", {7, 16, 16, 256, 256, 3, 1, 1}},
      {"songunet_8x8x256", {7, 8, 8, 256, 256, 3, 1, 1}}};
  const std::vector<std::pair<std::string, Direction>> directions{
      {"forward", Direction::forward},
      {"backward_data", Direction::backward_data},
      {"backward_weights", Direction::backward_weights}};
  for (const auto& [shape_name, shape] : shapes)
    for (const auto& [name, direction] : directions) {
      for (const auto& [kind, by] : {std::pair{"/", By::ours}, std::pair{"_direct/", By::direct},
                                     std::pair{"_alone/", By::alone}})
        benchmark::RegisterBenchmark(
            ("convolution" + std::string(kind) + name + "/" + shape_name).c_str(),
            [d = direction, s = shape, by = by](auto& state) { convolution(state, d, s, by); })
            ->UseRealTime();
      benchmark::RegisterBenchmark(
          ("convolution_onednn_winograd/" + name + "/" + shape_name).c_str(),
          [d = direction, s = shape](auto& state) { onednn_winograd(state, d, s); })
          ->UseRealTime();
    }
}

#else

void add_convolutions() {}

#endif

/// Pairs a new batch of points with its noise, as a step of training does.
template <class K>
void pair_rows(benchmark::State& state) {
  const auto rows = static_cast<std::size_t>(state.range(0));
  K coupling{.block = static_cast<std::size_t>(state.range(1))};
  Tensor<float> drawn({rows, 2});
  sample_toy2d(Toy2d::eight_gaussians, drawn.span(), 1, 0);
  std::uint64_t step = 0;
  for (auto _ : state) {
    Tensor<float> x = drawn;
    NoCondition<float> none;
    couple(coupling, TileRows{0, 0, 0, rows}, 1, ++step, x, none);
    benchmark::DoNotOptimize(x.data());
  }
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
  const std::vector<std::vector<std::int64_t>> blocks{
      {1024, 64}, {1024, 128}, {1024, 256}, {1024, 512}};
  add("coupling/optimal_transport", pair_rows<OptimalTransport>, blocks);
  add("coupling/sinkhorn", pair_rows<SinkhornCoupling>, {{1024, 128}, {1024, 256}});
  add_convolutions();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
