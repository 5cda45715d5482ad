// SPDX-License-Identifier: MIT
// ablation: repeats the shape of Tables 1a, 1b, 1c and 1e of arXiv 2505.13447 on 2-D data, and
// shows what nets, couplings and Lipschitz control bring there. Prints Markdown tables of one-step
// samples' energy distance, precision, recall, and the farthest of 100,000 from the centre; mean
// and deviation over seeds.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <meanflow/meanflow.hpp>

#include "mean_and_deviation.hpp"

namespace {

using namespace meanflow;

struct Settings {
  std::string dataset = "eight_gaussians";
  std::uint64_t steps = 3000;
  std::size_t batch = 512, hidden = 128, layers = 3, seeds = 4, samples = 4000;
  std::string only;  // tables whose names begin with it
};

/// What one row of a table changes; everything else stays at the right choice.
struct Variant {
  std::string table, name;
  double jump_fraction = 0.75;
  JvpDirection direction{};
  TimeInputs inputs = TimeInputs::t_h;
  double p = 0;
  std::size_t block = 1;  // of optimal transport; 1: independent
  std::size_t octaves = 0;
  bool residual = false;
  bool low_frequencies = false;
  double learning_rate = 1e-3, beta2 = 0.999;
  double lipschitz = -1;        // weight of a LipschitzPenalty; below 0: none
  std::size_t affine_rank = 0;  // of an AffineNet instead of the Mlp; 2: full
};

std::vector<Variant> variants() {
  std::vector<Variant> all;
  const auto add = [&all](const std::string& table, const std::string& name) -> Variant& {
    return all.emplace_back(Variant{.table = table, .name = name});
  };
  const std::string a = "1a: share of rows with r < t", b = "1b: tangent of the JVP (v, r, t)",
                    c = "1c: times that the net sees, h = t - r",
                    e = "1e: power p of the weighting",
                    n = "net: what nets, coupling and learning rate bring",
                    l = "lipschitz: weight of the penalty";
  for (double fraction : {0.0, 0.25, 0.5, 0.75, 1.0})
    add(a, std::to_string(static_cast<int>(100 * fraction)) + " %").jump_fraction = fraction;
  add(b, "(v, 0, 1)").direction = {1, 0, 1};
  add(b, "(v, 0, 0)").direction = {1, 0, 0};
  add(b, "(v, 1, 0)").direction = {1, 1, 0};
  add(b, "(v, 1, 1)").direction = {1, 1, 1};
  add(c, "(t, r)").inputs = TimeInputs::t_r;
  add(c, "(t, h)").inputs = TimeInputs::t_h;
  add(c, "(t, r, h)").inputs = TimeInputs::t_r_h;
  add(c, "h").inputs = TimeInputs::h;
  for (double p : {0.0, 0.5, 1.0, 1.5, 2.0}) {
    char name[8];
    std::snprintf(name, sizeof name, "%.1f", p);
    add(e, name).p = p;
  }
  add(n, "AffineNet of rank 1").affine_rank = 1;
  add(n, "AffineNet").affine_rank = 2;
  add(n, "Mlp");
  add(n, "Mlp, optimal transport").block = 256;
  Variant& faster = add(n, "Mlp, optimal transport, learning rate 5e-3, beta2 0.99");
  faster.block = 256;
  faster.learning_rate = 5e-3;
  faster.beta2 = 0.99;
  Variant best = faster;
  const auto grow = [&](const std::string& name) {
    best.name = "... and " + name;
    all.push_back(best);
  };
  best.residual = true;
  grow("residual layers");
  best.octaves = 4;
  grow("4 octaves");
  best.low_frequencies = true;
  grow("Fourier features of the times");
  best.p = 0.3;
  grow("p = 0.3");
  best.table = l;
  for (double rate : {5e-3, 2e-2})
    for (double weight : {-1.0, 1e-4, 1e-3, 1e-2}) {
      char name[64];
      std::snprintf(name, sizeof name, "%g, learning rate %g", std::max(0.0, weight), rate);
      best.name = name;
      best.lipschitz = weight;
      best.learning_rate = rate;
      all.push_back(best);
    }
  return all;
}

struct Scores {
  double energy_distance = INFINITY, precision = 0, recall = 0;
  double farthest = INFINITY;  // of many samples, from the centre of the data
};

/// Those of one-step samples after training.
template <class N, class O>
Scores train(const Settings& s, const Variant& variant, const N& net, const O& objective,
             std::uint64_t seed) {
  const Toy2d set = toy2d_from_name(s.dataset);
  MeanFlowTrainer trainer(
      net,
      {.steps = s.steps,
       .batch = s.batch,
       .learning_rate = {.peak = variant.learning_rate},
       .seed = seed},
      Recipe{.objective = objective,
             .weighting = AdaptiveWeighting{.p = variant.p},
             .times = LogitNormalTimes{.t = {-0.4, 1.6}, .jump_fraction = variant.jump_fraction},
             .optimizer = Adam{.beta2 = variant.beta2},
             .coupling = OptimalTransport{.block = variant.block}});
  try {
    trainer.fit(Toy2dSource{set});
  } catch (const NonFiniteError&) {
    return {};  // diverged, as a wrong tangent may
  }
  std::vector<float> fresh(2 * s.samples);
  sample_toy2d(set, fresh, seed + 1000, 0);
  const auto samples = trainer.sample(normal_noise({s.samples, 2}, seed));
  if (!std::ranges::all_of(samples.span(), [](float x) { return std::isfinite(x); })) return {};
  const auto [precision, recall] = precision_recall(samples.span(), fresh, 2);
  const auto many = trainer.sample(normal_noise({100'000, 2}, seed + 1));
  float farthest = 0;
  for (std::size_t row = 0; row < many.rows(); ++row)
    farthest = std::max(farthest, std::hypot(many.row(row)[0], many.row(row)[1]));
  return {energy_distance(samples.span(), fresh, 2), precision, recall, farthest};
}

Scores run(const Settings& s, const Variant& variant, std::uint64_t seed) {
  const MeanFlow mean_flow{.direction = variant.direction};
  if (variant.affine_rank > 0)
    return train(s, variant,
                 AffineNet<float>(
                     {.rank = variant.affine_rank == 2 ? 0 : variant.affine_rank, .seed = seed}),
                 mean_flow, seed);
  const Mlp<float> net({.hidden = s.hidden,
                        .layers = s.layers,
                        .octaves = variant.octaves,
                        .residual = variant.residual,
                        .time = variant.low_frequencies
                                    ? low_frequencies(variant.inputs)
                                    : TimeEmbeddingSettings{.inputs = variant.inputs},
                        .seed = seed});
  if (variant.lipschitz >= 0)
    return train(s, variant, net,
                 LipschitzPenalty<MeanFlow>{.weight = variant.lipschitz, .objective = mean_flow},
                 seed);
  return train(s, variant, net, mean_flow, seed);
}

void print(const std::vector<Variant>& all, const std::vector<std::vector<Scores>>& scores) {
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i == 0 || all[i].table != all[i - 1].table)
      std::printf(
          "\n| %s | energy distance | precision | recall | farthest |\n"
          "| --- | --- | --- | --- | --- |\n",
          all[i].table.c_str());
    const auto distance = mean_and_deviation(scores[i], &Scores::energy_distance);
    const auto precision = mean_and_deviation(scores[i], &Scores::precision);
    const auto recall = mean_and_deviation(scores[i], &Scores::recall);
    const auto farthest = mean_and_deviation(scores[i], &Scores::farthest);
    std::printf("| %s | %.4f ± %.4f | %.3f ± %.3f | %.3f ± %.3f | %.1f ± %.1f |\n",
                all[i].name.c_str(), distance.mean, distance.deviation, precision.mean,
                precision.deviation, recall.mean, recall.deviation, farthest.mean,
                farthest.deviation);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  CLI::App app{"Repeats the ablations of the Mean Flows paper on 2-D data."};
  app.option_defaults()->always_capture_default();
  app.add_option("--dataset", s.dataset, "named set");
  app.add_option("--steps", s.steps, "training steps of each run")->check(CLI::PositiveNumber);
  app.add_option("--batch", s.batch, "rows per step")->check(CLI::PositiveNumber);
  app.add_option("--hidden", s.hidden, "width of the hidden layers")->check(CLI::PositiveNumber);
  app.add_option("--seeds", s.seeds, "runs of each variant")->check(CLI::PositiveNumber);
  app.add_option("--samples", s.samples, "points to sample and to compare with")
      ->check(CLI::Range(4, 1'000'000));
  app.add_option("--only", s.only, "the tables whose names begin so, such as 1a or net");
  try {
    app.parse(argc, argv);
    std::vector<Variant> all = variants();
    std::erase_if(all, [&](const Variant& v) { return !v.table.starts_with(s.only); });
    if (all.empty()) throw SettingError("--only " + s.only + " is the beginning of no table");
    std::vector<std::vector<Scores>> scores(all.size(), std::vector<Scores>(s.seeds));
    std::size_t done = 0;
    // Runs side by side, one thread each: nothing is lost to waiting.
    parallel_tasks(Cpu{}, all.size() * s.seeds, [&](std::size_t task, std::size_t) {
      const std::size_t variant = task % all.size(), seed = task / all.size();
      scores[variant][seed] = run(s, all[variant], seed);
#pragma omp critical(ablation_progress)
      std::fprintf(stderr, "%zu of %zu runs\n", ++done, all.size() * s.seeds);
    });
    print(all, scores);
    return 0;
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ablation: %s\n", error.what());
    return 2;
  }
}
