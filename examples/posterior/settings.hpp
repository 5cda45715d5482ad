// SPDX-License-Identifier: MIT
// What a user of `posterior` can choose, and how it is written to files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

namespace posterior {

/// The defaults are one recipe for all tasks.
struct Settings {
  std::string task = "two_moons";  ///< or "all"
  std::size_t simulations = 10'000;
  std::size_t observations = 10;
  std::size_t samples = 10'000;  ///< of each posterior, and of its reference
  std::uint64_t steps = 20'000;
  std::size_t batch = 512;
  std::size_t hidden = 128;
  std::size_t layers = 4;
  std::size_t octaves = 3;
  double lr = 4e-3;
  double ema = 0.999;
  double jump_fraction = 0.75;
  double weighting_p = 0.3;
  std::size_t coupling_block = 256;
  double condition_weight = 10;
  bool euler = false;  ///< whether 100 Euler steps of the same net are measured, too
  std::uint64_t seed = 0;
  int threads = 0;
  std::string out = "out/posterior";
  bool quiet = false;
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Settings, task, simulations, observations, samples, steps, batch,
                                   hidden, layers, octaves, lr, ema, jump_fraction, weighting_p,
                                   coupling_block, condition_weight, euler, seed, threads)

}  // namespace posterior
