// SPDX-License-Identifier: MIT
// Compares this library with reference vectors: values, derivatives, losses and every parameter
// gradient of each case of a manifest, on the processor in double and in float and with the plain
// loops in double, or on a device of its own (`devices.hpp`). One line per case; exit code 1 if one
// is out of bounds.
//
//   parity [--fast] [FOLDER]
//
//   --fast    without the plain loops, which take hours for nets of full size
//   FOLDER    default: $MEANFLOW_REFERENCE_DIR, else the copy in tests/parity/reference
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <nlohmann/json.hpp>

#include <meanflow/meanflow.hpp>

#include "devices.hpp"

namespace {

using namespace meanflow;
using Json = nlohmann::json;
namespace fs = std::filesystem;

/// Largest difference relative to the largest expected magnitude.
double relative_error(const std::vector<double>& found, const std::vector<double>& expected) {
  if (found.size() != expected.size()) return INFINITY;
  double difference = 0, magnitude = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double d = std::abs(found[i] - expected[i]);
    difference = std::isnan(d) ? INFINITY : std::max(difference, d);
    magnitude = std::max(magnitude, std::abs(expected[i]));
  }
  return magnitude == 0 ? difference : difference / magnitude;
}

/// What a run in one type may deviate; gradients are stored in float32.
struct Bounds {
  double value, gradient;
};
template <class T>
constexpr Bounds bounds =
    std::is_same_v<T, double> ? Bounds{1e-9, 2e-7} : Bounds{float_bound, float_bound};

/// Worst errors of one case, in units of what is allowed.
class Report {
 public:
  void compare(const std::string& name, const std::vector<double>& found,
               const std::vector<double>& expected, double bound) {
    const double error = relative_error(found, expected);
    if (!(error / bound <= worst_ratio_)) {
      worst_ratio_ = error / bound;
      worst_error_ = error;
      worst_name_ = name;
    }
    ++count_;
  }
  [[nodiscard]] bool passed() const { return count_ > 0 && worst_ratio_ <= 1; }
  [[nodiscard]] std::string text() const {
    char line[160];
    std::snprintf(line, sizeof line, "%.1e (%s)", worst_error_, worst_name_.c_str());
    return line;
  }

 private:
  double worst_ratio_ = -1, worst_error_ = 0;
  std::string worst_name_;
  std::size_t count_ = 0;
};

template <class T>
std::vector<double> doubles(const Tensor<T>& x) {
  return {x.data(), x.data() + x.size()};
}

/// (B, C, H, W) to (B, H, W, C).
template <class T>
Tensor<T> channels_last(const Tensor<T>& x) {
  const Shape s = x.shape();
  const std::size_t pixels = s[2] * s[3];
  Tensor<T> y({s[0], s[2], s[3], s[1]});
  for (std::size_t b = 0; b < s[0]; ++b)
    for (std::size_t c = 0; c < s[1]; ++c)
      for (std::size_t p = 0; p < pixels; ++p)
        y[(b * pixels + p) * s[1] + c] = x[(b * s[1] + c) * pixels + p];
  return y;
}

/// (B, H, W, C) to (B, C, H, W).
template <class T>
Tensor<T> channels_first(const Tensor<T>& x) {
  const Shape s = x.shape();
  const std::size_t pixels = s[1] * s[2];
  Tensor<T> y({s[0], s[3], s[1], s[2]});
  for (std::size_t b = 0; b < s[0]; ++b)
    for (std::size_t c = 0; c < s[3]; ++c)
      for (std::size_t p = 0; p < pixels; ++p)
        y[(b * s[3] + c) * pixels + p] = x[(b * pixels + p) * s[3] + c];
  return y;
}

template <class T, class Device>
class Case {
 public:
  using Values = Tensor<T, Device>;

  /// With `images`, tensors of rank 4 are (B, C, H, W) in the file.
  Case(const fs::path& file, Report& report, bool images = true)
      : file_(file), report_(report), images_(images) {}

  [[nodiscard]] bool has(const std::string& name) const { return file_.contains(name); }

  /// As it lies in the file, but images with their channels last.
  [[nodiscard]] Values input(const std::string& name) const {
    const Tensor<T> x = on_the_host(name);
    return to_device<Device>(images_ && x.shape().rank() == 4 ? channels_last(x) : x);
  }
  [[nodiscard]] Values raw(const std::string& name) const {
    return to_device<Device>(on_the_host(name));
  }
  /// What the net is told besides z, r and t.
  /// Rows that the file drops have class `null_class`, or their own if that is not given.
  template <class Net>
  [[nodiscard]] ConditionOf<Net> condition(std::int32_t null_class = -1) const {
    ConditionOf<Net> c;
    std::vector<std::int32_t> labels, drop;
    if (has("y")) labels = file_.template read<std::int32_t>("y");
    if (has("drop") && null_class >= 0) drop = file_.template read<std::int32_t>("drop");
    for (std::size_t row = 0; row < drop.size(); ++row)
      if (drop[row] != 0) labels[row] = null_class;
    if constexpr (requires { c.labels; }) {
      if (!labels.empty()) c.labels = Tensor<std::int32_t, Device>::from({labels.size()}, labels);
      if constexpr (requires { c.augmentation; })
        if (has("aug")) c.augmentation = raw("aug");
      if constexpr (requires { c.omega; }) {
        c.omega = column("omega");
        c.t_min = column("t_min");
        c.t_max = column("t_max");
      }
    }
    return c;
  }
  /// 1 in rows that the file drops, (B).
  [[nodiscard]] Tensor<std::uint8_t, Device> dropped() const {
    const auto drop = file_.template read<std::int32_t>("drop");
    Tensor<std::uint8_t> marks({drop.size()});
    for (std::size_t row = 0; row < drop.size(); ++row) marks[row] = drop[row] != 0;
    return to_device<Device>(marks);
  }
  /// The condition with the scale 1 outside of its interval, and an interval that is everything.
  template <class Condition>
  [[nodiscard]] Condition masked(const Condition& given, const Values& t) const {
    const Tensor<T> low = to_host(given.t_min), high = to_host(given.t_max), time = to_host(t);
    Tensor<T> omega = to_host(given.omega).clone();
    for (std::size_t row = 0; row < omega.size(); ++row)
      if (time[row] < low[row] || time[row] > high[row]) omega[row] = 1;
    Condition result = with_guidance(given, {}, omega.size());
    result.omega = to_device<Device>(omega);
    return result;
  }
  /// A vector (B) as a column (B, 1).
  [[nodiscard]] Values column(const std::string& name) const {
    const Values x = input(name);
    return x.reshaped({x.size(), 1});
  }

  void value(const std::string& name, const std::vector<double>& found) const {
    report_.compare(name, found, file_.template read<double>(name + ".f64"), bounds<T>.value);
  }
  void value(const std::string& name, const Values& found) const {
    const bool image = images_ && found.shape().rank() == 4;
    const Tensor<T> values = to_host(found);
    value(name, doubles(image ? channels_first(values) : values));
  }

  void gradients(const Parameters<T, Device>& parameters, const Values& flat) const {
    const Tensor<T> all = to_host(flat);
    for (const ParameterEntry& entry : parameters.entries()) {
      const T* begin = all.data() + entry.offset;
      const std::vector<double> found(begin, begin + entry.shape.size());
      report_.compare("grad." + entry.name, found,
                      file_.template read<double>("grad." + entry.name), bounds<T>.gradient);
      double square = 0;
      for (double g : found) square += g * g;
      report_.compare("gradnorm." + entry.name, {std::sqrt(square)},
                      file_.template read<double>("gradnorm." + entry.name + ".f64"),
                      bounds<T>.value);
    }
  }

 private:
  [[nodiscard]] Tensor<T> on_the_host(const std::string& name) const {
    Shape shape;
    for (std::size_t extent : file_.shape(name)) shape.push_back(extent);
    const std::vector<T> values = file_.template read<T>(name);
    return Tensor<T>::from(shape, values);
  }

  Safetensors file_;
  Report& report_;
  bool images_;
};

// ------------------------------------------------------------------------------- nets

template <class T, class Device, class Net>
void net_case(const Case<T, Device>& c, const Net& net) {
  using Values = Tensor<T, Device>;
  const Values z = c.input("z"), r = c.column("r"), t = c.column("t");
  const ConditionOf<Net> given = c.template condition<Net>();
  const auto along = [&](const Values& dz, const Values& dr, const Values& dt) {
    return evaluate(net, DualTensor<T, Device>(z, dz), DualTensor<T, Device>(r, dr),
                    DualTensor<T, Device>(t, dt), given);
  };
  const auto total = along(c.input("v"), Values::zeros(r.shape()), Values::full(t.shape(), 1));
  c.value("u", total.primal());
  c.value("dudt", total.tangent());
  c.value("du", along(c.input("dz"), c.column("dr"), c.column("dt")).tangent());
  c.value("v_theta", evaluate(net, z, t, t, given));
  if constexpr (requires { net.heads(z, r, t, given).v; })
    c.value("v_head", net.heads(z, r, t, given).v);

  Tape<T, Device> tape;
  const auto input = variable(tape, z);
  const auto u = evaluate(net, input, Var(tape, r), Var(tape, t), given);
  tape.backward(u.node(), c.input("g"));
  c.value("gz", tape.take_gradient(input.node()));
}

template <class T, class Device, class Net, class Objective>
void loss_case(const Case<T, Device>& c, const Net& net, const Objective& objective,
               const AdaptiveWeighting& weighting, const Guidance& guidance = {},
               std::int32_t null_class = -1) {
  using Values = Tensor<T, Device>;
  const Values x = c.input("x"), e = c.input("eps"), t = c.column("t");
  const std::size_t rows = x.rows();
  FlowBatchOf<Net> batch{Values(x.shape()),
                         Values(x.shape()),
                         c.has("r") ? c.column("r") : t,
                         t,
                         c.has("r") ? rows : 0,
                         c.template condition<Net>(null_class),
                         x,
                         e};
  interpolate(LinearPath{}, t, x, e, batch.z, batch.v);
  const auto flat = Values::zeros({net.parameters().flat_size()});
  Tape<T, Device> tape, unbound;
  if (guidance.active()) {
    FlowBatchOf<Net> guided = batch;
    guided.v = guided_velocity(guidance, net, batch);
    c.value("v_guided", guided.v);
    const auto found = velocity_and_jvp(net, guided, guided.v, unbound);
    c.value("u", found.u);
    c.value("dudt", found.dudt);
  } else {
    constexpr bool improved = std::is_same_v<Objective, ImprovedMeanFlow>;
    const Values velocity = improved ? evaluate(net, batch.z, t, t, batch.condition) : batch.v;
    const auto found = velocity_and_jvp(net, batch, velocity, unbound);
    c.value("u", found.u);
    if (c.has("dudt")) c.value("dudt", found.dudt);
  }
  tape.bind(net.parameters(), flat);
  const StepContext<Net, AdaptiveWeighting> context{tape, weighting, rows};
  auto losses = Guided<Objective>{guidance, objective}(net, batch, context);
  c.value("square", losses.metrics[0]);
  const std::vector<double> weighted = doubles(to_host(losses.loss));
  c.value("weighted", weighted);
  double mean = 0;
  for (double loss : weighted) mean += loss / static_cast<double>(rows);
  c.value("loss", std::vector<double>{mean});
  tape.backward(losses.outputs[0].node, losses.outputs[0].gradient);
  c.gradients(net.parameters(), flat);
}

/// Improved Mean Flows with two heads. The labels are those before any is dropped.
template <class T, class Device, class Net>
void imf_case(const Case<T, Device>& c, const Net& net, const AdaptiveWeighting& weighting,
              std::int32_t null_class) {
  using Values = Tensor<T, Device>;
  const Values x = c.input("x"), e = c.input("eps"), t = c.column("t");
  const std::size_t rows = x.rows();
  FlowBatchOf<Net> batch{Values(x.shape()),
                         Values(x.shape()),
                         c.column("r"),
                         t,
                         rows,
                         c.template condition<Net>(),
                         x,
                         e};
  interpolate(LinearPath{}, t, x, e, batch.z, batch.v);
  const auto is_null = c.dropped();
  c.value("v_guided", imf_velocities(net, batch, is_null).guided);
  // In rows with r = t, whose derivative has no effect, the file has that of the masked scale.
  const Values tangent = net.velocity(batch.z, t, c.masked(batch.condition, t));
  c.value("tangent", tangent);
  const auto flat = Values::zeros({net.parameters().flat_size()});
  Tape<T, Device> tape, unbound;
  {
    const auto [z, r, to] = inputs_along(batch, tangent, unbound);
    const auto heads = net.heads(z, r, to, c.template condition<Net>(null_class));
    c.value("u", heads.u.value().primal());
    c.value("dudt", heads.u.value().tangent());
    c.value("v_head", heads.v.value());
  }
  tape.bind(net.parameters(), flat);
  auto losses =
      imf_losses(net, batch, is_null, StepContext<Net, AdaptiveWeighting>{tape, weighting, rows});
  c.value("square", losses.metrics[0]);
  c.value("square_v", losses.metrics[3]);
  double mean = 0;
  for (double loss : doubles(to_host(losses.loss))) mean += loss / static_cast<double>(rows);
  c.value("loss", std::vector<double>{mean});
  for (auto& output : losses.outputs) tape.add_gradient(output.node, output.gradient);
  tape.backward();
  c.gradients(net.parameters(), flat);
}

template <class T, class Device, class Net>
bool run_net_case(const Json& entry, const fs::path& folder, const Net& net, Report& report) {
  load_parameters(folder / entry.at("params").get<std::string>(), net.parameters());
  const Case<T, Device> c(folder / entry.at("file").get<std::string>(), report);
  if (entry.at("case") == "net") {
    net_case(c, net);
    return true;
  }
  if (entry.at("case") != "loss") return false;
  const AdaptiveWeighting weighting{.p = entry.at("p"), .epsilon = entry.at("c")};
  const std::string loss = entry.at("loss");
  if constexpr (ImfNet<Net>) {
    if (loss != "imf_aux") return false;
    imf_case(c, net, weighting, entry.at("null_class"));
    return true;
  }
  if (entry.contains("omega")) {
    if (loss != "meanflow") return false;
    loss_case(c, net, MeanFlow{}, weighting,
              Guidance{.omega = entry.at("omega"),
                       .kappa = entry.at("kappa"),
                       .t_start = entry.at("t_start"),
                       .t_end = entry.at("t_end")},
              entry.at("null_class"));
    return true;
  }
  if (loss == "flow_matching")
    loss_case(c, net, FlowMatching{}, weighting);
  else if (loss == "meanflow") {
    loss_case(c, net, MeanFlow{}, weighting);
    loss_case(c, net, MeanFlow{.mode = JvpMode::detached}, weighting);
  } else if (loss == "imf")
    loss_case(c, net, ImprovedMeanFlow{}, weighting);
  else
    return false;
  return true;
}

template <class T, class Device>
bool run_net(const Json& entry, const fs::path& folder, Report& report) {
  const Json& config = entry.at("config");
  const std::string kind = entry.at("net");
  const auto run = [&](const auto& net) {
    return run_net_case<T, Device>(entry, folder, net, report);
  };
  // What a configuration leaves out has the default of the program that made the vectors.
  const auto number = [&](const char* key, std::size_t otherwise) {
    return config.value(key, otherwise);
  };
  const auto numbers = [&](const char* key, const std::vector<std::size_t>& otherwise) {
    return config.value(key, otherwise);
  };
  if (kind == "Mlp")
    return run(Mlp<T, Device>({.dimension = number("dim", 2),
                               .hidden = number("hidden", 64),
                               .layers = number("depth", 3)}));
  if (kind == "MeanFlowNet")
    return run(MeanFlowNet<T, Device>({.channels = number("channels", 3),
                                       .base = number("ch", 64),
                                       .multipliers = numbers("mult", {1, 2, 4}),
                                       .blocks = number("blocks", 2),
                                       .classes = number("num_classes", 10),
                                       .embedding = number("embed", 128),
                                       .condition = number("cond", 256)}));
  if (kind == "SongUNet")
    return run(SongUNet<T, Device>(
        {.resolution = number("img_resolution", 32),
         .in_channels = number("in_channels", 3),
         .out_channels = number("out_channels", 3),
         .augmentation = number("augment_dim", 0),
         .model_channels = number("model_channels", 128),
         .channel_mult = numbers("channel_mult", {2, 2, 2}),
         .channel_mult_emb = number("channel_mult_emb", 4),
         .channel_mult_noise = number("channel_mult_noise", 2),
         .blocks = number("num_blocks", 4),
         .attention_resolutions = numbers("attn_resolutions", {16}),
         .resample_filter = config.value("resample_filter", std::vector<double>{1, 3, 3, 1})}));
  if (kind == "DiT")
    return run(DiT<T, Device>({.input_size = number("input_size", 32),
                               .patch_size = number("patch_size", 4),
                               .in_channels = number("in_channels", 4),
                               .hidden_size = number("hidden_size", 768),
                               .depth = number("depth", 12),
                               .heads = number("num_heads", 12),
                               .mlp_ratio = config.value("mlp_ratio", 4.0),
                               .classes = number("num_classes", 1000)}));
  if (kind == "ImfTransformer")
    return run(ImfTransformer<T, Device>({.input_size = number("input_size", 32),
                                          .patch_size = number("patch_size", 2),
                                          .in_channels = number("in_channels", 4),
                                          .hidden_size = number("hidden_size", 768),
                                          .depth = number("depth", 12),
                                          .head_depth = number("aux_head_depth", 8),
                                          .heads = number("num_heads", 12),
                                          .mlp_ratio = config.value("mlp_ratio", 8.0 / 3),
                                          .classes = number("num_classes", 1000),
                                          .class_tokens = number("class_tokens", 8),
                                          .omega_tokens = number("cfg_tokens", 4),
                                          .interval_tokens = number("interval_tokens", 2),
                                          .time_tokens = number("time_tokens", 4)}));
  return false;
}

// -------------------------------------------------------------------------------- ops

/// Runs one operation over its inputs, each of which has a tangent, and compares value, tangent and
/// all gradients. `f(inputs)` is called with DualTensors and with Vars.
template <class T, class Device, class F>
void op_case(const Case<T, Device>& c, const std::string& op, const std::vector<std::string>& names,
             const Parameters<T, Device>& parameters, F f) {
  using Values = Tensor<T, Device>;
  const auto in = [&](const std::string& name) { return c.input(op + "." + name); };
  const auto batched = [](const Values& x) {
    return x.shape().rank() == 1 ? x.reshaped({x.size(), 1}) : x;
  };
  std::vector<DualTensor<T, Device>> duals;
  Tape<T, Device> tape;
  const auto flat = Values::zeros({parameters.flat_size()});
  tape.bind(parameters, flat);
  std::vector<Var<Values>> vars;
  for (const std::string& name : names) {
    duals.emplace_back(batched(in(name)), batched(in("d" + name)));
    vars.push_back(variable(tape, batched(in(name))));
  }
  const DualTensor<T, Device> y = f(duals);
  c.value(op + ".y", y.primal());
  c.value(op + ".dy", y.tangent());
  const Var<Values> result = f(vars);
  c.value(op + ".y", result.value());
  tape.backward(result.node(), batched(in("gy")).reshaped(result.shape()));
  for (std::size_t i = 0; i < names.size(); ++i)
    c.value(op + ".g" + names[i], tape.take_gradient(vars[i].node()));
  const Tensor<T> all = to_host(flat);
  for (const ParameterEntry& entry : parameters.entries()) {
    const T* begin = all.data() + entry.offset;
    c.value(op + ".g" + entry.name, std::vector<double>(begin, begin + entry.shape.size()));
  }
}

template <class T, class Device>
bool run_op(const std::string& op, const Json& about, const fs::path& file, Report& report) {
  const Case<T, Device> c(file, report, op != "attention" && op != "rope");
  Parameters<T, Device> parameters;
  for (const std::string name : about.at("parameters")) {
    const auto values = c.raw(op + "." + name);
    static_cast<void>(parameters.add(name, values.shape()));
    copy(Device{}, values.size(), values.data(), parameters[name].data());
  }
  const std::vector<std::string> inputs = about.at("tangents");
  const auto run = [&](auto f) {
    op_case<T, Device>(c, op, inputs, parameters, f);
    return true;
  };
  const auto sinusoidal = [&](SinusoidOrder order, bool endpoint) {
    const auto frequencies =
        sinusoid_frequencies<T, Device>(about.at("dim").get<std::size_t>(), 10000, endpoint);
    return run([=](const auto& x) { return sinusoid(x[0], frequencies, order); });
  };
  const auto convolution = [&](std::size_t stride, std::size_t padding) {
    return run([&, stride, padding](const auto& x) {
      return conv2d(x[0], parameters["w"], parameters["b"], stride, padding);
    });
  };
  const auto resampled = [&](Resampling direction) {
    const auto filter = resampling_filter<T, Device>(
        direction, about.at("filter").template get<std::vector<double>>());
    return run([=](const auto& x) { return resample(x[0], direction, filter); });
  };
  if (op.starts_with("conv") || op == "patch_conv")
    return convolution(about.at("stride"), about.at("padding"));
  if (op.starts_with("group_norm"))
    return run([&](const auto& x) {
      return group_norm(
          x[0], broadcast_rows(parameters["w"], x[0]), broadcast_rows(parameters["b"], x[0]),
          about.at("groups").template get<std::size_t>(), about.at("eps").template get<double>());
    });
  const auto epsilon = [&] { return about.at("eps").template get<double>(); };
  if (op == "layer_norm")
    return run([&](const auto& x) { return layer_norm(x[0], {}, {}, epsilon()); });
  if (op == "layer_norm_affine")
    return run([&](const auto& x) {
      return layer_norm(x[0], parameters["w"], parameters["b"], epsilon());
    });
  if (op == "rms_norm")
    return run([&](const auto& x) { return rms_norm(x[0], parameters["w"], epsilon()); });
  if (op == "attention") return run([](const auto& x) { return attention(x[0], x[1], x[2]); });
  if (op == "nearest_up") return run([](const auto& x) { return upsample_nearest(x[0]); });
  if (op.starts_with("resample_up")) return resampled(Resampling::up);
  if (op.starts_with("resample_down")) return resampled(Resampling::down);
  if (op == "linear")
    return run([&](const auto& x) { return linear(x[0], parameters["w"], parameters["b"]); });
  if (op == "silu") return run([](const auto& x) { return silu(x[0]); });
  if (op == "gelu_tanh") return run([](const auto& x) { return gelu_tanh(x[0]); });
  if (op == "gelu_erf") return run([](const auto& x) { return gelu(x[0]); });
  if (op == "softmax") return run([](const auto& x) { return softmax(x[0]); });
  if (op == "modulate")
    return run([](const auto& x) {
      const Shape rows{x[1].shape()[0], 1, x[1].shape()[1]};  // (B, 1, C)
      return x[0] * (reshape(x[2], rows) + 1) + reshape(x[1], rows);
    });
  if (op == "swiglu") return run([](const auto& x) { return swiglu(x[0], x[1]); });
  if (op == "rope")
    return run([](const auto& x) {
      const Shape s = x[0].shape();
      return rope(x[0], rope_angles<T, Device>(s[2], s[3]));
    });
  if (op == "sinusoid_cos_sin") return sinusoidal(SinusoidOrder::cosines_first, false);
  if (op == "sinusoid_sin_cos_endpoint") return sinusoidal(SinusoidOrder::sines_first, true);
  return false;
}

// ------------------------------------------------------------------------------- cases

struct Arguments {
  fs::path folder;
  bool fast = false;
};

/// One line: covered in all ways, or skipped.
template <class Run>
bool run_case(const std::string& name, bool fast, Run run) {
  std::string text;
  bool passed = true, covered = true;
  const auto run_in = [&]<class T, class Device>(const char* way) {
    if (fast && std::is_same_v<Device, Reference>) return;
    Report report;
    covered &= run.template operator()<T, Device>(report);
    passed &= report.passed();
    text += (text.empty() ? "" : ", ") + std::string(way) + " " + report.text();
  };
  try {
    for_each_way(run_in);
  } catch (const std::exception& error) {
    std::printf("%-28s FAILED   %s\n", name.c_str(), error.what());
    return false;
  }
  std::printf("%-28s %s\n", name.c_str(),
              covered ? ((passed ? "covered  " : "FAILED   ") + text).c_str() : "skipped");
  return passed || !covered;
}

bool run_entry(const Json& entry, const Arguments& arguments) {
  const fs::path& folder = arguments.folder;
  const bool fast = arguments.fast;
  const std::string file = entry.at("file");
  if (entry.at("case") == "params") return true;  // read by the cases that use them
  const std::string name = file.substr(0, file.rfind(".safetensors"));
  if (entry.at("case") != "ops")
    return run_case(name, fast, [&]<class T, class Device>(Report& report) {
      return run_net<T, Device>(entry, folder, report);
    });
  bool passed = true;
  for (const auto& [op, about] : entry.at("ops").items())
    passed &= run_case(name + "." + op, fast, [&]<class T, class Device>(Report& report) {
      return run_op<T, Device>(op, about, folder / file, report);
    });
  return passed;
}

Arguments arguments_of(int argc, char** argv) {
  const char* variable = std::getenv("MEANFLOW_REFERENCE_DIR");
  Arguments arguments{variable ? variable : MEANFLOW_DEFAULT_REFERENCE_DIR};
  for (const std::string text : std::span(argv, std::size_t(argc)).subspan(1)) {
    if (text == "--fast")
      arguments.fast = true;
    else
      arguments.folder = text;
  }
  return arguments;
}

}  // namespace

int main(int argc, char** argv) try {
  const Arguments arguments = arguments_of(argc, argv);
  const fs::path& folder = arguments.folder;
  std::ifstream file(folder / "manifest.json");
  if (!file) throw FileError((folder / "manifest.json").string() + ": cannot be opened");
  const Json manifest = Json::parse(file);
  bool passed = true;
  for (const Json& entry : manifest.at("cases")) passed &= run_entry(entry, arguments);
  return passed ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "parity: " << error.what() << '\n';
  return 2;
}
