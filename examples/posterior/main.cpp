// SPDX-License-Identifier: MIT
// posterior: learns what simulations tell of their parameters, and measures it.
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <omp.h>

#include "experiment.hpp"

namespace {

void add_options(CLI::App& app, posterior::Settings& s) {
  std::vector<std::string> tasks = posterior::task_names;
  tasks.emplace_back("all");
  app.add_option("--task", s.task, "what to infer, or all tasks one after the other")
      ->check(CLI::IsMember(tasks));
  app.add_option("--simulations", s.simulations, "to learn from; a tenth of them is held out")
      ->check(CLI::Range(20, 100'000'000));
  app.add_option("--observations", s.observations, "to measure with, drawn with a fixed seed")
      ->check(CLI::Range(1, 10'000));
  app.add_option("--samples", s.samples, "of each posterior and of its reference")
      ->check(CLI::Range(10, 10'000'000));
  app.add_option("--steps", s.steps, "training steps")->check(CLI::PositiveNumber);
  app.add_option("--batch", s.batch, "rows per step")->check(CLI::Range(4, 1'000'000));
  app.add_option("--hidden", s.hidden, "width of the hidden layers")->check(CLI::PositiveNumber);
  app.add_option("--layers", s.layers, "number of hidden layers");
  app.add_option("--octaves", s.octaves,
                 "sinusoids of each coordinate that the net sees, in pairs");
  app.add_option("--lr", s.lr, "peak learning rate; it falls to 0 as a half cosine")
      ->check(CLI::PositiveNumber);
  app.add_option("--ema", s.ema, "decay of the averaged parameters, which are used for sampling")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--jump-fraction", s.jump_fraction, "share of the rows with r < t")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--weighting-p", s.weighting_p, "power of the adaptive weighting")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--coupling-block", s.coupling_block,
                 "rows whose noise is paired by optimal transport; 1 for independent noise")
      ->check(CLI::PositiveNumber);
  app.add_option("--condition-weight", s.condition_weight,
                 "what a difference of x costs there, so that noise says little about x")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--euler", s.euler, "also measure 100 Euler steps of the same net");
  app.add_option("--seed", s.seed, "same seed and threads: byte-identical results");
  app.add_option("--threads", s.threads, "threads to use; 0 for all")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--out", s.out, "folder to write to");
  app.add_flag("--quiet", s.quiet, "no progress bar");
}

}  // namespace

int main(int argc, char** argv) {
  posterior::Settings settings;
  CLI::App app{
      "Learns theta given x from simulations, and draws it in one step.\n"
      "For example:  posterior --task two_moons --out out/posterior\n"
      "              posterior --task all --simulations 10000 --observations 10"};
  app.option_defaults()->always_capture_default();
  add_options(app, settings);
  try {
    app.parse(argc, argv);
    if (settings.threads > 0) omp_set_num_threads(settings.threads);
    posterior::run(settings);
    return 0;
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "posterior: %s\n", error.what());
    return 2;
  } catch (const meanflow::NonFiniteError& error) {
    std::fprintf(stderr, "posterior: %s\n", error.what());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "posterior: %s\n", error.what());
    return 2;
  }
}
