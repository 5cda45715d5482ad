// SPDX-License-Identifier: MIT
// policy: learns to drive around an obstacle from demonstrations, and decides in one step.
#include <cstdio>
#include <exception>

#include <CLI/CLI.hpp>

#include "experiment.hpp"

namespace {

void add_options(CLI::App& app, policy::Settings& s) {
  app.add_option("--demonstrations", s.demonstrations, "episodes of the expert to learn from")
      ->check(CLI::PositiveNumber);
  app.add_option("--history", s.history, "observations that a policy is told")
      ->check(CLI::PositiveNumber);
  app.add_option("--chunk", s.chunk, "commands that it gives at once")->check(CLI::PositiveNumber);
  app.add_option("--execute", s.execute, "commands that are carried out before it decides again")
      ->check(CLI::PositiveNumber);
  app.add_option("--steps", s.steps, "training steps of each net")->check(CLI::PositiveNumber);
  app.add_option("--batch", s.batch, "rows per step")->check(CLI::PositiveNumber);
  app.add_option("--hidden", s.hidden, "width of the hidden layers")->check(CLI::PositiveNumber);
  app.add_option("--layers", s.layers, "number of hidden layers");
  app.add_option("--lr", s.lr, "peak learning rate; it falls to 0 as a half cosine")
      ->check(CLI::PositiveNumber);
  app.add_option("--episodes", s.episodes, "episodes to compare in")->check(CLI::PositiveNumber);
  app.add_option("--seed", s.seed, "of demonstrations, training and episodes");
  app.add_option("--threads", s.threads, "threads to train on; 0 for all. Decisions use one")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--out", s.out, "folder to write to");
  app.add_flag("--quiet", s.quiet, "no progress bar");
}

}  // namespace

int main(int argc, char** argv) {
  policy::Settings settings;
  CLI::App app{
      "Learns from demonstrations to drive around an obstacle, on the left or on the right, and\n"
      "compares policies that decide in one step with others.\n"
      "For example:  policy --demonstrations 1000 --episodes 500 --out out/policy"};
  app.option_defaults()->always_capture_default();
  add_options(app, settings);
  try {
    app.parse(argc, argv);
    policy::run(settings);
    return 0;
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "policy: %s\n", error.what());
    return 2;
  } catch (const meanflow::NonFiniteError& error) {
    std::fprintf(stderr, "policy: %s\n", error.what());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "policy: %s\n", error.what());
    return 2;
  }
}
