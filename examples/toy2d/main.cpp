// SPDX-License-Identifier: MIT
// toy2d: trains a one-step generator of 2-D points, and shows what it does.
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "../processes.hpp"
#include "experiment.hpp"

namespace {

template <class Map>
std::vector<std::string> keys(const Map& map) {
  std::vector<std::string> names;
  for (const auto& [name, value] : map) names.push_back(name);
  return names;
}

std::vector<std::string> dataset_names() {
  std::vector<std::string> names;
  for (meanflow::Toy2d set : meanflow::all_toy2d) names.emplace_back(name_of(set));
  return names;
}

void add_training_options(CLI::App& app, toy2d::Settings& s) {
  auto* dataset = app.add_option("--dataset", s.dataset, "named set to learn")
                      ->check(CLI::IsMember(dataset_names()));
  app.add_option("--data", s.data, "N x 2 NPY or CSV file to learn instead; a tenth is held out")
      ->excludes(dataset);
  app.add_option("--objective", s.objective, "what the net is trained towards")
      ->check(CLI::IsMember({"meanflow", "improved-meanflow", "flow-matching"}));
  app.add_option("--steps", s.steps, "training steps")->check(CLI::PositiveNumber);
  app.add_option("--batch", s.batch, "rows per step")->check(CLI::PositiveNumber);
  app.add_option("--hidden", s.hidden, "width of the hidden layers")->check(CLI::PositiveNumber);
  app.add_option("--layers", s.layers, "number of hidden layers");
  app.add_option("--octaves", s.octaves,
                 "sinusoids of each coordinate that the net sees, in pairs");
  app.add_option("--residual", s.residual, "hidden layers add to what they are given");
  app.add_option("--coupling", s.coupling, "how noise is paired with data")
      ->check(CLI::IsMember({"independent", "optimal-transport", "sinkhorn"}));
  app.add_option("--coupling-block", s.coupling_block, "rows that are paired among each other")
      ->check(CLI::PositiveNumber);
  app.add_option("--lr", s.lr,
                 "peak learning rate, which falls to 0 as a half cosine; 0: 0.005, or 0.001 for "
                 "improved-meanflow")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--weight-decay", s.weight_decay,
                 "of AdamW; 0.1 keeps samples of rare noise from straying, at less precision")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--ema", s.ema, "decay of the averaged parameters, which are used for sampling")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--jump-fraction", s.jump_fraction, "share of the rows with r < t")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--times", s.times,
                 "distribution of r and t: uniform, logit-normal or logit-normal:MEAN,STD");
  app.add_option("--weighting-p", s.weighting_p,
                 "power of the adaptive weighting; 0: every row alike. More makes samples more "
                 "precise, and less varied");
  app.add_option("--tangent", s.tangent, "direction of the derivative; all but v,0,1 are wrong")
      ->check(CLI::IsMember(keys(toy2d::tangents_by_name)));
  app.add_option("--time-inputs", s.time_inputs, "times that the net sees, h = t - r")
      ->check(CLI::IsMember(keys(toy2d::time_inputs_by_name)));
  app.add_option("--time-encoding", s.time_encoding, "how it sees them")
      ->check(CLI::IsMember(keys(toy2d::time_encodings_by_name)));
  app.add_option("--baseline-steps", s.baseline_steps,
                 "also train flow matching for this many steps, to compare with");
  app.add_option("--seed", s.seed, "same seed and threads: byte-identical results");
  app.add_option("--threads", s.threads, "threads to use; 0 for all")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--device", s.device, "where to train: cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--out", s.out, "folder to write to");
  app.add_option("--samples", s.samples, "points to sample and to compare with")
      ->check(CLI::Range(4, 1'000'000));
  app.add_flag("--quiet", s.quiet, "no progress bar");
}

void add_sample_options(CLI::App& app, toy2d::SampleSettings& s) {
  app.add_option("--model", s.model, "model.safetensors of a trained model")->required();
  app.add_option("--nfe", s.nfe, "steps, i.e. evaluations of the net")->check(CLI::PositiveNumber);
  app.add_option("--count", s.count, "points to sample")->check(CLI::PositiveNumber);
  app.add_option("--seed", s.seed, "seed of the noise");
  app.add_option("--out", s.out, "NPY file to write");
}

}  // namespace

int main(int argc, char** argv) {
  toy2d::Settings settings;
  toy2d::SampleSettings request;
  CLI::App app{
      "Trains a one-step generator of 2-D points and writes samples, measures and pictures.\n"
      "For example:  toy2d --dataset checkerboard --out out/checkerboard\n"
      "              toy2d --data points.npy --steps 20000\n"
      "              toy2d sample --model out/checkerboard/model.safetensors --nfe 2\n"
      "              mpirun -n 4 toy2d --coupling independent"};
  app.option_defaults()->always_capture_default();
  add_training_options(app, settings);
  CLI::App* sampling = app.add_subcommand("sample", "sample again from a trained model");
  sampling->option_defaults()->always_capture_default();
  add_sample_options(*sampling, request);
  examples::Processes processes;
  const auto report = [&](const std::exception& error) {
    const std::string speaker = processes.end_and_name();
    std::fprintf(stderr, "toy2d: %s%s\n", speaker.c_str(), error.what());
  };
  try {
    processes.begin(argc, argv);
    app.parse(argc, argv);
    settings.processes = processes.communicator();
    processes.use_threads(settings.threads);
    if (!*sampling)
      toy2d::run(settings);
    else if (processes.root())
      toy2d::sample(request);
    return 0;
  } catch (const CLI::CallForHelp& help) {
    return processes.root() ? app.exit(help) : 0;
  } catch (const meanflow::NonFiniteError& error) {
    report(error);
    return 1;
  } catch (const std::exception& error) {  // CLI11's too
    report(error);
    return 2;
  }
}
