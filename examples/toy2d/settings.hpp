// SPDX-License-Identifier: MIT
// What a user of `toy2d` can choose, and how it is written to files.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include <nlohmann/json.hpp>

#include <meanflow/meanflow.hpp>

namespace toy2d {

/// The defaults are the recipe that the demo runs. The times are spread wider than the paper's
/// logit-normal(-0.4, 1), so that training reaches the corner (r, t) = (0, 1) that one-step
/// generation asks for.
struct Settings {
  std::string dataset = "eight_gaussians";
  std::string data;  ///< an N x 2 NPY or CSV file instead of a named set
  std::string objective = "meanflow";
  std::uint64_t steps = 6000;
  std::size_t batch = 1024;
  std::size_t hidden = 256;
  std::size_t layers = 4;
  std::size_t octaves = 4;
  bool residual = true;
  double lr = 0;  ///< 0: what suits the objective
  double weight_decay = 0.03;
  double ema = 0.999;
  double jump_fraction = 0.75;
  std::string times = "logit-normal:-0.4,1.6";
  std::string coupling = "optimal-transport";
  std::size_t coupling_block = 256;
  double weighting_p = 0.3;
  std::string tangent = "v,0,1";
  std::string time_inputs = "t,h";
  std::string time_encoding = "fourier";
  std::uint64_t seed = 0;
  int threads = 0;
  std::string device = "cpu";
  std::string out = "out/toy2d";
  std::size_t samples = 8000;
  std::uint64_t baseline_steps = 0;
  bool quiet = false;
  meanflow::AnyCommunicator processes{};  ///< that train together; the root does all the rest
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Settings, dataset, data, objective, steps, batch, hidden, layers,
                                   octaves, residual, coupling, coupling_block, lr, weight_decay,
                                   ema, jump_fraction, times, weighting_p, tangent, time_inputs,
                                   time_encoding, seed, threads, samples, baseline_steps)

/// The peak learning rate. Improved Mean Flows, which follow their own velocity, end in noise at
/// the high one that suits the others.
[[nodiscard]] inline double learning_rate(const Settings& s, const std::string& objective) {
  if (s.lr > 0) return s.lr;
  return objective == "improved-meanflow" ? 1e-3 : 5e-3;
}

inline const std::map<std::string, meanflow::TimeInputs> time_inputs_by_name{
    {"t,r", meanflow::TimeInputs::t_r},
    {"t,h", meanflow::TimeInputs::t_h},
    {"t,r,h", meanflow::TimeInputs::t_r_h},
    {"h", meanflow::TimeInputs::h}};

inline const std::map<std::string, meanflow::TimeEncoding> time_encodings_by_name{
    {"raw", meanflow::TimeEncoding::raw},
    {"sinusoidal", meanflow::TimeEncoding::sinusoidal},
    {"fourier", meanflow::TimeEncoding::fourier}};

inline const std::map<std::string, meanflow::JvpDirection> tangents_by_name{
    {"v,0,1", {1, 0, 1}}, {"v,0,0", {1, 0, 0}}, {"v,1,0", {1, 1, 0}}, {"v,1,1", {1, 1, 1}}};

/// "logit-normal:-0.4,1": the part after the colon as mean and deviation.
struct TimesChoice {
  bool uniform = true;
  double mean = -0.4, deviation = 1;
};

[[nodiscard]] inline TimesChoice parse_times(const std::string& text) {
  if (text == "uniform") return {};
  const std::string name = "logit-normal";
  TimesChoice choice{.uniform = false};
  int used = 0;
  if (text == name) return choice;
  if (text.starts_with(name + ":") &&
      std::sscanf(text.c_str() + name.size(), ":%lf,%lf%n", &choice.mean, &choice.deviation,
                  &used) == 2 &&
      name.size() + static_cast<std::size_t>(used) == text.size() && choice.deviation > 0)
    return choice;
  throw meanflow::SettingError("--times is \"" + text +
                               "\", expected uniform, logit-normal or logit-normal:MEAN,STD");
}

/// Pairs noise and data in the way that the settings name.
struct ChosenCoupling {
  std::size_t block = 256;
  bool entropic = false;

  template <class T>
  void pair(const meanflow::PairingProblem<T>& problem, std::span<std::int32_t> pairs) const {
    if (entropic)
      meanflow::SinkhornCoupling{}.pair(problem, pairs);
    else
      meanflow::OptimalTransport{}.pair(problem, pairs);
  }
};

[[nodiscard]] inline ChosenCoupling make_coupling(const Settings& s) {
  return {.block = s.coupling == "independent" ? 1 : s.coupling_block,
          .entropic = s.coupling == "sinkhorn"};
}

/// The net that the settings describe.
template <class Device = meanflow::Cpu>
[[nodiscard]] meanflow::Mlp<float, Device> make_net(const Settings& s, std::uint64_t seed) {
  meanflow::TimeEmbeddingSettings time =
      meanflow::low_frequencies(time_inputs_by_name.at(s.time_inputs));
  time.encoding = time_encodings_by_name.at(s.time_encoding);
  if (time.encoding == meanflow::TimeEncoding::sinusoidal) {
    time.scale = 6.283185307179586;
    time.max_period = 16;
  }
  return meanflow::Mlp<float, Device>({.dimension = 2,
                                       .hidden = s.hidden,
                                       .layers = s.layers,
                                       .octaves = s.octaves,
                                       .residual = s.residual,
                                       .time = time,
                                       .seed = seed});
}

}  // namespace toy2d
