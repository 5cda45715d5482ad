// SPDX-License-Identifier: MIT
// objectives: the same net, budget and seeds for every objective, on 2-D data. Prints a Markdown
// table of the time of a step beside flow matching, and of the energy distance, precision and
// recall of samples in one step and in two; means and deviations over seeds.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <string>
#include <variant>
#include <vector>

#include <CLI/CLI.hpp>

#include <meanflow/meanflow.hpp>

#include "mean_and_deviation.hpp"

namespace {

using namespace meanflow;

struct Settings {
  std::string dataset = "eight_gaussians";
  std::uint64_t steps = 3000;
  std::size_t batch = 512, hidden = 128, layers = 4, seeds = 3, samples = 4000;
  std::size_t block = 1;  // of optimal transport; 1: noise and data are independent
  double learning_rate = 2e-3;
};

using Student = Mlp<float>;

/// What one row of the table trains towards.
struct Variant {
  std::string name;
  AnyFlow objective{};
  bool dyadic = false;  // times of Shortcut
  bool from_teacher = false;
  bool predicts_data = false;
};

std::vector<Variant> variants() {
  const auto tangent = [](const TangentOptions& options) {
    return AnyFlow{MeanFlow{.tangent = options}};
  };
  return {{.name = "flow matching", .objective = {FlowMatching{}}},
          {.name = "Mean Flows", .objective = {MeanFlow{}}},
          {.name = "improved Mean Flows, boundary velocity", .objective = {ImprovedMeanFlow{}}},
          {.name = "alpha-Flow", .objective = {alpha_flow()}},
          {.name = "SoFlow", .objective = {so_flow()}},
          {.name = "SplitMeanFlow", .objective = {SplitMeanFlow{}}},
          {.name = "Shortcut", .objective = {shortcut()}, .dyadic = true},
          {.name = "Mean Flows, mixed tangent, b = 0.5", .objective = tangent({.mixing = 0.5})},
          {.name = "Mean Flows, clipped tangent, 5", .objective = tangent({.clip = 5})},
          {.name = "Mean Flows, normalised tangent", .objective = tangent({.normalise = 0.1})},
          {.name = "Mean Flows, warm-up", .objective = tangent({.warmup_steps = 1000})},
          {.name = "Mean Flows, differences of 0.005", .objective = tangent({.difference = 5e-3})},
          {.name = "Mean Flows, x-prediction", .objective = {MeanFlow{}}, .predicts_data = true},
          {.name = "Mean Flows from a teacher", .objective = {MeanFlow{}}, .from_teacher = true}};
}

/// Either distribution of times.
struct Times {
  bool dyadic = false;
  LogitNormalTimes usual{.t = {-0.4, 1.6}, .jump_fraction = 0.5};
  DyadicTimes halves{.jump_fraction = 0.5};

  [[nodiscard]] std::size_t jump_rows(std::size_t batch, RandomStream& stream) const {
    return dyadic ? halves.jump_rows(batch, stream) : usual.jump_rows(batch, stream);
  }
  [[nodiscard]] TimePair<float> sample(RandomStream& stream, bool jump) const {
    return dyadic ? halves.sample(stream, jump) : usual.sample(stream, jump);
  }
};

struct Scores {
  double energy_distance = INFINITY, precision = 0, recall = 0;
};
struct Result {
  std::array<Scores, 2> in_steps{};  // in one step, and in two
};

Student make_net(const Settings& s, std::uint64_t seed) {
  return Student({.hidden = s.hidden,
                  .layers = s.layers,
                  .octaves = 3,
                  .residual = true,
                  .time = low_frequencies(),
                  .seed = seed});
}

template <class N, class O>
auto make_trainer(const Settings& s, const N& net, const O& objective, bool dyadic,
                  std::uint64_t seed) {
  return MeanFlowTrainer(
      net,
      {.steps = s.steps,
       .batch = s.batch,
       .learning_rate = {.peak = s.learning_rate},
       .seed = seed},
      Recipe{.objective = objective,
             .weighting = AdaptiveWeighting{.p = 0.3},
             .times = Times{.dyadic = dyadic},
             .optimizer = Adam{.beta2 = 0.99, .weight_decay = 0.03, .decoupled = true},
             .coupling = OptimalTransport{.block = s.block}});
}

template <class Trainer>
Result train(const Settings& s, Trainer trainer, std::uint64_t seed) {
  const Toy2d set = toy2d_from_name(s.dataset);
  Result result;
  try {
    trainer.fit(Toy2dSource{set});
  } catch (const NonFiniteError&) {
    return result;
  }
  std::vector<float> fresh(2 * s.samples);
  sample_toy2d(set, fresh, seed + 1000, 0);
  for (std::size_t steps : {1, 2}) {
    const auto samples = trainer.sample(normal_noise({s.samples, 2}, seed), steps);
    if (!std::ranges::all_of(samples.span(), [](float x) { return std::isfinite(x); })) continue;
    const auto [precision, recall] = precision_recall(samples.span(), fresh, 2);
    result.in_steps[steps - 1] = {energy_distance(samples.span(), fresh, 2), precision, recall};
  }
  return result;
}

/// Calls f(trainer) with the one of a variant.
template <class F>
auto with_trainer(const Settings& s, const Variant& variant, const Student& teacher,
                  std::uint64_t seed, F f) {
  const Student net = make_net(s, seed);
  if (variant.predicts_data)
    return f(make_trainer(s, XPrediction<Student>(net), variant.objective, variant.dyadic, seed));
  if (variant.from_teacher)
    return f(make_trainer(
        s, net, Distilled<AnyFlow, Student>{.teacher = &teacher, .objective = variant.objective},
        variant.dyadic, seed));
  return f(make_trainer(s, net, variant.objective, variant.dyadic, seed));
}

/// The time of a step in milliseconds, averaged over a short training run, since objectives with a
/// gap change their work as it closes; the median of several, of all variants in turns.
std::vector<double> step_times(const Settings& s, const std::vector<Variant>& all,
                               const Student& teacher) {
  constexpr std::size_t rounds = 15, warmup = 5, timed = 20;
  Settings brief = s;
  brief.steps = warmup + timed;
  Tensor<float> x({s.batch, 2});
  Toy2dSource{toy2d_from_name(s.dataset)}.fill(x, 1, 0);
  std::vector<std::vector<double>> times(all.size());
  for (std::size_t round = 0; round < rounds; ++round)
    for (std::size_t i = 0; i < all.size(); ++i)
      with_trainer(brief, all[i], teacher, 1, [&](auto trainer) {
        for (std::size_t k = 0; k < warmup; ++k) trainer.step(x);
        const auto begin = std::chrono::steady_clock::now();
        for (std::size_t k = 0; k < timed; ++k) trainer.step(x);
        const std::chrono::duration<double, std::milli> took =
            std::chrono::steady_clock::now() - begin;
        times[i].push_back(took.count() / timed);
      });
  std::vector<double> medians;
  for (auto& of_one : times) {
    std::ranges::nth_element(of_one, of_one.begin() + rounds / 2);
    medians.push_back(of_one[rounds / 2]);
  }
  return medians;
}

/// "mean ± deviation" of one of the scores in so many steps.
std::string over_seeds(const std::vector<Result>& results, std::size_t steps, double Scores::*part,
                       int digits) {
  const auto [mean, deviation] =
      mean_and_deviation(results, [&](const Result& one) { return one.in_steps[steps].*part; });
  char text[48];
  std::snprintf(text, sizeof text, "%.*f ± %.*f", digits, mean, digits, deviation);
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  CLI::App app{"Compares objectives on 2-D data: the same net, budget and seeds."};
  app.option_defaults()->always_capture_default();
  app.add_option("--dataset", s.dataset, "named set");
  app.add_option("--steps", s.steps, "training steps of each run")->check(CLI::PositiveNumber);
  app.add_option("--batch", s.batch, "rows per step")->check(CLI::PositiveNumber);
  app.add_option("--hidden", s.hidden, "width of the hidden layers")->check(CLI::PositiveNumber);
  app.add_option("--seeds", s.seeds, "runs of each objective")->check(CLI::PositiveNumber);
  app.add_option("--block", s.block, "rows that are paired by optimal transport; 1: none are")
      ->check(CLI::PositiveNumber);
  app.add_option("--lr", s.learning_rate, "learning rate")->check(CLI::PositiveNumber);
  app.add_option("--samples", s.samples, "points to sample and to compare with")
      ->check(CLI::Range(4, 1'000'000));
  try {
    app.parse(argc, argv);
    const std::vector<Variant> all = variants();
    // The teacher is flow matching of another seed.
    auto taught = make_trainer(s, make_net(s, 99), AnyFlow{FlowMatching{}}, false, 99);
    taught.fit(Toy2dSource{toy2d_from_name(s.dataset)});
    const UseValues averaged(taught.net().parameters(), taught.best_values());
    const Student& teacher = taught.net();
    const auto times = step_times(s, all, teacher);
    std::vector<std::vector<Result>> results(all.size(), std::vector<Result>(s.seeds));
    std::size_t done = 0;
    // Runs side by side, one thread each: nothing is lost to waiting.
    parallel_tasks(Cpu{}, all.size() * s.seeds, [&](std::size_t task, std::size_t) {
      const std::size_t i = task % all.size(), seed = task / all.size();
      results[i][seed] = with_trainer(s, all[i], teacher, seed, [&](auto trainer) {
        return train(s, std::move(trainer), seed);
      });
#pragma omp critical(objectives_progress)
      std::fprintf(stderr, "%zu of %zu runs\n", ++done, all.size() * s.seeds);
    });
    std::printf(
        "| objective | time of a step | energy distance | precision | recall | precision, 2 steps "
        "| "
        "recall, 2 steps |\n| --- | --- | --- | --- | --- | --- | --- |\n");
    for (std::size_t i = 0; i < all.size(); ++i)
      std::printf("| %s | %.2f | %s | %s | %s | %s | %s |\n", all[i].name.c_str(),
                  times[i] / times[0],
                  over_seeds(results[i], 0, &Scores::energy_distance, 4).c_str(),
                  over_seeds(results[i], 0, &Scores::precision, 3).c_str(),
                  over_seeds(results[i], 0, &Scores::recall, 3).c_str(),
                  over_seeds(results[i], 1, &Scores::precision, 3).c_str(),
                  over_seeds(results[i], 1, &Scores::recall, 3).c_str());
    return 0;
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "objectives: %s\n", error.what());
    return 2;
  }
}
