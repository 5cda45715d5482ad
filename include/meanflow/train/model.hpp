// SPDX-License-Identifier: MIT
/// \file
/// A trained model in one file: the weights with all that a program needs to sample from them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <meanflow/data/scaling.hpp>
#include <meanflow/flow/generate.hpp>
#include <meanflow/flow/objective.hpp>
#include <meanflow/io/parameters.hpp>
#include <meanflow/io/safetensors.hpp>
#include <meanflow/io/settings_json.hpp>
#include <meanflow/nn/net.hpp>
#include <meanflow/tensor/transfer.hpp>
#include <meanflow/train/describe.hpp>

namespace meanflow {

/// What is written beside the weights of a model.
struct ModelInfo {
  Scaling scaling{};                ///< of the data: samples are given in the data's own units
  Shape row_shape{};                ///< of a sample
  bool instantaneous = false;       ///< u(z, t, t) alone was learnt, as by flow matching
  std::string objective{}, path{};  ///< as text, to be read by people
  std::map<std::string, std::string> metadata{};  ///< of the user
};

/// A net that knows how its samples are drawn.
template <Net N>
struct Model {
  using T = typename N::value_type;
  using Device = typename N::device_type;

  N net;
  ModelInfo info{};

  /// `count` samples on the host, in the units of the data. Which ones depends on the seed and
  /// their number alone. `condition` tells of `count` rows, or of one that is meant for all. Throws
  /// SettingError if the shape of a sample is not known.
  [[nodiscard]] Tensor<T> sample(std::size_t count, const SamplingSettings& settings = {},
                                 const ConditionOf<N>& condition = {}) const {
    if (info.row_shape.rank() == 0)
      throw SettingError("Model::sample: the shape of a sample is not known; set info.row_shape");
    Tensor<T> samples(info.row_shape.batch_of(count));
    sample_batches(
        net, count, info.row_shape, settings_for(settings),
        [&](const auto& rows, std::size_t first) {
          const Tensor<T> host = to_host(rows);
          std::copy_n(host.data(), host.size(), samples.row(first));
        },
        condition);
    info.scaling.undo(samples.span());
    return samples;
  }

  /// The same from noise (B, ...) of one's own.
  [[nodiscard]] Tensor<T> sample(const Tensor<T, Device>& noise,
                                 const SamplingSettings& settings = {},
                                 const ConditionOf<N>& condition = {}) const {
    Tensor<T> samples = to_host(generate(net, noise, settings_for(settings), condition));
    info.scaling.undo(samples.span());
    return samples;
  }

 private:
  /// Nets that learnt the velocity alone are sampled by Euler's rule, unless told otherwise.
  [[nodiscard]] SamplingSettings settings_for(SamplingSettings settings) const {
    if (info.instantaneous && !settings.solver) settings.solver = Solver::euler;
    return settings;
  }
};

/// What to save of a trainer or a net.
struct ModelOptions {
  /// "average.K", the average number K, or "parameters", the values that training goes on from.
  /// Empty: the first average, or the parameters if none is kept. For trainers alone.
  std::string weights{};
  Scaling scaling{};  ///< of the data, such as `PointSet::scaling()`
  /// The net learnt the velocity alone, as by flow matching. A trainer's objective says so itself.
  bool instantaneous = false;
  Shape row_shape{};  ///< of a sample; empty: the net's `row_shape()`, or that of the last batch
  std::map<std::string, std::string> metadata{};  ///< names that begin with "meanflow." are taken
};

namespace detail {

template <class N>
concept NetWithSettings = requires(const N& net) {
  { net.settings() };
  requires ListedSettings<std::remove_cvref_t<decltype(net.settings())>>;
  N(net.settings());
};

/// A net's kind: its type but for its numbers and its device, which may be others when it is
/// loaded.
template <class N>
[[nodiscard]] std::string net_kind() {
  std::string name = cpp_name<N>();
  const auto erase = [&](const std::string& text, const std::string& by) {
    for (std::size_t at; (at = name.find(text)) != std::string::npos;)
      name.replace(at, text.size(), by);
  };
  erase(std::string(", ").append(cpp_name<typename N::device_type>()), "");
  const std::string number = std::string("<").append(cpp_name<typename N::value_type>());
  erase(number + ", ", "<");
  erase(number + ">", "");
  return name;
}

template <class N>
[[nodiscard]] std::string net_settings(const N& net) {
  if constexpr (NetWithSettings<N>)
    return settings_to_json(net.settings()).dump();
  else
    return "{}";
}

template <class N>
void write_model(const std::filesystem::path& path, const N& net,
                 const Tensor<typename N::value_type>& values, ModelInfo info,
                 const ModelOptions& options) {
  SafetensorsWriter writer;
  for (const auto& [key, value] : options.metadata) {
    if (key.starts_with("meanflow."))
      throw SettingError("save_model: metadata " + key +
                         ": names that begin with \"meanflow.\" are the library's own");
    writer.metadata(key, value);
  }
  info.row_shape = options.row_shape.rank() > 0 ? options.row_shape : info.row_shape;
  if (const std::size_t width = options.scaling.mean.size();
      width > 0 && info.row_shape.rank() > 0 && info.row_shape.size() % width != 0)
    throw ShapeError("save_model: a scaling of " + std::to_string(width) +
                     " columns for rows of shape " + to_string(info.row_shape));
  const auto note = [&](const char* key, const std::string& value) {
    writer.metadata(std::string("meanflow.") + key, value);
  };
  note("format", "meanflow model 1");
  note("net", net_kind<N>());
  note("settings", net_settings(net));
  note("scaling", settings_to_json(options.scaling).dump());
  note("row_shape",
       nlohmann::json(std::vector<std::size_t>(info.row_shape.begin(), info.row_shape.end()))
           .dump());
  note("learnt", info.instantaneous ? "velocity" : "average velocity");
  note("objective", info.objective);
  note("path", info.path);
  add_parameters(writer, "", net.parameters(), values);
  writer.write(path);
}

/// The weights of a trainer that `options.weights` names.
template <class Trainer>
[[nodiscard]] auto weights_of(const Trainer& trainer, const std::string& wanted) {
  if (wanted.empty()) return trainer.best_values();
  if (wanted == "parameters") return trainer.net().parameters().values();
  std::string known = "parameters";
  for (std::size_t k = 0; k < trainer.settings().averages.size(); ++k) {
    const std::string name = "average." + std::to_string(k);
    if (wanted == name) return trainer.average(k);
    known += ", " + name;
  }
  throw SettingError("save_model: weights is \"" + wanted + "\", but the trainer has " + known);
}

[[nodiscard]] inline const std::string& model_note(const Safetensors& file, const char* key) {
  const auto& metadata = file.metadata();
  const auto format = metadata.find("meanflow.format");
  if (format == metadata.end() || format->second != "meanflow model 1")
    throw FileError(quoted(file.path()) + " is not a model of save_model" +
                    (format == metadata.end() ? "." : ": it is a " + format->second + "."));
  const auto found = metadata.find(std::string("meanflow.") + key);
  if (found == metadata.end())
    throw FileError(quoted(file.path()) + " has no meanflow." + key + ".");
  return found->second;
}

/// What the file says of a note that is JSON; FileError if it is damaged.
template <class F>
auto parse_note(const Safetensors& file, const char* key, F f) {
  const std::string& text = model_note(file, key);
  try {
    return f(nlohmann::json::parse(text));
  } catch (const nlohmann::json::exception&) {
    throw FileError(quoted(file.path()) + ": meanflow." + key + " reads " + shown(text) + ".");
  } catch (const SettingError& error) {
    throw FileError(quoted(file.path()) + ": " + error.what() + ".");
  }
}

[[nodiscard]] inline ModelInfo read_info(const Safetensors& file) {
  ModelInfo info;
  info.scaling = parse_note(file, "scaling", [](const nlohmann::json& json) {
    return settings_from_json<Scaling>(json);
  });
  if (info.scaling.mean.size() != info.scaling.scale.size())
    throw FileError(quoted(file.path()) + ": meanflow.scaling has " +
                    std::to_string(info.scaling.mean.size()) + " means for " +
                    std::to_string(info.scaling.scale.size()) + " factors.");
  const auto extents = parse_note(file, "row_shape", [](const nlohmann::json& json) {
    return json.get<std::vector<std::size_t>>();
  });
  if (extents.size() >= Shape::max_rank)
    throw FileError(quoted(file.path()) + ": meanflow.row_shape has " +
                    std::to_string(extents.size()) + " extents.");
  for (const std::size_t extent : extents) info.row_shape.push_back(extent);
  try {
    static_cast<void>(info.row_shape.size());
  } catch (const ShapeError& error) {
    throw FileError(quoted(file.path()) + ": meanflow.row_shape: " + error.what() + ".");
  }
  info.instantaneous = model_note(file, "learnt") == "velocity";
  info.objective = model_note(file, "objective");
  info.path = model_note(file, "path");
  for (const auto& [key, value] : file.metadata())
    if (!key.starts_with("meanflow.")) info.metadata[key] = value;
  return info;
}

template <class N>
void check_kind(const Safetensors& file) {
  const std::string& kind = model_note(file, "net");
  if (kind != net_kind<N>())
    throw FileError(quoted(file.path()) + " holds a net of the kind " + shown(kind) +
                    ", but one of the kind " + shown(net_kind<N>()) + " is asked for.");
}

}  // namespace detail

/// Writes the weights of a trainer, the average unless told otherwise, with its net's kind and
/// settings, and what sampling needs to know, to one safetensors file, whose tensors have the
/// parameters' own names. Whole or not at all. Throws FileError if it cannot be written.
template <class Trainer>
  requires requires(const Trainer& trainer) {
    trainer.recipe();
    trainer.best_values();
  }
void save_model(const std::filesystem::path& path, const Trainer& trainer,
                const ModelOptions& options = {}) {
  ModelInfo info{.row_shape = trainer.row_shape(),
                 .instantaneous = instantaneous(trainer.recipe().objective),
                 .objective = detail::describe(trainer.recipe().objective),
                 .path = detail::describe(trainer.recipe().path)};
  const auto values = to_host(detail::weights_of(trainer, options.weights));
  detail::write_model(path, trainer.net(), values, std::move(info), options);
}

/// The same for a net with the values that it has.
template <Net N>
void save_model(const std::filesystem::path& path, const N& net, const ModelOptions& options = {}) {
  if (!options.weights.empty() && options.weights != "parameters")
    throw SettingError("save_model: weights is \"" + options.weights +
                       "\", but a net has its parameters alone");
  ModelInfo info;
  info.instantaneous = options.instantaneous;
  if constexpr (requires { net.row_shape(); }) info.row_shape = net.row_shape();
  detail::write_model(path, net, to_host(net.parameters().values()), std::move(info), options);
}

/// Reads a file of `save_model` into a net that is built from the settings in it, with numbers and
/// on a device of the caller's choice. Throws FileError, naming the file and what differs, if it is
/// damaged, no model, or one of another kind of net.
template <Net N>
  requires detail::NetWithSettings<N>
[[nodiscard]] Model<N> load_model(const std::filesystem::path& path) {
  using S = std::remove_cvref_t<decltype(std::declval<const N&>().settings())>;
  const Safetensors file(path);
  detail::check_kind<N>(file);
  const S settings = detail::parse_note(
      file, "settings", [](const nlohmann::json& json) { return settings_from_json<S>(json); });
  const auto build = [&] {
    try {
      return N(settings);
    } catch (const FileError&) {
      throw;
    } catch (const Error& error) {
      throw FileError(detail::quoted(path) + ": its settings make no net: " + error.what() + ".");
    }
  };
  Model<N> model{build(), detail::read_info(file)};
  load_parameters(path, model.net.parameters());
  return model;
}

/// The same into `net`, which must be of the kind and the settings that were saved.
template <Net N>
[[nodiscard]] Model<N> load_model(const std::filesystem::path& path, N net) {
  const Safetensors file(path);
  detail::check_kind<N>(file);
  const auto saved =
      detail::parse_note(file, "settings", [](const nlohmann::json& json) { return json; });
  const auto own = nlohmann::json::parse(detail::net_settings(net));
  for (const auto& [name, value] : saved.items())
    if (name != "seed" && own.contains(name) && own[name] != value)
      throw FileError(detail::quoted(path) + " was saved with " + name + " " + value.dump() +
                      ", but this net has " + own[name].dump() + ".");
  Model<N> model{std::move(net), detail::read_info(file)};
  load_parameters(path, model.net.parameters());
  return model;
}

}  // namespace meanflow
