// SPDX-License-Identifier: MIT
#include "classifier.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <span>
#include <utility>

#include <meanflow/data/image_source.hpp>
#include <meanflow/io/parameters.hpp>
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/kernels/cpu/conv.hpp>
#include <meanflow/kernels/cpu/norm.hpp>
#include <meanflow/ops/softmax.hpp>
#include <meanflow/optim/adam.hpp>
#include <meanflow/optim/learning_rate.hpp>
#include <meanflow/optim/update.hpp>

#include "data.hpp"
#include "format_json.hpp"

namespace cifar10 {

namespace {

using meanflow::Cpu;
using meanflow::Tensor;

/// The gradient by the scores (B, classes) of the cross-entropy, summed over rows and divided by
/// `batch`: (softmax(scores) - one_hot(label)) / batch.
[[nodiscard]] Tensor<float> cross_entropy_gradient(const Tensor<float>& scores,
                                                   const Tensor<std::int32_t>& labels,
                                                   std::size_t batch) {
  Tensor<float> gradient = meanflow::softmax(scores);
  for (std::size_t i = 0; i < gradient.rows(); ++i)
    gradient.row(i)[static_cast<std::size_t>(labels[i])] -= 1;
  for (float& value : gradient.span()) value /= static_cast<float>(batch);
  return gradient;
}

/// Adam on the cross-entropy; each core takes its share of the rows forward and back.
class ClassifierTrainer {
 public:
  explicit ClassifierTrainer(const ClassifierNet& net)
      : net_(net), gradient_({net.parameters().flat_size()}), adam_(net.parameters(), {}) {}

  void step(const Tensor<float>& x, const Tensor<std::int32_t>& labels, double learning_rate) {
    const std::size_t tiles = std::min(x.rows(), meanflow::kernels::workers(Cpu{}));
    while (lanes_.size() < tiles) lanes_.push_back(std::make_unique<Lane>(net_));
    parallel_tasks(Cpu{}, tiles, [&](std::size_t tile, std::size_t lane) {
      const std::size_t first = x.rows() * tile / tiles, last = x.rows() * (tile + 1) / tiles;
      meanflow::Tape<float>& tape = lanes_[lane]->tape;
      tape.clear();
      const auto scores = net_.scores(net_.features(meanflow::Var(tape, x.rows(first, last))));
      tape.backward(scores.node(),
                    cross_entropy_gradient(scores.value(), labels.rows(first, last), x.rows()));
    });
    fill(Cpu{}, gradient_.size(), 0.0F, gradient_.data());
    for (const auto& lane : lanes_) {
      accumulate(Cpu{}, gradient_.size(), lane->gradient.data(), gradient_.data());
      fill(Cpu{}, gradient_.size(), 0.0F, lane->gradient.data());
    }
    adam_.step(net_.parameters(), gradient_, learning_rate);
  }

 private:
  struct Lane {
    explicit Lane(const ClassifierNet& net)
        : gradient(Tensor<float>::zeros({net.parameters().flat_size()})) {
      tape.bind(net.parameters(), gradient);
    }
    meanflow::Tape<float> tape;
    Tensor<float> gradient;
  };

  const ClassifierNet& net_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  Tensor<float> gradient_;
  meanflow::ParameterUpdate<meanflow::Adam, float, Cpu> adam_;
};

[[nodiscard]] double accuracy(const Classifier& classifier, const meanflow::ImageSet& set) {
  const std::size_t batch = 500;
  std::size_t right = 0;
  for (std::size_t first = 0; first < set.count; first += batch) {
    const std::size_t last = std::min(first + batch, set.count);
    const auto found = classifier.classes(classifier.features(to_tensor(set, first, last)));
    for (std::size_t i = 0; i < found.size(); ++i) right += found[i] == set.labels[first + i];
  }
  return static_cast<double>(right) / static_cast<double>(set.count);
}

[[nodiscard]] double share_of_most_frequent(const std::vector<std::int32_t>& labels) {
  std::map<std::int32_t, std::size_t> counts;
  std::size_t most = 0;
  for (const std::int32_t label : labels) most = std::max(most, ++counts[label]);
  return static_cast<double>(most) / static_cast<double>(labels.size());
}

/// Turns that leave a picture's shape as it is.
[[nodiscard]] std::size_t turns_of(const ImageFormat& format) {
  return format.height == format.width ? 4 : 2;
}

/// The net of a classifier: pictures without classes are sorted by their turn.
[[nodiscard]] ClassifierNet make_net(ImageFormat format, const ClassifierSettings& settings) {
  if (format.classes == 0) format.classes = turns_of(format);
  return ClassifierNet(format, settings.width, settings.seed);
}

/// Writes a picture (H, W, C) that is turned counter-clockwise.
void turn(std::span<const std::uint8_t> picture, const ImageFormat& format, std::size_t quarters,
          std::uint8_t* to) {
  const std::size_t h = format.height, w = format.width, c = format.channels;
  for (std::size_t y = 0; y < h; ++y)
    for (std::size_t x = 0; x < w; ++x, to += c) {
      const std::size_t from = quarters == 0   ? y * w + x
                               : quarters == 1 ? x * w + (w - 1 - y)
                               : quarters == 2 ? (h - 1 - y) * w + (w - 1 - x)
                                               : (h - 1 - x) * w + y;
      std::copy_n(&picture[from * c], c, to);
    }
}

constexpr const char* description_key = "cifar10.classifier";

}  // namespace

ClassifierNet::ClassifierNet(const ImageFormat& format, std::size_t width, std::uint64_t seed)
    : parameters_(seed), features_(4 * width) {
  struct Step {
    std::size_t in, out, stride;
  };
  const Step steps[] = {{format.channels, width, 1},
                        {width, 2 * width, 2},
                        {2 * width, 4 * width, 2},
                        {4 * width, 4 * width, 1}};
  for (std::size_t i = 0; i < std::size(steps); ++i) {
    const std::string name = std::to_string(i);
    layers_.push_back({meanflow::Conv2d<float>(parameters_, "conv" + name, steps[i].in,
                                               steps[i].out, {.stride = steps[i].stride}),
                       meanflow::GroupNorm<float>(parameters_, "norm" + name, steps[i].out)});
  }
  out_.emplace(parameters_, "out", features_, format.classes);
}

std::string Classifier::name() const {
  return "convolutional classifier of 4 layers, width " + std::to_string(settings.width) + ", " +
         std::to_string(settings.epochs) + " epochs" +
         (task() == ClassifierTask::turns ? ", of how pictures without classes are turned" : "");
}

Tensor<float> Classifier::features(const Tensor<float>& pictures) const {
  Tensor<float> all({pictures.rows(), net.features()});
  const std::size_t tiles = std::min(pictures.rows(), meanflow::kernels::workers(Cpu{}));
  parallel_tasks(Cpu{}, tiles, [&](std::size_t tile, std::size_t) {
    const std::size_t first = all.rows() * tile / tiles, last = all.rows() * (tile + 1) / tiles;
    std::ranges::copy(net.features(pictures.rows(first, last)).span(), all.row(first));
  });
  return all;
}

std::vector<std::int32_t> Classifier::classes(const Tensor<float>& features) const {
  const Tensor<float> scores = net.scores(features);
  std::vector<std::int32_t> best(scores.rows());
  for (std::size_t i = 0; i < scores.rows(); ++i)
    best[i] = static_cast<std::int32_t>(
        std::max_element(scores.row(i), scores.row(i) + scores.row_size()) - scores.row(i));
  return best;
}

Classifier train_classifier(const ClassifierSettings& settings, const meanflow::ImageSet& training,
                            const meanflow::ImageSet& test, bool flip) {
  const ImageFormat format = format_of(training);
  if (format.classes == 0) {
    Classifier classifier = train_classifier(settings, turned(training), turned(test), false);
    classifier.format = format;
    return classifier;
  }
  Classifier classifier{.format = format, .settings = settings, .net = make_net(format, settings)};
  const std::size_t batch = std::min(settings.batch, training.count);
  const std::uint64_t each = training.count / batch, steps = settings.epochs * each;
  meanflow::Prefetched source(meanflow::ImageSource(training, {.flip = flip}));
  ClassifierTrainer trainer(classifier.net);
  const meanflow::LearningRate rate{.peak = settings.learning_rate,
                                    .warmup_steps = std::min<std::uint64_t>(100, steps / 10),
                                    .decay = meanflow::Decay::cosine};
  Tensor<float> x({batch, format.height, format.width, format.channels});
  meanflow::ImageCondition<float> condition;
  for (std::uint64_t step = 0; step < steps; ++step) {
    source.fill(x, condition, settings.seed, step);
    trainer.step(x, condition.labels, rate.at(step, steps));
    if ((step + 1) % each == 0)
      std::fprintf(stderr, "classifier: epoch %llu of %zu\n",
                   static_cast<unsigned long long>((step + 1) / each), settings.epochs);
  }
  classifier.test_accuracy = accuracy(classifier, test);
  classifier.chance = share_of_most_frequent(test.labels);
  return classifier;
}

meanflow::ImageSet turned(const meanflow::ImageSet& set) {
  ImageFormat format = format_of(set);
  const std::size_t turns = turns_of(format);
  meanflow::ImageSet all = set;
  all.count = turns * set.count;
  all.classes = turns;
  all.pixels.resize(all.count * set.image_size());
  all.labels.resize(all.count);
  for (std::size_t i = 0; i < all.count; ++i) {
    const std::size_t label = i % turns;
    turn(set.image(i / turns), format, turns == 4 ? label : 2 * label,
         &all.pixels[i * set.image_size()]);
    all.labels[i] = static_cast<std::int32_t>(label);
  }
  return all;
}

void save_classifier(const std::filesystem::path& path, const Classifier& classifier) {
  nlohmann::json description{{"format", classifier.format},
                             {"test_accuracy", classifier.test_accuracy},
                             {"chance", classifier.chance}};
  ClassifierSettings settings = classifier.settings;
  describe(settings, [&](const char* key, auto value, const Range& = {}) {
    description["settings"][key] = value;
  });
  meanflow::save_parameters(path, classifier.net.parameters(),
                            {{description_key, description.dump()}});
}

Classifier load_classifier(const std::filesystem::path& path, const ImageFormat& format,
                           const ClassifierSettings& settings) {
  const meanflow::Safetensors file(path);
  const auto found = file.metadata().find(description_key);
  if (found == file.metadata().end())
    throw meanflow::FileError(path.string() + ": is not a classifier of cifar10 evaluate");
  try {
    const auto description = nlohmann::json::parse(found->second);
    if (description.at("format").get<ImageFormat>() != format)
      throw meanflow::FileError(path.string() + ": is a classifier for pictures of another format");
    ClassifierSettings wanted = settings;
    describe(wanted, [&](const char* key, auto value, const Range& = {}) {
      const nlohmann::json& stored = description.at("settings").at(key);
      if (stored != nlohmann::json(value))
        throw meanflow::FileError(path.string() + ": was trained with classifier." + key + " " +
                                  stored.dump() + ", not " + nlohmann::json(value).dump() +
                                  "; remove it or name another file by --classifier");
    });
    Classifier classifier{.format = format,
                          .settings = settings,
                          .net = make_net(format, settings),
                          .test_accuracy = description.at("test_accuracy").get<double>(),
                          .chance = description.value("chance", 0.0)};
    meanflow::load_parameters(path, classifier.net.parameters());
    return classifier;
  } catch (const nlohmann::json::exception& error) {
    throw meanflow::FileError(path.string() + ": its description is damaged (" + error.what() +
                              ")");
  }
}

Tensor<float> to_tensor(const meanflow::ImageSet& set, std::size_t first, std::size_t last) {
  Tensor<float> pictures({last - first, set.height, set.width, set.channels});
  for (std::size_t i = first; i < last; ++i)
    set.to_unit(i, {pictures.row(i - first), set.image_size()});
  return pictures;
}

}  // namespace cifar10
