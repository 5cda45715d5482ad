// SPDX-License-Identifier: MIT
// Attention of 12 heads of 64 channels. Names: attention/KIND/TOKENS, where KIND is value,
// value_and_tangent or backward; attention_materialised/KIND/TOKENS does the same by products and
// softmaxes of whole (tokens x tokens) matrices, and attention_products/KIND/TOKENS is what the
// linked library takes for the products alone, of scores that stay in a core's cache. Rates are
// floating-point operations per second of the products that the kind cannot do without.
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include <benchmark/benchmark.h>

#include <meanflow/meanflow.hpp>

namespace {

using namespace meanflow;

constexpr std::size_t heads = 12, channels = 64;

enum class Kind { value, value_and_tangent, backward };

/// Products of (tokens x tokens) by `channels` that a kind takes: q k and p v; with a tangent
/// dq k, q dk, p dv and h v as well; in the backward pass q k once more, g v, p g, and the two of
/// dS.
constexpr double products(Kind kind) {
  return kind == Kind::value ? 2 : kind == Kind::value_and_tangent ? 6 : 5;
}

/// Operands (1, heads, tokens, channels), with a tangent that follows the values.
struct Operands {
  explicit Operands(std::size_t tokens)
      : shape{1,           heads,        tokens,       tokens,
              channels,    each(tokens), each(tokens), each(tokens),
              each(tokens)},
        q(normal_noise({2, heads, tokens, channels}, 1)),
        k(normal_noise({2, heads, tokens, channels}, 2)),
        v(normal_noise({2, heads, tokens, channels}, 3)),
        y(normal_noise({2, heads, tokens, channels}, 4)),
        gq(Tensor<float>::zeros({heads, tokens, channels})),
        gk(gq.clone()),
        gv(gq.clone()),
        lse(Tensor<float>::zeros({heads, tokens})) {}

  static TokenStrides each(std::size_t tokens) {
    return {heads * tokens * channels, tokens * channels, channels};
  }

  AttentionShape shape;
  Tensor<float> q, k, v, y, gq, gk, gv, lse;
};

void in_one_pass(Operands& o, Kind kind) {
  if (kind == Kind::backward)
    kernels::attention_backward(Cpu{}, o.shape, o.q.data(), o.k.data(), o.v.data(), o.y.data(),
                                o.lse.data(), o.y.data(), o.gq.data(), o.gk.data(), o.gv.data());
  else
    kernels::attention(Cpu{}, o.shape, kind == Kind::value ? 0 : 1, o.q.data(), o.k.data(),
                       o.v.data(), o.y.data(), o.lse.data());
}

/// One head at a time on each core, with its matrices in memory.
class Materialised {
 public:
  Materialised(std::size_t tokens, std::size_t queries)
      : tokens_(tokens),
        queries_(queries),
        scores_(normal_noise({kernels::workers(Cpu{}), queries, tokens}, 5)),
        slopes_(scores_.clone()),
        weights_(scores_.clone()) {}

  void run(Operands& o, Kind kind, bool softmaxes) {
    kernels::parallel_tasks(Cpu{}, heads, [&](std::size_t task, std::size_t worker) {
      const std::size_t head = task * tokens_ * channels, at = worker * queries_ * tokens_;
      for (std::size_t first = 0; first < tokens_; first += queries_) {
        const std::size_t query = head + first * channels;
        if (kind == Kind::backward)
          backward(o, head, query, at, softmaxes);
        else
          forward(o, kind, head, query, at, softmaxes);
      }
    });
  }

 private:
  /// to = beta to + a b^T, a b and a^T b.
  void scores(const float* a, const float* b, float beta, float* to) const {
    kernels::gemm(Cpu{}, Transpose::no, Transpose::yes, queries_, tokens_, channels, a, b, beta,
                  to);
  }
  void mix(const float* p, const float* v, float beta, float* to) const {
    kernels::gemm(Cpu{}, Transpose::no, Transpose::no, queries_, channels, tokens_, p, v, beta, to);
  }
  void mix_keys(const float* p, const float* g, float* to) const {
    kernels::gemm(Cpu{}, Transpose::yes, Transpose::no, tokens_, channels, queries_, p, g, 1.0f,
                  to);
  }

  void forward(Operands& o, Kind kind, std::size_t head, std::size_t query, std::size_t at,
               bool softmaxes) {
    const std::size_t tangent = heads * tokens_ * channels;
    float *s = scores_.data() + at, *ds = slopes_.data() + at, *p = weights_.data() + at;
    scores(o.q.data() + query, o.k.data() + head, 0, s);
    if (softmaxes) kernels::softmax(Cpu{}, queries_, tokens_, s, p);
    mix(p, o.v.data() + head, 0, o.y.data() + query);
    if (kind == Kind::value) return;
    scores(o.q.data() + tangent + query, o.k.data() + head, 0, ds);
    scores(o.q.data() + query, o.k.data() + tangent + head, 1, ds);
    if (softmaxes) kernels::softmax_jacobian(Cpu{}, queries_, tokens_, p, ds, s);
    mix(p, o.v.data() + tangent + head, 0, o.y.data() + tangent + query);
    mix(s, o.v.data() + head, 1, o.y.data() + tangent + query);
  }

  void backward(Operands& o, std::size_t head, std::size_t query, std::size_t at, bool softmaxes) {
    float *s = scores_.data() + at, *ds = slopes_.data() + at, *p = weights_.data() + at;
    const float* g = o.y.data() + query;
    scores(o.q.data() + query, o.k.data() + head, 0, s);
    if (softmaxes) kernels::softmax(Cpu{}, queries_, tokens_, s, p);
    mix_keys(p, g, o.gv.data() + head);
    scores(g, o.v.data() + head, 0, s);
    if (softmaxes) kernels::softmax_jacobian(Cpu{}, queries_, tokens_, p, s, ds);
    mix(ds, o.k.data() + head, 1, o.gq.data() + query);
    mix_keys(ds, o.q.data() + query, o.gk.data() + head);
  }

  std::size_t tokens_, queries_;
  Tensor<float> scores_, slopes_, weights_;
};

enum class Form { one_pass, materialised, products };

void attention(benchmark::State& state, Kind kind, Form form) {
  const auto tokens = static_cast<std::size_t>(state.range(0));
  Operands operands(tokens);
  in_one_pass(operands, Kind::value_and_tangent);
  // One pass needs none. Scores of 64 queries are 1 MB with 4,096 tokens.
  std::optional<Materialised> matrices;
  if (form != Form::one_pass)
    matrices.emplace(tokens, form == Form::products ? std::size_t{64} : tokens);
  for (auto _ : state) {
    if (matrices)
      matrices->run(operands, kind, form == Form::materialised);
    else
      in_one_pass(operands, kind);
    benchmark::ClobberMemory();
  }
  const auto length = static_cast<double>(tokens);
  state.counters["flop/s"] =
      benchmark::Counter(products(kind) * 2 * heads * channels * length * length *
                             static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate, benchmark::Counter::kIs1000);
}

void add(const std::string& name, Form form) {
  const std::pair<const char*, Kind> kinds[]{{"value", Kind::value},
                                             {"value_and_tangent", Kind::value_and_tangent},
                                             {"backward", Kind::backward}};
  for (const auto& [kind_name, kind] : kinds)
    benchmark::RegisterBenchmark((name + "/" + kind_name).c_str(),
                                 [k = kind, form](auto& state) { attention(state, k, form); })
        ->RangeMultiplier(4)
        ->Range(64, form == Form::one_pass ? 16384 : 4096)
        ->UseRealTime();
}

}  // namespace

int main(int argc, char** argv) {
  add("attention", Form::one_pass);
  add("attention_materialised", Form::materialised);
  add("attention_products", Form::products);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
