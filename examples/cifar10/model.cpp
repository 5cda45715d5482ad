// SPDX-License-Identifier: MIT
#include "model.hpp"

#include <cstdio>
#include <tuple>
#include <utility>
#include <vector>

#include <meanflow/io/npy.hpp>
#include <meanflow/io/safetensors.hpp>
#include <meanflow/train/agreement.hpp>
#include <meanflow/train/checkpoint.hpp>

#include "data.hpp"
#include "format_json.hpp"
#include "on_cuda.hpp"
#include "output.hpp"

namespace cifar10 {

namespace {

constexpr const char *config_key = "cifar10.config", *format_key = "cifar10.format",
                     *data_key = "cifar10.data";

/// For weights that somebody else has trained.
[[nodiscard]] Identity described(const std::filesystem::path& config) {
  const Settings settings = read_configuration(config);
  return {settings, known_format(settings.data), 0, ""};
}

}  // namespace

std::map<std::string, std::string> metadata_of(const Settings& settings, const ImageFormat& format,
                                               const std::string& data) {
  return {{config_key, to_yaml(settings)},
          {format_key, nlohmann::json(format).dump()},
          {data_key, data}};
}

std::filesystem::path checkpoint_file(const std::filesystem::path& file_or_workdir) {
  if (!std::filesystem::is_directory(file_or_workdir)) return file_or_workdir;
  for (const auto& folder : {file_or_workdir / "checkpoints", file_or_workdir})
    if (const auto latest = meanflow::latest_checkpoint(folder)) return *latest;
  throw meanflow::FileError(file_or_workdir.string() + ": has no checkpoints of a training run");
}

Identity identity_of(const std::filesystem::path& checkpoint) {
  const meanflow::Safetensors file(checkpoint);
  const auto& metadata = file.metadata();
  if (!metadata.contains(config_key) || !metadata.contains(format_key) || !file.contains("step"))
    throw meanflow::FileError(checkpoint.string() +
                              ": is not a checkpoint of cifar10 train; for weights alone, give "
                              "--config to sample");
  try {
    return {parse_configuration(metadata.at(config_key), checkpoint.string() + ", configuration"),
            nlohmann::json::parse(metadata.at(format_key)).get<ImageFormat>(),
            static_cast<std::uint64_t>(file.read<std::int64_t>("step").at(0)),
            metadata.contains(data_key) ? metadata.at(data_key) : ""};
  } catch (const nlohmann::json::exception& error) {
    throw meanflow::FileError(checkpoint.string() + ": its picture format is damaged (" +
                              error.what() + ")");
  }
}

std::pair<Identity, std::string> checkpoint_identity(const std::filesystem::path& checkpoint,
                                                     int average,
                                                     const std::filesystem::path& config) {
  Identity identity = config.empty() ? identity_of(checkpoint) : described(config);
  const auto kept = static_cast<int>(identity.settings.averages.size());
  if (average < last_step || average >= kept)
    throw meanflow::SettingError("--average is " + std::to_string(average) + ", but " +
                                 checkpoint.string() + " has averages 0 to " +
                                 std::to_string(kept - 1) + ", and -1 for the last step");
  const bool bare = average == last_step || !config.empty();
  return {std::move(identity), bare ? "" : "average." + std::to_string(average) + "."};
}

Model::Model(const std::filesystem::path& checkpoint, int average, Where where,
             const std::filesystem::path& config) {
  std::string prefix;
  std::tie(identity_, prefix) = checkpoint_identity(checkpoint, average, config);
  if (where.cuda) {
    use_gpu(where.number);
    sample_ = sampler_on_cuda(identity_.settings, identity_.format, checkpoint, prefix);
    return;
  }
  sample_ = with_net(identity_.settings, identity_.format, [&](auto net) {
    return make_sampler(std::move(net), identity_.format, checkpoint, prefix);
  });
}

meanflow::Tensor<float> Model::sample(std::size_t first, std::size_t count, const Labels& labels,
                                      Sampling sampling) const {
  if (!sampling.solver && instantaneous(make_objective(identity_.settings)))
    sampling.solver = meanflow::Solver::euler;
  return sample_(first, count, labels, sampling);
}

meanflow::GuidanceInput guidance_input(const Settings& settings, const std::optional<double>& omega,
                                       const std::optional<std::pair<double, double>>& interval) {
  meanflow::GuidanceInput input = settings.sample.input;
  if (omega) input.omega = *omega;
  if (interval) std::tie(input.t_min, input.t_max) = *interval;
  return input;
}

void save_latents(const std::filesystem::path& path, const Settings& settings,
                  const meanflow::Tensor<float>& samples) {
  meanflow::Tensor<float> latents = samples.clone();
  for (float& value : latents.span()) value /= static_cast<float>(settings.data.latent_scale);
  const auto& shape = latents.shape();
  meanflow::save_npy(path, std::vector<std::size_t>(shape.begin(), shape.end()), latents.span());
}

void sample(const SampleRequest& request) {
  const Model model(request.checkpoint, request.average, request.where, request.config);
  const auto& [settings, format, step, data] = model.identity();
  const SampleSettings& defaults = settings.sample;
  const bool latents = settings.data.kind == DataKind::latents;
  if (latents && request.npy.empty())
    throw meanflow::SettingError(
        "this net samples latents, which are no pictures: give --npy FILE, and decode them");
  by_root(request.processes, [&] {
    if (!latents) prepare_output(request.out);
    prepare_output(request.npy);
  });
  const std::size_t count = request.count > 0 ? request.count : defaults.count;
  const Sampling sampling{.nfe = request.nfe > 0 ? request.nfe : defaults.nfe,
                          .seed = request.seed.value_or(defaults.seed),
                          .guidance = request.guidance.value_or(defaults.guidance),
                          .input = guidance_input(settings, request.omega, request.interval),
                          .solver = request.solver,
                          .batch = request.batch};
  Labels labels = grid_labels(count, model.classes());
  std::size_t columns = grid_columns(count, model.classes());
  check_guidance(settings, sampling);
  if (request.label) {
    if (*request.label < 0 || static_cast<std::size_t>(*request.label) >= model.classes())
      throw meanflow::SettingError("--class is " + std::to_string(*request.label) +
                                   ", but this net knows " + std::to_string(model.classes()) +
                                   " classes, counted from 0");
    labels = [label = *request.label](std::size_t) { return label; };
    columns = 0;
  }
  const auto pictures = all_pictures(request.processes, format, count, sampling.batch,
                                     [&](std::size_t first, std::size_t size) {
                                       return model.sample(first, size, labels, sampling);
                                     });
  if (!is_root(request.processes)) return;
  if (latents) {
    save_latents(request.npy, settings, pictures);
    std::printf("%zu latents in %zu step%s from step %llu: %s\n", count, sampling.nfe,
                sampling.nfe == 1 ? "" : "s", static_cast<unsigned long long>(step),
                request.npy.c_str());
    return;
  }
  meanflow::save_png(request.out, make_grid(pictures, columns));
  if (!request.npy.empty())
    meanflow::save_npy(
        request.npy, std::vector<std::size_t>{count, format.height, format.width, format.channels},
        pictures.span());
  std::printf("%zu pictures in %zu step%s from step %llu: %s\n", count, sampling.nfe,
              sampling.nfe == 1 ? "" : "s", static_cast<unsigned long long>(step),
              request.out.c_str());
}

}  // namespace cifar10
