// SPDX-License-Identifier: MIT
// Four tasks of the benchmark sbibm (Lueckmann et al., "Benchmarking Simulation-Based Inference",
// arXiv 2101.04653): what is drawn first, theta, what is then observed, x, and what x tells of
// theta, as the paper's appendix defines them.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/random/philox.hpp>

#include "reference.hpp"

namespace posterior {

using meanflow::RandomStream;

/// A prior, a simulator, and the posterior that the two of them have.
class Task {
 public:
  Task() = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  virtual ~Task() = default;

  [[nodiscard]] virtual std::string name() const = 0;
  [[nodiscard]] virtual std::size_t parameters() const = 0;   ///< numbers of theta
  [[nodiscard]] virtual std::size_t observables() const = 0;  ///< numbers of x
  /// The prior is uniform on [-bound, bound]^n; infinity: it has no bounds.
  [[nodiscard]] virtual double bound() const { return std::numeric_limits<double>::infinity(); }

  /// theta from the prior.
  virtual void draw(std::span<double> theta, RandomStream& random) const {
    for (double& value : theta) value = bound() * (2 * random.uniform_open<double>() - 1);
  }

  /// x given theta.
  virtual void simulate(std::span<const double> theta, std::span<double> x,
                        RandomStream& random) const = 0;

  /// `count` draws of theta given x (count, parameters), exact or by a long Markov chain.
  [[nodiscard]] virtual std::vector<float> reference(std::span<const double> x, std::size_t count,
                                                     std::uint64_t seed) const = 0;

  template <class T>
  [[nodiscard]] bool inside(std::span<const T> theta) const {
    return std::ranges::all_of(theta, [&](double value) { return std::abs(value) < bound(); });
  }
};

/// theta ~ N(0, 0.1 I) of 10 numbers, x ~ N(theta, 0.1 I). So theta given x ~ N(x / 2, 0.05 I).
class GaussianLinear final : public Task {
 public:
  [[nodiscard]] std::string name() const override { return "gaussian_linear"; }
  [[nodiscard]] std::size_t parameters() const override { return 10; }
  [[nodiscard]] std::size_t observables() const override { return 10; }

  void draw(std::span<double> theta, RandomStream& random) const override {
    for (double& value : theta) value = std::sqrt(0.1) * random.normal<double>();
  }

  void simulate(std::span<const double> theta, std::span<double> x,
                RandomStream& random) const override {
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = theta[i] + std::sqrt(0.1) * random.normal<double>();
  }

  [[nodiscard]] std::vector<float> reference(std::span<const double> x, std::size_t count,
                                             std::uint64_t seed) const override {
    return draw_rows(count, parameters(), seed, [&](std::span<double> theta, RandomStream& random) {
      for (std::size_t i = 0; i < theta.size(); ++i)
        theta[i] = x[i] / 2 + std::sqrt(0.05) * random.normal<double>();
      return true;
    });
  }
};

/// theta ~ U(-10, 10)^2, x ~ N(theta, I) / 2 + N(theta, 0.01 I) / 2. So theta given x is the same
/// mixture about x, cut off at the bounds.
class GaussianMixture final : public Task {
 public:
  [[nodiscard]] std::string name() const override { return "gaussian_mixture"; }
  [[nodiscard]] std::size_t parameters() const override { return 2; }
  [[nodiscard]] std::size_t observables() const override { return 2; }
  [[nodiscard]] double bound() const override { return 10; }

  void simulate(std::span<const double> theta, std::span<double> x,
                RandomStream& random) const override {
    const double deviation = random.bernoulli(0.5) ? 1 : 0.1;
    for (std::size_t i = 0; i < 2; ++i) x[i] = theta[i] + deviation * random.normal<double>();
  }

  [[nodiscard]] std::vector<float> reference(std::span<const double> x, std::size_t count,
                                             std::uint64_t seed) const override {
    return draw_rows(count, 2, seed, [&](std::span<double> theta, RandomStream& random) {
      simulate(x, theta, random);
      return inside(std::span<const double>(theta));
    });
  }
};

/// theta ~ U(-1, 1)^2, x = p + (-|theta_1 + theta_2|, theta_2 - theta_1) / sqrt(2) with
/// p = (r cos a + 0.25, r sin a), a ~ U(-pi/2, pi/2), r ~ N(0.1, 0.01^2).
class TwoMoons final : public Task {
 public:
  [[nodiscard]] std::string name() const override { return "two_moons"; }
  [[nodiscard]] std::size_t parameters() const override { return 2; }
  [[nodiscard]] std::size_t observables() const override { return 2; }
  [[nodiscard]] double bound() const override { return 1; }

  void simulate(std::span<const double> theta, std::span<double> x,
                RandomStream& random) const override {
    const auto [p, q] = crescent(random);
    x[0] = p - std::abs(theta[0] + theta[1]) / std::numbers::sqrt2;
    x[1] = q + (theta[1] - theta[0]) / std::numbers::sqrt2;
  }

  /// Given p, x has two inverses, with the two signs of theta_1 + theta_2. Either is a rotation, so
  /// that it keeps densities as they are.
  [[nodiscard]] std::vector<float> reference(std::span<const double> x, std::size_t count,
                                             std::uint64_t seed) const override {
    return draw_rows(count, 2, seed, [&](std::span<double> theta, RandomStream& random) {
      const auto [p, q] = crescent(random);
      const double size = p - x[0], difference = x[1] - q;  // |t1 + t2|, t2 - t1, over sqrt(2)
      const double sum = random.bernoulli(0.5) ? size : -size;
      theta[0] = (sum - difference) / std::numbers::sqrt2;
      theta[1] = (sum + difference) / std::numbers::sqrt2;
      return size >= 0 && inside(std::span<const double>(theta));
    });
  }

 private:
  [[nodiscard]] static std::array<double, 2> crescent(RandomStream& random) {
    const double a = std::numbers::pi * (random.uniform_open<double>() - 0.5);
    const double r = 0.1 + 0.01 * random.normal<double>();
    return {r * std::cos(a) + 0.25, r * std::sin(a)};
  }
};

/// "Simple likelihood, complex posterior": theta ~ U(-3, 3)^5, x is four points of the plane from
/// N((theta_1, theta_2), S), S = [[s_1^2, rho s_1 s_2], [rho s_1 s_2, s_2^2]], s_1 = theta_3^2,
/// s_2 = theta_4^2, rho = tanh(theta_5).
class Slcp final : public Task {
 public:
  [[nodiscard]] std::string name() const override { return "slcp"; }
  [[nodiscard]] std::size_t parameters() const override { return 5; }
  [[nodiscard]] std::size_t observables() const override { return 8; }
  [[nodiscard]] double bound() const override { return 3; }

  void simulate(std::span<const double> theta, std::span<double> x,
                RandomStream& random) const override {
    const double s1 = theta[2] * theta[2], s2 = theta[3] * theta[3], rho = std::tanh(theta[4]);
    for (std::size_t i = 0; i < 8; i += 2) {
      const double first = random.normal<double>(), second = random.normal<double>();
      x[i] = theta[0] + s1 * first;
      x[i + 1] = theta[1] + s2 * (rho * first + std::sqrt(1 - rho * rho) * second);
    }
  }

  /// log p(x | theta) up to a constant.
  [[nodiscard]] double log_likelihood(std::span<const double> theta,
                                      std::span<const double> x) const {
    const double s1 = theta[2] * theta[2], s2 = theta[3] * theta[3], rho = std::tanh(theta[4]);
    const double left = 1 / std::pow(std::cosh(theta[4]), 2);  // 1 - rho^2, which may round to 0
    double sum = 0;
    for (std::size_t i = 0; i < 8; i += 2) {
      const double a = (x[i] - theta[0]) / s1, b = (x[i + 1] - theta[1]) / s2;
      sum += (a * a - 2 * rho * a * b + b * b) / left;
    }
    const double value = -sum / 2 - 4 * (std::log(s1) + std::log(s2) + std::log(left) / 2);
    return std::isfinite(value) ? value : -std::numeric_limits<double>::infinity();
  }

  /// Many short chains (`run_chains`) from draws of the prior that are chosen by their likelihood.
  /// The likelihood knows the squares of theta_3 and theta_4 alone: a random sign of each, drawn in
  /// the end, is an exact move between the four modes.
  [[nodiscard]] std::vector<float> reference(std::span<const double> x, std::size_t count,
                                             std::uint64_t seed) const override {
    const auto density = [&](std::span<const double> theta) {
      return inside(theta) ? log_likelihood(theta, x) : -std::numeric_limits<double>::infinity();
    };
    const auto prior = [&](std::span<double> theta, RandomStream& random) {
      draw(theta, random);
      for (const std::size_t i : {2, 3}) theta[i] = std::abs(theta[i]);
    };
    std::vector<double> chains = run_chains(count, parameters(), seed, prior, density);
    for (std::size_t row = 0; row < count; ++row) {
      RandomStream random(seed, meanflow::Purpose::user, signs, row);
      for (const std::size_t i : {2, 3})
        if (random.bernoulli(0.5)) chains[row * parameters() + i] *= -1;
    }
    return {chains.begin(), chains.end()};
  }

 private:
  static constexpr std::uint64_t signs = 1000;  // a step of random numbers that chains leave free
};

inline const std::vector<std::string> task_names{"gaussian_linear", "gaussian_mixture", "two_moons",
                                                 "slcp"};

/// Throws meanflow::SettingError if there is no task of that name.
[[nodiscard]] inline std::unique_ptr<const Task> make_task(const std::string& name) {
  if (name == "gaussian_linear") return std::make_unique<GaussianLinear>();
  if (name == "gaussian_mixture") return std::make_unique<GaussianMixture>();
  if (name == "two_moons") return std::make_unique<TwoMoons>();
  if (name == "slcp") return std::make_unique<Slcp>();
  throw meanflow::SettingError("there is no task \"" + name + "\"");
}

}  // namespace posterior
