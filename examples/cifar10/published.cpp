// SPDX-License-Identifier: MIT
#include "published.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

#include <unistd.h>
#include <zlib.h>

#include <meanflow/eval/inception_score.hpp>
#include <meanflow/eval/kernel_distance.hpp>
#include <meanflow/eval/precision_recall.hpp>
#include <meanflow/io/safetensors.hpp>
#include <meanflow/train/agreement.hpp>
#include <meanflow/train/sharing.hpp>

#include "classifier.hpp"
#include "data.hpp"
#include "measured.hpp"
#include "output.hpp"

namespace cifar10 {

namespace {

using meanflow::Inception;
using meanflow::InceptionOutput;
using meanflow::Tensor;

constexpr std::size_t kept_rows = 10000;  // that neighbours are looked for among

/// Says how many pictures have been looked at: on a terminal in one line, else every minute.
class Counter {
 public:
  Counter(std::string what, std::size_t count, bool speaks)
      : what_(std::move(what)), count_(count), speaks_(speaks) {}
  ~Counter() {
    if (speaks_ && terminal_ && done_ > 0) std::fputc('\n', stderr);
  }
  Counter(const Counter&) = delete;
  Counter& operator=(const Counter&) = delete;

  void add(std::size_t pictures) {
    done_ += pictures;
    const double now = seconds();
    if (!speaks_ || (done_ < count_ && now - shown_ < (terminal_ ? 1 : 60))) return;
    shown_ = now;
    const double rate = static_cast<double>(done_) / std::max(now, 1e-9);
    std::fprintf(stderr, "%s%s: %zu of %zu pictures, %.1f a second, %.0f min left%s",
                 terminal_ ? "\r" : "", what_.c_str(), done_, count_, rate,
                 static_cast<double>(count_ - done_) / rate / 60, terminal_ ? "  " : "\n");
    std::fflush(stderr);
  }

 private:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
  }

  std::string what_;
  std::size_t count_, done_ = 0;
  bool speaks_, terminal_ = isatty(STDERR_FILENO) != 0;
  double shown_ = 0;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

/// What is asked of the network: the logits serve the inception score alone.
enum class Outputs { features, features_and_logits };

/// What the network sees in `count` pictures, of which each process looks at its share.
template <class Pictures>
[[nodiscard]] InceptionOutput run_inception(const meanflow::AnyCommunicator& processes,
                                            const Inception& inception, Outputs outputs,
                                            std::size_t count, std::size_t batch,
                                            const std::string& what, Pictures pictures) {
  const bool with_logits = outputs == Outputs::features_and_logits;
  InceptionOutput all{Tensor<float>({count, Inception::feature_count}),
                      Tensor<float>({with_logits ? count : 0, Inception::class_count})};
  const auto share = row_share(processes, count);
  Counter counter(what, share.end - share.first, is_root(processes));
  for_each_batch(share, batch, pictures, [&](const Tensor<float>& some, std::size_t first) {
    const InceptionOutput seen = inception(some);
    std::ranges::copy(seen.features.span(), all.features.row(first));
    if (with_logits) std::ranges::copy(seen.logits.span(), all.logits.row(first));
    counter.add(some.rows());
  });
  gather_rows(processes, all.features);
  if (with_logits) gather_rows(processes, all.logits);
  return all;
}

/// A number that tells files of weights apart, by their last layer.
[[nodiscard]] std::string checksum_of(const std::filesystem::path& path) {
  const meanflow::Safetensors file(path);
  const auto weights = file.read<float>("fc.weight");
  return std::to_string(
      crc32_z(0, reinterpret_cast<const Bytef*>(weights.data()), weights.size() * sizeof(float)));
}

/// Throws meanflow::SettingError if the reference is of other pictures or of another network.
void check_reference(const Reference& reference, const std::filesystem::path& path,
                     const std::string& pictures, const std::string& network, bool speaks) {
  if (reference.pictures.empty() && speaks)
    std::fprintf(stderr, "%s does not say of which pictures and which network it is\n",
                 path.c_str());
  const auto check = [&](const std::string& found, const std::string& wanted, const char* what) {
    if (!found.empty() && found != wanted)
      throw meanflow::SettingError(path.string() + " holds statistics of other " + what +
                                   ": give another --reference, or remove it");
  };
  check(reference.pictures, pictures, "pictures");
  check(reference.network, network, "weights of the Inception network");
}

[[nodiscard]] Reference reference_of(const meanflow::AnyCommunicator& processes,
                                     const Inception& inception,
                                     const std::filesystem::path& weights,
                                     const std::filesystem::path& path,
                                     const meanflow::ImageSet& pictures) {
  const std::string of_pictures = fingerprint(pictures), of_network = checksum_of(weights);
  if (std::filesystem::exists(path)) {
    Reference reference = Reference::load(path);
    check_reference(reference, path, of_pictures, of_network, is_root(processes));
    return reference;
  }
  by_root(processes, [&] { prepare_output(path); });
  const InceptionOutput seen =
      run_inception(processes, inception, Outputs::features, pictures.count, 64,
                    "training pictures", [&](std::size_t first, std::size_t size) {
                      return to_tensor(pictures, first, first + size);
                    });
  Reference reference{
      {}, some_rows(seen.features, std::min(kept_rows, pictures.count)), of_pictures, of_network};
  reference.statistics.add(seen.features);
  by_root(processes, [&] {
    reference.save(path);
    std::fprintf(stderr, "their statistics are saved as %s\n", path.c_str());
  });
  return reference;
}

}  // namespace

Reference Reference::load(const std::filesystem::path& path) {
  Reference reference{meanflow::load_statistics(path)};
  const meanflow::Safetensors file(path);
  if (reference.statistics.dimension() != Inception::feature_count)
    throw meanflow::FileError(
        path.string() + " holds statistics of " + std::to_string(reference.statistics.dimension()) +
        " features, expected the " + std::to_string(Inception::feature_count) +
        " of the Inception network");
  const auto note = [&](const char* key) {
    const auto found = file.metadata().find(key);
    return found == file.metadata().end() ? std::string() : found->second;
  };
  reference.pictures = note("pictures");
  reference.network = note("network");
  if (!file.contains("rows")) return reference;
  const auto& extents = file.shape("rows");
  if (extents.size() != 2 || extents[1] != Inception::feature_count)
    throw meanflow::FileError(path.string() + ": rows are not of " +
                              std::to_string(Inception::feature_count) + " features");
  reference.some = Tensor<float>({extents[0], extents[1]});
  file.read_into<float>("rows", reference.some.span());
  return reference;
}

void Reference::save(const std::filesystem::path& path) const {
  meanflow::SafetensorsWriter writer;
  writer.metadata("features", "Inception, 2015-12-05");
  writer.metadata("pictures", pictures);
  writer.metadata("network", network);
  add_statistics(writer, statistics);
  writer.add_view("rows", {some.rows(), some.row_size()}, some.span());
  writer.write(path);
}

Published::Published(const meanflow::AnyCommunicator& processes,
                     const std::filesystem::path& weights, const std::filesystem::path& reference,
                     const meanflow::ImageSet& pictures)
    : processes_(processes),
      inception_(weights),
      reference_(reference_of(processes, inception_, weights, reference, pictures)) {}

nlohmann::json Published::measure(const Model& model, std::size_t count,
                                  const Sampling& sampling) const {
  const Labels labels = labels_in_turn(model.classes());
  const InceptionOutput seen =
      run_inception(processes_, inception_, Outputs::features_and_logits, count, sampling.batch,
                    "samples", [&](std::size_t first, std::size_t size) {
                      return model.sample(first, size, labels, sampling);
                    });
  if (!is_root(processes_)) return {};
  meanflow::FeatureStatistics statistics;
  statistics.add(seen.features);
  const auto score = meanflow::inception_score(seen.logits, std::min<std::size_t>(10, count));
  nlohmann::json result{{"fid", meanflow::frechet_distance(statistics, reference_.statistics)},
                        {"inception_score",
                         {{"mean", score.mean}, {"standard_deviation", score.standard_deviation}}}};
  if (reference_.some.empty()) return result;
  const std::size_t rows = std::min(count, reference_.some.rows());
  const auto kernel = meanflow::kernel_distance_of_subsets(
      seen.features, reference_.some, {.subset_size = std::min<std::size_t>(rows, 1000)});
  result["kid"] = {{"mean", kernel.mean}, {"standard_deviation", kernel.standard_deviation}};
  if (rows < 10) return result;
  const Tensor<float> some = some_rows(seen.features, rows), others = reference_.some.rows(0, rows);
  const auto found = meanflow::precision_recall(some.span(), others.span(), some.row_size());
  result["precision"] = found.precision;
  result["recall"] = found.recall;
  result["precision_rows"] = rows;
  return result;
}

void print_published_head() {
  std::printf("%-34s %10s %16s %22s %10s %8s\n", "", "FID", "IS", "KID", "precision", "recall");
}

void print_published(const std::string& name, const nlohmann::json& measures) {
  const auto& score = measures.at("inception_score");
  std::printf("%-34s %10.4f %8.3f +- %.3f", name.c_str(), measures.at("fid").get<double>(),
              score.at("mean").get<double>(), score.at("standard_deviation").get<double>());
  if (measures.contains("kid"))
    std::printf("   %.5f +- %.5f", measures.at("kid").at("mean").get<double>(),
                measures.at("kid").at("standard_deviation").get<double>());
  if (measures.contains("precision"))
    std::printf(" %10.3f %8.3f", measures.at("precision").get<double>(),
                measures.at("recall").get<double>());
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace cifar10
