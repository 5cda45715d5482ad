// SPDX-License-Identifier: MIT
// What a configuration can state. Where the library has a type for it, that type is the setting.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include <meanflow/flow/alpha_flow.hpp>
#include <meanflow/flow/guidance.hpp>
#include <meanflow/flow/guidance_input.hpp>
#include <meanflow/flow/imf.hpp>
#include <meanflow/flow/loss_weighting.hpp>
#include <meanflow/flow/mean_flow.hpp>
#include <meanflow/flow/split_mean_flow.hpp>
#include <meanflow/flow/time_sampler.hpp>
#include <meanflow/kernels/convolution_algorithm.hpp>
#include <meanflow/kernels/precision.hpp>
#include <meanflow/nn/attention_unet.hpp>
#include <meanflow/nn/dit.hpp>
#include <meanflow/nn/imf_transformer.hpp>
#include <meanflow/nn/mean_flow_net.hpp>
#include <meanflow/nn/song_unet.hpp>
#include <meanflow/optim/adam.hpp>
#include <meanflow/optim/ema.hpp>
#include <meanflow/optim/learning_rate.hpp>

namespace cifar10 {

/// `folder` is one of PNG and JPEG files; `array` one with images.npy and, if there are classes,
/// labels.npy; `latents` one of an autoencoder's means and deviations (`meanflow::load_latents`).
enum class DataKind { cifar10, mnist, folder, array, latents };

struct DataSettings {
  DataKind kind = DataKind::cifar10;
  double fraction = 1;   ///< share of the training pictures that is used
  bool labels = true;    ///< whether the net is told the classes
  bool flip = true;      ///< mirror half of the pictures, untold
  bool augment = false;  ///< `meanflow::AugmentPipe`, told to the net
  double latent_scale = 0.18215;
};

/// A transformer, and whether it predicts clean data (`meanflow::XPrediction`).
struct DiTNet : meanflow::DiTSettings {
  bool x_prediction = false;
};
struct ImfNet : meanflow::ImfTransformerSettings {
  bool x_prediction = false;
};

using NetSettings = std::variant<meanflow::MeanFlowNetSettings, meanflow::SongUNetSettings, DiTNet,
                                 ImfNet, meanflow::AttentionUNetSettings>;
using TimesSettings =
    std::variant<meanflow::LogitNormalTimes, meanflow::UniformTimes, meanflow::DyadicTimes>;
using ObjectiveSettings =
    std::variant<meanflow::MeanFlow, meanflow::ImprovedMeanFlow, meanflow::FlowMatching,
                 meanflow::AlphaFlow, meanflow::SplitMeanFlow, meanflow::ImfObjective>;

struct TrainSettings {
  std::uint64_t steps = 10000;
  std::size_t batch = 32;
  double clip_norm = 0;  ///< 0: no clipping
  meanflow::ConditionDropout label_dropout{};
  std::uint64_t seed = 0;
  std::size_t tile_rows = 0;  ///< 0: chosen by the trainer
  meanflow::Precision precision = meanflow::Precision::float32;
  meanflow::ConvolutionAlgorithm convolutions = meanflow::ConvolutionAlgorithm::automatic;
  bool shard_optimizer = false;  ///< each process has its part of Adam's moments alone
  bool deterministic = false;    ///< the same bits for any number of processes; needs tile_rows
};

struct LogSettings {
  std::uint64_t every = 50;
  bool each_process = false;  ///< each of several processes has a log of its own besides
};

struct CheckpointSettings {
  std::uint64_t every = 1000;
  std::size_t keep = 3;
};

/// The pictures of a training run, and the defaults of `cifar10 sample`.
struct SampleSettings {
  std::uint64_t every = 1000;  ///< training steps between pictures; 0: only at the end
  std::size_t count = 80;
  std::size_t nfe = 1;
  std::uint64_t seed = 0;
  double guidance = 1;              ///< scale of guidance at sampling; 1: none
  meanflow::GuidanceInput input{};  ///< guidance that the net is told, if it is one that takes it
};

struct EvaluateSettings {
  std::size_t count = 10000;
  std::vector<std::size_t> nfe = {1, 2, 4};
  std::uint64_t seed = 1;
};

/// The small net whose features measure the samples.
struct ClassifierSettings {
  std::size_t width = 32;
  std::size_t epochs = 5;
  std::size_t batch = 128;
  double learning_rate = 2e-3;
  std::uint64_t seed = 0;
};

struct Settings {
  DataSettings data{};
  NetSettings net{};
  TimesSettings times{};
  meanflow::AdaptiveWeighting weighting{};
  ObjectiveSettings objective{};
  meanflow::Guidance guidance{};
  meanflow::Adam optimizer{};
  meanflow::LearningRate learning_rate{.peak = 3e-4, .decay = meanflow::Decay::constant};
  std::vector<meanflow::Averaging> averages{meanflow::ConstantEma{}};
  TrainSettings train{};
  LogSettings log{};
  CheckpointSettings checkpoint{};
  SampleSettings sample{};
  EvaluateSettings evaluate{};
  ClassifierSettings classifier{};
};

/// Where a command works: on the processor or a GPU.
struct Where {
  bool cuda = false;
  int number = 0;  ///< of the GPU
};

/// What is known about the pictures without reading them.
struct ImageFormat {
  std::size_t height = 32, width = 32, channels = 3, classes = 10;

  friend bool operator==(const ImageFormat&, const ImageFormat&) = default;
};

// ------------------------------------------------------------------------ names in a file

template <class E>
struct NamesOf;  ///< of an enumeration's values

template <>
struct NamesOf<DataKind> {
  static constexpr std::array all{
      std::pair{"cifar10", DataKind::cifar10}, std::pair{"mnist", DataKind::mnist},
      std::pair{"folder", DataKind::folder}, std::pair{"array", DataKind::array},
      std::pair{"latents", DataKind::latents}};
};

template <>
struct NamesOf<meanflow::Pairing> {
  static constexpr std::array all{std::pair{"sort_then_equal", meanflow::Pairing::sort_then_equal},
                                  std::pair{"equal_then_min", meanflow::Pairing::equal_then_min}};
};

template <>
struct NamesOf<meanflow::JumpCount> {
  static constexpr std::array all{std::pair{"exact", meanflow::JumpCount::exact},
                                  std::pair{"by_chance", meanflow::JumpCount::by_chance}};
};

template <>
struct NamesOf<meanflow::DropCount> {
  static constexpr std::array all{std::pair{"exact", meanflow::DropCount::exact},
                                  std::pair{"by_chance", meanflow::DropCount::by_chance}};
};

template <>
struct NamesOf<meanflow::Reduction> {
  static constexpr std::array all{std::pair{"sum", meanflow::Reduction::sum},
                                  std::pair{"mean", meanflow::Reduction::mean}};
};

template <>
struct NamesOf<meanflow::JvpMode> {
  static constexpr std::array all{std::pair{"joint", meanflow::JvpMode::joint},
                                  std::pair{"detached", meanflow::JvpMode::detached}};
};

template <>
struct NamesOf<meanflow::GapSchedule::Shape> {
  static constexpr std::array all{
      std::pair{"sigmoid", meanflow::GapSchedule::Shape::sigmoid},
      std::pair{"exponential", meanflow::GapSchedule::Shape::exponential}};
};

template <>
struct NamesOf<meanflow::Precision> {
  static constexpr std::array all{std::pair{"float32", meanflow::Precision::float32},
                                  std::pair{"bfloat16", meanflow::Precision::bfloat16},
                                  std::pair{"tf32", meanflow::Precision::tf32}};
};

template <>
struct NamesOf<meanflow::ConvolutionAlgorithm> {
  static constexpr std::array all{std::pair{"automatic", meanflow::ConvolutionAlgorithm::automatic},
                                  std::pair{"direct", meanflow::ConvolutionAlgorithm::direct}};
};

template <>
struct NamesOf<meanflow::Decay> {
  static constexpr std::array all{std::pair{"constant", meanflow::Decay::constant},
                                  std::pair{"cosine", meanflow::Decay::cosine}};
};

/// The key that chooses among the types of a variant, and their names in its order.
template <class V>
struct ChoiceOf;

template <>
struct ChoiceOf<NetSettings> {
  static constexpr const char* key = "kind";
  static constexpr std::array names{"mean_flow_net", "song_unet", "dit", "imf_transformer",
                                    "attention_unet"};
};

template <>
struct ChoiceOf<TimesSettings> {
  static constexpr const char* key = "distribution";
  static constexpr std::array names{"logit_normal", "uniform", "dyadic"};
};

template <>
struct ChoiceOf<ObjectiveSettings> {
  static constexpr const char* key = "kind";
  static constexpr std::array names{"meanflow",   "improved_meanflow", "flow_matching",
                                    "alpha_flow", "split_meanflow",    "imf"};
};

template <>
struct ChoiceOf<meanflow::Averaging> {
  static constexpr const char* key = "rule";
  static constexpr std::array names{"constant", "half_life", "warmup"};
};

// --------------------------------------------------------------- keys, values, ranges

/// The numbers that a setting may have.
struct Range {
  double low = -1e300, high = 1e300;
  bool above = false;         ///< low itself is not allowed
  bool may_be_empty = false;  ///< of a list: none at all is allowed
};

inline constexpr Range any{}, not_negative{0}, positive{0, 1e300, true}, at_least_one{1},
    share{0, 1}, positive_share{0, 1, true}, below_one{0, 0.99999999};

/// Calls visit(key, value, range) for each setting of a section.
template <class Visit>
void describe(DataSettings& s, Visit&& visit) {
  visit("kind", s.kind);
  visit("fraction", s.fraction, positive_share);
  visit("labels", s.labels);
  visit("flip", s.flip);
  visit("augment", s.augment);
  visit("latent_scale", s.latent_scale, positive);
}

template <class Visit>
void describe(meanflow::MeanFlowNetSettings& s, Visit&& visit) {
  visit("patch_size", s.patch_size, at_least_one);
  visit("base", s.base, at_least_one);
  visit("multipliers", s.multipliers, at_least_one);
  visit("blocks", s.blocks, at_least_one);
  visit("embedding", s.embedding, Range{4});
  visit("condition", s.condition, at_least_one);
  visit("attention_levels", s.attention_levels, Range{.low = 0, .may_be_empty = true});
  visit("recompute", s.recompute);
}

template <class Visit>
void describe(DiTNet& s, Visit&& visit) {
  visit("patch_size", s.patch_size, at_least_one);
  visit("hidden_size", s.hidden_size, at_least_one);
  visit("depth", s.depth, at_least_one);
  visit("heads", s.heads, at_least_one);
  visit("mlp_ratio", s.mlp_ratio, positive);
  visit("time_scale", s.time_scale, positive);
  visit("x_prediction", s.x_prediction);
  visit("recompute", s.recompute);
}

template <class Visit>
void describe(ImfNet& s, Visit&& visit) {
  visit("patch_size", s.patch_size, at_least_one);
  visit("hidden_size", s.hidden_size, at_least_one);
  visit("depth", s.depth, at_least_one);
  visit("head_depth", s.head_depth);
  visit("heads", s.heads, at_least_one);
  visit("mlp_ratio", s.mlp_ratio, positive);
  visit("class_tokens", s.class_tokens, at_least_one);
  visit("omega_tokens", s.omega_tokens, at_least_one);
  visit("interval_tokens", s.interval_tokens, at_least_one);
  visit("time_tokens", s.time_tokens, at_least_one);
  visit("guidance_frequency", s.guidance_frequency, positive);
  visit("x_prediction", s.x_prediction);
  visit("recompute", s.recompute);
}

template <class Visit>
void describe(meanflow::AttentionUNetSettings& s, Visit&& visit) {
  visit("dimension", s.dimension, Range{4});
  visit("multipliers", s.multipliers, at_least_one);
  visit("blocks", s.blocks, at_least_one);
  visit("heads", s.heads, at_least_one);
  visit("recompute", s.recompute);
}

template <class Visit>
void describe(meanflow::SongUNetSettings& s, Visit&& visit) {
  visit("dropout", s.dropout, Range{0, 0.999999});
  visit("model_channels", s.model_channels, at_least_one);
  visit("channel_mult", s.channel_mult, at_least_one);
  visit("channel_mult_emb", s.channel_mult_emb, at_least_one);
  visit("channel_mult_noise", s.channel_mult_noise, at_least_one);
  visit("blocks", s.blocks, at_least_one);
  visit("attention_resolutions", s.attention_resolutions, Range{.low = 1, .may_be_empty = true});
  visit("resample_filter", s.resample_filter);
  visit("recompute", s.recompute);
}

template <class Visit>
void describe(meanflow::LogitNormalTime& s, Visit&& visit) {
  visit("mean", s.mean);
  visit("deviation", s.deviation, positive);
}

template <class Time, class Visit>
void describe_pairs(meanflow::PairedTimes<Time>& s, Visit&& visit) {
  visit("jump_fraction", s.jump_fraction, share);
  visit("pairing", s.pairing);
  visit("count", s.count);
}

template <class Visit>
void describe(meanflow::LogitNormalTimes& s, Visit&& visit) {
  visit("t", s.t);
  visit("r", s.r);
  describe_pairs(s, visit);
}

template <class Visit>
void describe(meanflow::UniformTimes& s, Visit&& visit) {
  describe_pairs(s, visit);
}

template <class Visit>
void describe(meanflow::DyadicTimes& s, Visit&& visit) {
  visit("levels", s.levels, Range{1, 24});
  visit("jump_fraction", s.jump_fraction, share);
}

template <class Visit>
void describe(meanflow::AdaptiveWeighting& s, Visit&& visit) {
  visit("p", s.p, not_negative);
  visit("epsilon", s.epsilon, positive);
  visit("reduction", s.reduction);
}

template <class Visit>
void describe(meanflow::TangentOptions& s, Visit&& visit) {
  visit("mixing", s.mixing, share);
  visit("normalise", s.normalise, not_negative);
  visit("clip", s.clip, not_negative);
  visit("warmup_steps", s.warmup_steps);
  visit("difference", s.difference, not_negative);
  visit("float32", s.float32);
}

template <class Visit>
void describe(meanflow::MeanFlow& s, Visit&& visit) {
  visit("mode", s.mode);
  visit("tangent", s.tangent);
}

template <class Visit>
void describe(meanflow::GapSchedule& s, Visit&& visit) {
  visit("shape", s.shape);
  visit("from", s.from, share);
  visit("to", s.to, share);
  visit("begin", s.begin, share);
  visit("end", s.end, share);
  visit("steepness", s.steepness, positive);
}

template <class Visit>
void describe(meanflow::AlphaFlow& s, Visit&& visit) {
  visit("gap", s.gap);
  visit("divided", s.divided);
  visit("derivative_below", s.derivative_below, Range{0, 0.5});
  visit("least_gap", s.least_gap, positive_share);
  visit("mode", s.mode);
}

template <class Visit>
void describe(meanflow::SplitMeanFlow& s, Visit&& visit) {
  visit("halves", s.halves);
  bool from_average = s.average.has_value();
  visit("from_average", from_average);
  s.average = from_average ? std::optional<std::size_t>(0) : std::nullopt;
}

template <class Visit>
void describe(meanflow::GuidanceDraw& s, Visit&& visit) {
  visit("omega_max", s.omega_max, at_least_one);
  visit("beta", s.beta);
  visit("t_min_max", s.t_min_max, share);
  visit("t_max_min", s.t_max_min, share);
}

template <class Visit>
void describe(meanflow::ConditionDropout& s, Visit&& visit) {
  visit("rate", s.rate, share);
  visit("count", s.count);
}

template <class Visit>
void describe(meanflow::ImfObjective& s, Visit&& visit) {
  visit("guidance", s.guidance);
  visit("dropout", s.dropout);
}

template <class Visit>
void describe(meanflow::GuidanceInput& s, Visit&& visit) {
  visit("omega", s.omega, at_least_one);
  visit("t_min", s.t_min, share);
  visit("t_max", s.t_max, share);
}

template <class Visit>
void describe(meanflow::ImprovedMeanFlow& s, Visit&& visit) {
  visit("mode", s.mode);
  visit("net_dropout", s.net_dropout);
}

template <class Visit>
void describe(meanflow::FlowMatching&, Visit&&) {}

template <class Visit>
void describe(meanflow::Guidance& s, Visit&& visit) {
  visit("omega", s.omega);
  visit("kappa", s.kappa, Range{0, 0.999999});
  visit("t_start", s.t_start, share);
  visit("t_end", s.t_end, share);
  visit("net_dropout", s.net_dropout);
}

template <class Visit>
void describe(meanflow::Adam& s, Visit&& visit) {
  visit("beta1", s.beta1, below_one);
  visit("beta2", s.beta2, below_one);
  visit("epsilon", s.epsilon, positive);
  visit("weight_decay", s.weight_decay, not_negative);
  visit("decoupled", s.decoupled);
}

template <class Visit>
void describe(meanflow::LearningRate& s, Visit&& visit) {
  visit("peak", s.peak, positive);
  visit("warmup_steps", s.warmup_steps);
  visit("warmup_start", s.warmup_start, not_negative);
  visit("decay", s.decay);
  visit("final_fraction", s.final_fraction, share);
}

template <class Visit>
void describe(meanflow::ConstantEma& s, Visit&& visit) {
  visit("decay", s.decay, share);
}

template <class Visit>
void describe(meanflow::HalfLifeEma& s, Visit&& visit) {
  visit("half_life", s.half_life, positive);
  visit("rampup", s.rampup, positive);
}

template <class Visit>
void describe(meanflow::WarmupEma& s, Visit&& visit) {
  visit("max_decay", s.max_decay, share);
}

template <class Visit>
void describe(TrainSettings& s, Visit&& visit) {
  visit("steps", s.steps, at_least_one);
  visit("batch", s.batch, at_least_one);
  visit("clip_norm", s.clip_norm, not_negative);
  visit("label_dropout", s.label_dropout);
  visit("seed", s.seed);
  visit("tile_rows", s.tile_rows);
  visit("precision", s.precision);
  visit("convolutions", s.convolutions);
  visit("shard_optimizer", s.shard_optimizer);
  visit("deterministic", s.deterministic);
}

template <class Visit>
void describe(LogSettings& s, Visit&& visit) {
  visit("every", s.every, at_least_one);
  visit("each_process", s.each_process);
}

template <class Visit>
void describe(CheckpointSettings& s, Visit&& visit) {
  visit("every", s.every);
  visit("keep", s.keep, at_least_one);
}

template <class Visit>
void describe(SampleSettings& s, Visit&& visit) {
  visit("every", s.every);
  visit("count", s.count, at_least_one);
  visit("nfe", s.nfe, at_least_one);
  visit("seed", s.seed);
  visit("guidance", s.guidance);
  visit("input", s.input);
}

template <class Visit>
void describe(EvaluateSettings& s, Visit&& visit) {
  visit("count", s.count, Range{2});
  visit("nfe", s.nfe, at_least_one);
  visit("seed", s.seed);
}

template <class Visit>
void describe(ClassifierSettings& s, Visit&& visit) {
  visit("width", s.width, Range{4});
  visit("epochs", s.epochs, at_least_one);
  visit("batch", s.batch, at_least_one);
  visit("learning_rate", s.learning_rate, positive);
  visit("seed", s.seed);
}

template <class Visit>
void describe(Settings& s, Visit&& visit) {
  visit("data", s.data);
  visit("net", s.net);
  visit("times", s.times);
  visit("weighting", s.weighting);
  visit("objective", s.objective);
  visit("guidance", s.guidance);
  visit("optimizer", s.optimizer);
  visit("learning_rate", s.learning_rate);
  visit("averages", s.averages);
  visit("train", s.train);
  visit("log", s.log);
  visit("checkpoint", s.checkpoint);
  visit("sample", s.sample);
  visit("evaluate", s.evaluate);
  visit("classifier", s.classifier);
}

}  // namespace cifar10
