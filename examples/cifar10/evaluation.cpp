// SPDX-License-Identifier: MIT
#include "evaluation.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include <meanflow/eval/frechet.hpp>
#include <meanflow/eval/kernel_distance.hpp>
#include <meanflow/eval/precision_recall.hpp>
#include <meanflow/train/agreement.hpp>
#include <meanflow/train/sharing.hpp>

#include "../json_file.hpp"
#include "classifier.hpp"
#include "data.hpp"
#include "measured.hpp"
#include "model.hpp"
#include "output.hpp"
#include "published.hpp"

namespace cifar10 {

namespace {

using meanflow::Tensor;

constexpr const char* measure =
    "computed from features of a small classifier; not the FID or KID, whose features are those of "
    "the Inception network";

/// The features of a set, and their statistics.
struct Features {
  Tensor<float> rows;
  meanflow::FeatureStatistics statistics;

  explicit Features(Tensor<float> all) : rows(std::move(all)) { statistics.add(rows); }
};

/// Features of `count` pictures, (count, features); each process computes those of its share:
/// features(pictures, first) of pictures(first, size).
template <class Pictures, class Of>
[[nodiscard]] Features shared_features(const meanflow::AnyCommunicator& processes,
                                       const Classifier& classifier, std::size_t count,
                                       std::size_t batch, Pictures pictures, Of features) {
  Tensor<float> rows({count, classifier.net.features()});
  for_each_batch(row_share(processes, count), batch, pictures,
                 [&](const Tensor<float>& some, std::size_t first) {
                   const Tensor<float> part = features(some, first);
                   std::ranges::copy(part.span(), rows.row(first));
                 });
  gather_rows(processes, rows);
  return Features(std::move(rows));
}

[[nodiscard]] Features features_of(const meanflow::AnyCommunicator& processes,
                                   const Classifier& classifier, const meanflow::ImageSet& set,
                                   std::size_t count) {
  return shared_features(
      processes, classifier, count, 500,
      [&](std::size_t first, std::size_t size) { return to_tensor(set, first, first + size); },
      [&](const Tensor<float>& pictures, std::size_t) { return classifier.features(pictures); });
}

[[nodiscard]] Features some_of(const Features& features, std::size_t count) {
  return Features(some_rows(features.rows, count));
}

/// How the features of samples lie among those of pictures; precision and recall among `few` of
/// each, if that is at least 10.
[[nodiscard]] nlohmann::json compared(const Features& samples, const Features& pictures,
                                      std::size_t few) {
  const std::size_t rows = std::min(samples.rows.rows(), pictures.rows.rows());
  const auto kernel = meanflow::kernel_distance_of_subsets(
      samples.rows, pictures.rows, {.subset_size = std::min<std::size_t>(rows, 1000)});
  nlohmann::json result{
      {"classifier_frechet_distance",
       meanflow::frechet_distance(samples.statistics, pictures.statistics)},
      {"classifier_kernel_distance",
       {{"mean", kernel.mean}, {"standard_deviation", kernel.standard_deviation}}}};
  if (few < 10) return result;
  const Tensor<float> some = some_rows(samples.rows, few), others = some_rows(pictures.rows, few);
  const auto found = meanflow::precision_recall(some.span(), others.span(), some.row_size());
  result["precision"] = found.precision;
  result["recall"] = found.recall;
  return result;
}

[[nodiscard]] Settings with_changes(const Settings& settings,
                                    const std::vector<std::string>& changes) {
  for (const std::string& change : changes)
    if (!change.starts_with("evaluate.") && !change.starts_with("classifier."))
      throw meanflow::SettingError("--set " + change +
                                   ": evaluate can change settings of evaluate and classifier "
                                   "alone");
  return parse_configuration(to_yaml(settings), "the checkpoint's configuration", changes);
}

/// The folder of a training run for its own checkpoint, else the checkpoint's.
[[nodiscard]] std::filesystem::path run_folder(const std::filesystem::path& checkpoint) {
  std::filesystem::path folder = checkpoint.parent_path();
  if (folder.filename() == "checkpoints") folder = folder.parent_path();
  return folder;
}

void train_missing_classifier(const std::filesystem::path& path, const Settings& settings,
                              const Pictures& pictures) {
  if (std::filesystem::exists(path)) return;
  prepare_output(path);
  std::fprintf(stderr, "training the classifier for features; it is saved as %s\n", path.c_str());
  save_classifier(path, train_classifier(settings.classifier, pictures.training, pictures.test,
                                         settings.data.flip));
}

/// Features that cannot tell classes apart can hardly tell samples from pictures.
void warn_of_chance(const Classifier& classifier) {
  const double better_than_chance =
      (classifier.test_accuracy - classifier.chance) / (1 - classifier.chance);
  if (better_than_chance > 0.2) return;
  std::fprintf(
      stderr,
      "warning: the classifier is right in %.1f %% of the test pictures, where guessing is "
      "right in %.1f %%: its features say little, and so do these distances. Train it "
      "longer (--set classifier.epochs=%zu, with another file by --classifier) or on more "
      "pictures\n",
      100 * classifier.test_accuracy, 100 * classifier.chance, 10 * classifier.settings.epochs);
}

/// Evaluations of the net for one picture.
[[nodiscard]] std::size_t evaluations(const Sampling& sampling) {
  const bool twice = sampling.solver == meanflow::Solver::heun;
  const std::size_t in_steps = twice ? 2 * sampling.nfe - 1 : sampling.nfe;
  return in_steps * (sampling.guidance == 1 ? 1 : 2);
}

/// "50 samples in 2 steps, guided"
[[nodiscard]] std::string row_name(std::size_t count, const Sampling& sampling) {
  return std::to_string(count) + " samples in " + std::to_string(sampling.nfe) +
         (sampling.nfe == 1 ? " step" : " steps") + (sampling.guidance == 1 ? "" : ", guided");
}

/// How the samples of a row were made, beside its measures.
void note_sampling(nlohmann::json& result, const Sampling& sampling) {
  result["nfe"] = sampling.nfe;
  if (sampling.solver)
    result["solver"] = *sampling.solver == meanflow::Solver::heun ? "heun" : "euler";
  result["evaluations_per_picture"] = evaluations(sampling);
  result["guidance"] = sampling.guidance;
  if (sampling.input.omega != 1)
    result["input"] = {{"omega", sampling.input.omega},
                       {"interval", {sampling.input.t_min, sampling.input.t_max}}};
  result["seed"] = sampling.seed;
}

/// Everything that stays the same from one number of steps to the next.
struct Evaluation {
  const meanflow::AnyCommunicator& processes;
  const Model& model;
  const Classifier& classifier;
  const Features& reference;
  std::size_t count;
  std::size_t neighbours;  ///< rows that precision and recall are computed from

  [[nodiscard]] nlohmann::json run(const Sampling& sampling) const {
    const Labels labels = labels_in_turn(model.classes());
    double agreed = 0;
    const Features features = shared_features(
        processes, classifier, count, sampling.batch,
        [&](std::size_t first, std::size_t size) {
          return model.sample(first, size, labels, sampling);
        },
        [&](const Tensor<float>& pictures, std::size_t first) {
          const Tensor<float> part = classifier.features(clamped(pictures));
          if (!labels) return part;
          const auto found = classifier.classes(part);
          for (std::size_t i = 0; i < found.size(); ++i) agreed += found[i] == labels(first + i);
          return part;
        });
    processes.all_reduce(std::span<double>(&agreed, 1));
    if (!is_root(processes)) return {};
    nlohmann::json result = compared(features, reference, neighbours);
    note_sampling(result, sampling);
    if (labels) result["class_agreement"] = agreed / static_cast<double>(count);
    return result;
  }

 private:
  /// As they are once they are pictures of 8 bits.
  [[nodiscard]] static Tensor<float> clamped(const Tensor<float>& pictures) {
    Tensor<float> result(pictures.shape());
    std::ranges::transform(pictures.span(), result.data(), [](float value) {
      return meanflow::unit_from_pixel(meanflow::pixel_from_unit(value));
    });
    return result;
  }
};

void print_row(const std::string& name, const nlohmann::json& row) {
  const auto& kernel = row.at("classifier_kernel_distance");
  std::printf("%-34s %10.4f %12.5f +- %.5f", name.c_str(),
              row.at("classifier_frechet_distance").get<double>(), kernel.at("mean").get<double>(),
              kernel.at("standard_deviation").get<double>());
  int skipped = 0;  // blanks are printed once something follows them
  const auto share = [&](const char* key, int width, int digits, double factor, const char* unit) {
    if (row.contains(key))
      std::printf("%*.*f%s", width + std::exchange(skipped, 0), digits,
                  factor * row.at(key).get<double>(), unit);
    else
      skipped += width;
  };
  share("precision", 13, 3, 1, "");
  share("recall", 9, 3, 1, "");
  share("class_agreement", 12, 1, 100, " %");
  std::printf("\n");
  std::fflush(stdout);
}

/// By the features that papers use.
void evaluate_as_published(const EvaluateRequest& request, const Model& model,
                           const Settings& settings, const Sampling& how,
                           const meanflow::ImageSet& pictures) {
  const std::size_t count = request.count > 0 ? request.count : 50'000;
  const std::filesystem::path reference =
      request.reference.empty()
          ? run_folder(request.checkpoint) / "inception_statistics.safetensors"
          : request.reference;
  const Published published(request.processes, request.inception, reference, pictures);
  const bool root = is_root(request.processes);
  if (root) print_published_head();
  nlohmann::json results = nlohmann::json::array();
  for (const std::size_t nfe : request.nfe.empty() ? settings.evaluate.nfe : request.nfe) {
    Sampling sampling = how;
    sampling.nfe = nfe;
    results.push_back(published.measure(model, count, sampling));
    if (!root) continue;
    note_sampling(results.back(), sampling);
    print_published(row_name(count, sampling), results.back());
  }
  if (!root || request.out.empty()) return;
  write_json(request.out, {{"measure", "as published, by the Inception network"},
                           {"inception", request.inception.string()},
                           {"reference", reference.string()},
                           {"reference_count", published.reference_count()},
                           {"checkpoint", request.checkpoint.string()},
                           {"step", model.identity().step},
                           {"average", request.average},
                           {"count", count},
                           {"results", results},
                           {"configuration", to_yaml(settings)}});
}

}  // namespace

void evaluate(const EvaluateRequest& request) {
  const meanflow::AnyCommunicator& processes = request.processes;
  const bool root = is_root(processes);
  by_root(processes, [&] { prepare_output(request.out); });
  const Model model(request.checkpoint, request.average, request.where, request.config);
  const Settings settings = with_changes(model.identity().settings, request.changes);
  const Sampling how{.seed = request.seed.value_or(settings.evaluate.seed),
                     .guidance = request.guidance.value_or(settings.sample.guidance),
                     .input = guidance_input(settings, request.omega, request.interval),
                     .solver = request.solver,
                     .batch = request.batch};
  check_guidance(settings, how);
  if (how.guidance != 1 && model.classes() == 0)
    throw meanflow::SettingError("guidance at sampling needs a net that was trained with classes");
  const Pictures pictures = load_pictures(settings.data, request.data);
  if (format_of(pictures.training) != model.identity().format)
    throw meanflow::SettingError(
        request.data.string() + ": its pictures are not of the format that the net was trained on");
  if (!request.inception.empty())
    return evaluate_as_published(request, model, settings, how, pictures.training);
  const std::filesystem::path path = request.classifier.empty()
                                         ? run_folder(request.checkpoint) / "classifier.safetensors"
                                         : request.classifier;
  if (pictures.test.count < 2)
    throw meanflow::SettingError(request.data.string() +
                                 ": evaluate needs 2 test pictures, but has " +
                                 std::to_string(pictures.test.count) +
                                 "; of pictures of your own every tenth is one, so take 20");
  by_root(processes, [&] { train_missing_classifier(path, settings, pictures); });
  const Classifier classifier =
      load_classifier(path, format_of(pictures.training), settings.classifier);
  if (root) {
    std::printf("classifier: %s, test accuracy %.1f %%\n", classifier.name().c_str(),
                100 * classifier.test_accuracy);
    warn_of_chance(classifier);
  }

  const std::size_t count = request.count > 0 ? request.count : settings.evaluate.count;
  const Features reference =
      features_of(processes, classifier, pictures.training, pictures.training.count);
  const std::size_t real = std::min(count, pictures.test.count);
  const Features test =
      some_of(features_of(processes, classifier, pictures.test, pictures.test.count), real);
  // The same number for every row of the table, and one among which neighbours are found in
  // seconds.
  const std::size_t neighbours = std::min({real, pictures.training.count, std::size_t{5000}});
  nlohmann::json floor;
  if (root) {
    floor = compared(test, reference, neighbours);
    floor["count"] = real;
    std::printf("%-34s %10s %12s %23s%9s%s\n", "", "Frechet*", "kernel*", "precision*", "recall*",
                model.classes() > 0 ? "  as requested" : "");
    print_row(std::to_string(real) + " real test pictures (floor)", floor);
  }

  nlohmann::json results = nlohmann::json::array();
  for (const std::size_t nfe : request.nfe.empty() ? settings.evaluate.nfe : request.nfe) {
    Sampling sampling = how;
    sampling.nfe = nfe;
    results.push_back(
        Evaluation{processes, model, classifier, reference, count, neighbours}.run(sampling));
    if (!root) continue;
    print_row(row_name(count, sampling), results.back());
  }
  if (!root) return;
  std::printf("* %s\n", measure);
  if (request.out.empty()) return;
  write_json(request.out, {{"measure", measure},
                           {"classifier",
                            {{"name", classifier.name()},
                             {"test_accuracy", classifier.test_accuracy},
                             {"features", classifier.net.features()}}},
                           {"checkpoint", request.checkpoint.string()},
                           {"step", model.identity().step},
                           {"average", request.average},
                           {"count", count},
                           {"reference_count", pictures.training.count},
                           {"precision_rows", neighbours},
                           {"floor", floor},
                           {"results", results},
                           {"configuration", to_yaml(settings)}});
}

}  // namespace cifar10
