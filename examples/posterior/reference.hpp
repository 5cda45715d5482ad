// SPDX-License-Identifier: MIT
// Draws from a posterior whose density is known: by rejection, or by Markov chains.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/random/philox.hpp>

namespace posterior {

/// `count` rows (count, dim) of f(row, random), each drawn again until f returns true.
/// Throws meanflow::Error if that takes more than a million draws.
template <class F>
[[nodiscard]] std::vector<float> draw_rows(std::size_t count, std::size_t dim, std::uint64_t seed,
                                           F f) {
  std::vector<float> rows;
  rows.reserve(count * dim);
  std::vector<double> row(dim);
  for (std::size_t i = 0; i < count; ++i) {
    meanflow::RandomStream random(seed, meanflow::Purpose::user, 0, i);
    for (std::size_t tries = 0; !f(std::span(row), random);)
      if (++tries == 1'000'000)
        throw meanflow::Error("the reference posterior has next to no mass within the prior");
    rows.insert(rows.end(), row.begin(), row.end());
  }
  return rows;
}

/// How long chains are, and what they start from.
struct ChainSettings {
  std::size_t prior_draws = 400'000;  ///< to choose the starts from
  std::size_t moves = 1000;           ///< of each chain
};

namespace detail {

/// The lower triangle L of L L^T = the covariance of rows (N, dim), plus a little.
[[nodiscard]] inline std::vector<double> covariance_root(std::span<const double> rows,
                                                         std::size_t dim) {
  const double count = static_cast<double>(rows.size() / dim);
  std::vector<double> mean(dim), root(dim * dim);
  for (std::size_t i = 0; i < rows.size(); ++i) mean[i % dim] += rows[i] / count;
  for (std::size_t i = 0; i < dim; ++i)
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = i == j ? 1e-10 : 0;
      for (std::size_t row = 0; row < rows.size(); row += dim)
        sum += (rows[row + i] - mean[i]) * (rows[row + j] - mean[j]) / count;
      for (std::size_t k = 0; k < j; ++k) sum -= root[i * dim + k] * root[j * dim + k];
      root[i * dim + j] = i == j ? std::sqrt(std::max(sum, 1e-10)) : sum / root[j * dim + j];
    }
  return root;
}

/// `count` of many draws (N, dim), chosen with replacement in proportion to exp(log_weight).
[[nodiscard]] inline std::vector<double> choose(std::span<const double> draws, std::size_t dim,
                                                std::span<const double> log_weight,
                                                std::size_t count, std::uint64_t seed) {
  const double largest = *std::ranges::max_element(log_weight);
  if (!std::isfinite(largest))
    throw meanflow::Error("no draw of the prior explains the observation");
  std::vector<double> cumulative(log_weight.size());
  double sum = 0;
  for (std::size_t i = 0; i < cumulative.size(); ++i)
    cumulative[i] = sum += std::exp(log_weight[i] - largest);
  std::vector<double> chosen;
  for (std::size_t i = 0; i < count; ++i) {
    meanflow::RandomStream random(seed, meanflow::Purpose::user, 1, i);
    const auto at = std::ranges::upper_bound(cumulative, sum * random.uniform<double>());
    const auto row = std::min(at, cumulative.end() - 1) - cumulative.begin();
    const auto* first = draws.data() + static_cast<std::size_t>(row) * dim;
    chosen.insert(chosen.end(), first, first + dim);
  }
  return chosen;
}

}  // namespace detail

/// The last states (count, dim) of `count` independent Metropolis chains for the density
/// exp(log_density). They start at draws of the prior, chosen in proportion to the density, so that
/// they are spread over the posterior from the beginning: a chain only has to forget which of the
/// few good draws it was given. Steps are normal, shaped like the starts and of a size that is
/// drawn anew each time, since the posterior is wide in some places and narrow in others.
template <class Prior, class LogDensity>
[[nodiscard]] std::vector<double> run_chains(std::size_t count, std::size_t dim, std::uint64_t seed,
                                             Prior prior, LogDensity log_density,
                                             const ChainSettings& settings = {}) {
  std::vector<double> draws(settings.prior_draws * dim), weight(settings.prior_draws);
  for (std::size_t i = 0; i < weight.size(); ++i) {
    meanflow::RandomStream random(seed, meanflow::Purpose::user, 2, i);
    const auto theta = std::span(draws).subspan(i * dim, dim);
    prior(theta, random);
    weight[i] = log_density(theta);
  }
  std::vector<double> chains = detail::choose(draws, dim, weight, count, seed);
  const std::vector<double> root = detail::covariance_root(chains, dim);
  std::vector<double> proposal(dim), normal(dim);
  for (std::size_t c = 0; c < count; ++c) {
    meanflow::RandomStream random(seed, meanflow::Purpose::user, 3, c);
    const auto theta = std::span(chains).subspan(c * dim, dim);
    double here = log_density(theta);
    for (std::size_t move = 0; move < settings.moves; ++move) {
      // 2.4 / sqrt(dim) is best for a normal posterior; from a twentieth of that to all of it
      const double scale =
          2.4 / std::sqrt(static_cast<double>(dim)) * std::pow(20, -random.uniform<double>());
      for (double& value : normal) value = random.normal<double>();
      for (std::size_t i = 0; i < dim; ++i) {
        proposal[i] = theta[i];
        for (std::size_t k = 0; k <= i; ++k) proposal[i] += scale * root[i * dim + k] * normal[k];
      }
      const double there = log_density(std::span<const double>(proposal));
      if (std::log(random.uniform_open<double>()) >= there - here) continue;
      std::ranges::copy(proposal, theta.begin());
      here = there;
    }
  }
  return chains;
}

}  // namespace posterior
