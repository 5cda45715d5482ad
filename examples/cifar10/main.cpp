// SPDX-License-Identifier: MIT
// cifar10: trains one-step generators of pictures, samples from them, and measures the samples.
#include <cstdio>
#include <exception>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <meanflow/error.hpp>
#include <meanflow/train/trainer.hpp>

#include "../processes.hpp"
#include "evaluation.hpp"
#include "export.hpp"
#include "information.hpp"
#include "model.hpp"
#include "training.hpp"

namespace {

constexpr const char* about =
    R"(Trains one-step generators of pictures (CIFAR-10, MNIST, PNG and JPEG files, NPY arrays,
latents), samples from them, and measures the samples. For example:

  cifar10 train --config examples/cifar10/configs/quick.yaml --data cifar-10-batches-bin \
                --workdir out/quick
  cifar10 sample --checkpoint out/quick --nfe 2 --out grid.png
  cifar10 evaluate --checkpoint out/quick --data cifar-10-batches-bin --count 10000
  cifar10 export --checkpoint out/quick --onnx quick.onnx
  cifar10 info --config examples/cifar10/configs/paper.yaml
  mpirun -n 4 cifar10 train ...

See docs/cifar10.md. Exit codes: 0 done (or stopped and saved), 1 a number that is not
finite, 2 invalid input.)";

/// Checks a whole number; CLI11's own message names a range of 300 digits.
[[nodiscard]] std::string check_positive(const std::string& text) {
  const bool digits = text.find_first_not_of("0123456789") == std::string::npos;
  const bool positive = digits && text.find_first_not_of('0') != std::string::npos;
  return positive ? "" : "\"" + text + "\" is not a whole number of at least 1";
}

/// Checks a seed, which CLI11 would let wrap around.
[[nodiscard]] std::string check_seed(const std::string& text) {
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  return digits ? "" : "\"" + text + "\" is not a whole number of at least 0";
}

/// "cpu", "cuda" or "cuda:1".
[[nodiscard]] std::optional<cifar10::Where> parse_where(const std::string& text) {
  if (text == "cpu") return cifar10::Where{};
  if (text == "cuda") return cifar10::Where{.cuda = true};
  if (!text.starts_with("cuda:") || text.size() == 5 || text.size() > 8) return std::nullopt;
  const std::string number = text.substr(5);
  if (number.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  return cifar10::Where{.cuda = true, .number = std::stoi(number)};
}

void add_device(CLI::App& app, cifar10::Where& where, const char* about) {
  app.add_option_function<std::string>(
         "--device", [&where](const std::string& text) { where = *parse_where(text); }, about)
      ->type_name("DEVICE")
      ->check([](const std::string& text) {
        return parse_where(text) ? "" : "\"" + text + "\" is not cpu, cuda or cuda:NUMBER";
      })
      ->default_str("cpu");
}

constexpr const char* about_set = "change a setting, as in --set train.batch=64; repeatable";
constexpr const char* about_data =
    "of the data: *.bin of CIFAR-10, IDX files of MNIST (.gz too), PNG and JPEG files, images.npy, "
    "or latents (mean.npy and std.npy)";
constexpr const char* about_checkpoint = "checkpoint, or the folder of a run for its newest one";

constexpr const char* about_config_of_weights =
    "YAML file, where the checkpoint is nothing but weights, such as those of a published net";

void add_solver(CLI::App& app, std::optional<meanflow::Solver>& solver) {
  static const std::map<std::string, meanflow::Solver> names{{"euler", meanflow::Solver::euler},
                                                             {"heun", meanflow::Solver::heun}};
  app.add_option_function<std::string>(
         "--solver", [&solver](const std::string& name) { solver = names.at(name); },
         "follow the velocity u(z, t, t) by this rule in --nfe steps, instead of jumping: euler, "
         "or "
         "heun with two evaluations a step")
      ->type_name("RULE")
      ->check(CLI::IsMember(names));
}

/// Guidance that the net is told: its scale, and where on the path it guides.
void add_guidance_input(CLI::App& app, std::optional<double>& omega,
                        std::optional<std::pair<double, double>>& interval) {
  app.add_option("--omega", omega,
                 "guidance scale of a net that is told it (imf_transformer), at least 1; no extra "
                 "work (default: as configured)");
  app.add_option_function<std::vector<double>>(
         "--interval",
         [&interval](const std::vector<double>& ends) { interval.emplace(ends[0], ends[1]); },
         "times within [0, 1] where --omega guides, as in 0.2,0.9 (default: as configured)")
      ->delimiter(',')
      ->expected(2)
      ->type_name("LOW,HIGH");
}

void add_train(CLI::App& app, cifar10::TrainRequest& request) {
  app.add_option("--config", request.config, "YAML file; examples/cifar10/configs has some")
      ->type_name("FILE")
      ->required();
  app.add_option("--data", request.data, about_data)->required()->type_name("DIR");
  app.add_option("--workdir", request.workdir,
                 "folder to write to; if it holds a checkpoint, training resumes from it")
      ->type_name("DIR")
      ->required();
  app.add_option("--set", request.changes, about_set)
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  app.add_option("--init", request.init,
                 "begin from these weights: those of a checkpoint, or of a file with the net's "
                 "names; of flow matching as well as of Mean Flows")
      ->type_name("FILE");
  app.add_option("--teacher", request.teacher,
                 "learn from the velocity of a trained net of the same kind in place of the data's")
      ->type_name("FILE");
  app.add_option("--teacher-guidance", request.teacher_guidance, "guidance scale of the teacher");
  add_device(app, request.where, "where to train: cpu, cuda or, of several GPUs, cuda:1");
  app.add_flag("--quiet", request.quiet, "no progress bar");
}

void add_sample(CLI::App& app, cifar10::SampleRequest& request) {
  app.add_option("--checkpoint", request.checkpoint, about_checkpoint)
      ->type_name("FILE")
      ->required();
  app.add_option("--config", request.config, about_config_of_weights)->type_name("FILE");
  app.add_option("--out", request.out, "PNG file to write: a grid, one class per row")
      ->type_name("FILE")
      ->default_val("samples.png");
  app.add_option("--npy", request.npy, "NPY file to write too: array (N, H, W, C), about [-1, 1]")
      ->type_name("FILE");
  app.add_option("--count", request.count, "number of pictures (default: as configured)")
      ->check(check_positive);
  app.add_option("--nfe", request.nfe, "steps, one evaluation each (default: as configured)")
      ->check(check_positive);
  app.add_option("--seed", request.seed, "seed: same seed, same bytes (default: as configured)")
      ->check(check_seed);
  app.add_option("--class", request.label, "only pictures of this class, counted from 0");
  app.add_option("--guidance", request.guidance,
                 "guidance scale at sampling; doubles the work; 1: none (default: as configured)");
  add_guidance_input(app, request.omega, request.interval);
  add_solver(app, request.solver);
  app.add_option("--average", request.average, "index of the average to use; -1: the last step")
      ->default_val(0);
  app.add_option("--batch", request.batch, "pictures at a time; bounds the memory")
      ->default_val(64)
      ->check(check_positive);
  add_device(app, request.where, "where to sample: cpu, cuda or cuda:1");
}

void add_evaluate(CLI::App& app, cifar10::EvaluateRequest& request) {
  app.add_option("--checkpoint", request.checkpoint, about_checkpoint)
      ->type_name("FILE")
      ->required();
  app.add_option("--config", request.config, about_config_of_weights)->type_name("FILE");
  app.add_option("--data", request.data, about_data)->required()->type_name("DIR");
  app.add_option("--out", request.out, "JSON file to write")->type_name("FILE");
  app.add_option("--classifier", request.classifier,
                 "the classifier that provides features; trained and written if missing "
                 "(default: classifier.safetensors in the folder of the run)")
      ->type_name("FILE");
  app.add_option("--inception", request.inception,
                 "weights of the Inception network (tools/convert_inception.py), for the FID as "
                 "published, of 50,000 samples unless --count says otherwise")
      ->type_name("FILE")
      ->check(CLI::ExistingFile);
  app.add_option("--reference", request.reference,
                 "statistics of the training set by the Inception network; computed and written if "
                 "missing (default: inception_statistics.safetensors in the folder of the run)")
      ->type_name("FILE");
  app.add_option("--count", request.count, "number of samples (default: as configured)")
      ->check(CLI::Range(2, 10'000'000));
  app.add_option("--nfe", request.nfe, "steps, as in --nfe 1,2,4 (default: as configured)")
      ->delimiter(',')
      ->check(check_positive);
  app.add_option("--seed", request.seed, "seed of the noise (default: as configured)")
      ->check(check_seed);
  app.add_option("--guidance", request.guidance, "guidance scale (default: as configured)");
  add_guidance_input(app, request.omega, request.interval);
  add_solver(app, request.solver);
  app.add_option("--average", request.average, "index of the average to use; -1: the last step")
      ->default_val(0);
  app.add_option("--batch", request.batch, "pictures at a time; bounds the memory")
      ->default_val(64)
      ->check(check_positive);
  add_device(app, request.where,
             "where to sample: cpu, cuda or cuda:1; features are the processor's");
  app.add_option("--set", request.changes,
                 "change a setting of evaluate or classifier, as in --set classifier.epochs=10")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
}

void add_export(CLI::App& app, cifar10::ExportRequest& request) {
  app.add_option("--checkpoint", request.checkpoint, about_checkpoint)
      ->type_name("FILE")
      ->required();
  app.add_option("--config", request.config, about_config_of_weights)->type_name("FILE");
  app.add_option("--model", request.model,
                 "safetensors file to write: what meanflow::load_model, C and Python read, and "
                 "PyTorch as a state dict")
      ->type_name("FILE");
  app.add_option("--onnx", request.onnx,
                 "ONNX file to write: pictures from noise and classes, in any runtime")
      ->type_name("FILE");
  app.add_option("--nfe", request.nfe, "steps of the ONNX sampler (default: as configured)")
      ->check(check_positive);
  app.add_option("--average", request.average, "index of the average to use; -1: the last step")
      ->default_val(0);
}

void add_info(CLI::App& app, cifar10::InfoRequest& request) {
  auto* config = app.add_option("--config", request.config, "YAML file")->type_name("FILE");
  auto* checkpoint = app.add_option("--checkpoint", request.checkpoint, about_checkpoint)
                         ->type_name("FILE")
                         ->excludes(config);
  app.add_option("--data", request.data, "folder of the data, if they are your own pictures")
      ->type_name("DIR")
      ->excludes(checkpoint);
  app.add_option("--set", request.changes, about_set)
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  app.callback([&] {
    if (request.config.empty() && request.checkpoint.empty())
      throw CLI::RequiredError("--config or --checkpoint");
  });
}

}  // namespace

int main(int argc, char** argv) {
  cifar10::TrainRequest train;
  cifar10::SampleRequest sample;
  cifar10::EvaluateRequest evaluate;
  cifar10::ExportRequest exported;
  cifar10::InfoRequest info;
  int threads = 0;
  double timeout = 600;
  CLI::App app{about};
  app.require_subcommand(1);
  CLI::App* training = app.add_subcommand("train", "train, or resume a training run");
  CLI::App* sampling = app.add_subcommand("sample", "sample pictures from a checkpoint");
  CLI::App* evaluating = app.add_subcommand(
      "evaluate",
      "distances, precision and recall of samples: by a classifier, or with --inception as "
      "published");
  CLI::App* exporting = app.add_subcommand("export", "write a trained net for other programs");
  CLI::App* informing = app.add_subcommand("info", "show settings, parameters, work and memory");
  add_train(*training, train);
  add_sample(*sampling, sample);
  add_evaluate(*evaluating, evaluate);
  add_export(*exporting, exported);
  add_info(*informing, info);
  for (CLI::App* command : {training, sampling, evaluating, exporting, informing})
    command->add_option("--threads", threads, "number of threads (default: all)")
        ->check(check_positive);
  for (CLI::App* command : {training, sampling, evaluating})
    command
        ->add_option("--timeout", timeout,
                     "seconds that processes under mpirun wait for one that does not answer")
        ->check(CLI::PositiveNumber)
        ->default_val(600);
  examples::Processes processes;
  const auto report = [&](const std::string& message) {
    const std::string speaker = processes.end_and_name();
    std::fprintf(stderr, "cifar10: %s%s\n", speaker.c_str(), message.c_str());
  };
  try {
    processes.begin(argc, argv);
    app.parse(argc, argv);
    processes.use_threads(threads);
    processes.set_timeout(timeout);
    train.processes = sample.processes = evaluate.processes = processes.communicator();
    for (auto* checkpoint :
         {&sample.checkpoint, &evaluate.checkpoint, &exported.checkpoint, &info.checkpoint})
      *checkpoint = cifar10::checkpoint_file(*checkpoint);
    if (*training) cifar10::train(train);
    if (*sampling) cifar10::sample(sample);
    if (*evaluating) cifar10::evaluate(evaluate);
    if (*exporting && processes.root()) cifar10::export_net(exported);
    if (*informing && processes.root()) cifar10::print_information(info);
    return 0;
  } catch (const CLI::CallForHelp& help) {
    return processes.root() ? app.exit(help) : 0;
  } catch (const meanflow::NonFiniteError& error) {
    report(std::string(error.what()) + "; earlier checkpoints are kept");
    return 1;
  } catch (const std::exception& error) {  // CLI11's too
    report(error.what());
    return 2;
  }
}
