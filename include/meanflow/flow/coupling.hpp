// SPDX-License-Identifier: MIT
/// \file
/// Which noise is paired with which data. Any coupling of noise and data gives a flow from one to
/// the other; pairs that lie close give straighter paths, which are easier to learn to jump along.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <xsimd/xsimd.hpp>

#include <meanflow/error.hpp>
#include <meanflow/flow/assignment.hpp>
#include <meanflow/flow/tiles.hpp>
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/nn/condition.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// Rows of noise and as many of data that may be paired in any way.
template <class T>
struct PairingProblem {
  std::size_t size = 0;
  std::span<const T> cost;  ///< (n, n), finite: half the squared distance of noise i and data j,
                            ///< and what the difference of their conditions costs
  RandomStream random;      ///< of this problem alone
};

/// Noise and data are independent, as in the Mean Flows paper.
struct IndependentCoupling {};

/// How noise and data are paired.
///
/// Syntax: `coupling.block`, the most rows that are paired among each other, and
/// `coupling.pair(problem, data_of_noise)`, which writes the number j of the row of data that row i
/// of the noise is paired with.
/// Semantics: on average over batches, noise stays standard normal and data keep their
/// distribution. A permutation does so for any cost.
template <class C>
concept Coupling =
    std::same_as<C, IndependentCoupling> ||
    requires(const C& coupling, const PairingProblem<float>& problem, std::span<std::int32_t> to) {
      { coupling.block } -> std::convertible_to<std::size_t>;
      coupling.pair(problem, to);
    };

/// Minibatch optimal transport: the pairs of a block have the least sum of squared distances (Tong
/// et al., "Improving and generalizing flow-based generative models with minibatch optimal
/// transport", arXiv 2302.00482). Exact. Costs grow faster than the square of the block.
struct OptimalTransport {
  std::size_t block = 256;  ///< rows that are paired among each other

  /// What a difference of conditions of floats costs beside one of the data. Large values keep
  /// noise and condition independent, small ones pair more closely.
  double condition_weight = 10;

  template <class T>
  void pair(const PairingProblem<T>& problem, std::span<std::int32_t> data_of_noise) const {
    const auto pairs = solve_assignment<T>(problem.cost, problem.size);
    std::copy(pairs.begin(), pairs.end(), data_of_noise.begin());
  }

  static constexpr void fields(auto f, auto&... s) {
    f("block", s.block...);
    f("condition_weight", s.condition_weight...);
  }
};

/// Entropic optimal transport: the partner of every row of noise is drawn from the plan that has
/// the least sum of costs minus epsilon times its entropy (Cuturi, arXiv 1306.0895), with epsilon
/// `regularization` times the mean cost. Softer than `OptimalTransport` and slower; data rows may
/// occur more or less than once in a batch, and keep their distribution as far as the iterations
/// converge, which a low regularization delays.
struct SinkhornCoupling {
  std::size_t block = 256;       ///< rows that are paired among each other
  double condition_weight = 10;  ///< as in `OptimalTransport`
  double regularization = 0.03;  ///< beside the mean cost of a pair; > 0
  std::size_t iterations = 100;  ///< at most
  double tolerance = 1e-3;       ///< of the plan's column sums, beside what they should be

  template <class T>
  void pair(const PairingProblem<T>& problem, std::span<std::int32_t> data_of_noise) const;

  static constexpr void fields(auto f, auto&... s) {
    f("block", s.block...);
    f("condition_weight", s.condition_weight...);
    f("regularization", s.regularization...);
    f("iterations", s.iterations...);
    f("tolerance", s.tolerance...);
  }
};

namespace detail {

/// The potentials (f, g) of the plan exp((f_i + g_j - c_ij) / epsilon) / n^2, whose rows and
/// columns all have the same sum, by Sinkhorn's iterations in the logarithmic domain.
template <class T>
class SinkhornPlan {
 public:
  SinkhornPlan(const PairingProblem<T>& problem, T epsilon)
      : size_(problem.size),
        cost_(problem.cost.data()),
        epsilon_(epsilon),
        f_(size_, T(0)),
        g_(size_, T(0)),
        largest_(size_),
        sum_(size_) {}

  /// Until the columns' sums are within `tolerance` of what they should be.
  void solve(std::size_t iterations, double tolerance) {
    for (std::size_t i = 0; i < iterations; ++i) {
      fit_rows();
      if (fit_columns() <= static_cast<T>(tolerance)) break;
    }
    fit_rows();
  }

  /// A column, drawn with the probabilities of row i.
  [[nodiscard]] std::int32_t draw(std::size_t row, RandomStream& random) {
    for (std::size_t j = 0; j < size_; ++j) sum_[j] = exponent(row, j);
    exponentials(sum_.data());
    const T all = std::accumulate(sum_.begin(), sum_.end(), T(0));
    T left = random.uniform<T>() * all;
    std::size_t j = 0;
    while (j + 1 < size_ && left >= sum_[j]) left -= sum_[j++];
    return static_cast<std::int32_t>(j);
  }

 private:
  [[nodiscard]] T exponent(std::size_t i, std::size_t j) const {
    return (f_[i] + g_[j] - cost_[i * size_ + j]) / epsilon_;
  }

  /// x_j = exp(x_j)
  void exponentials(T* x) const {
    using Batch = xsimd::batch<T>;
    std::size_t j = 0;
    for (; j + Batch::size <= size_; j += Batch::size)
      xsimd::exp(Batch::load_unaligned(x + j)).store_unaligned(x + j);
    for (; j < size_; ++j) x[j] = std::exp(x[j]);
  }

  void fit_rows() {
    for (std::size_t i = 0; i < size_; ++i) {
      T largest = -std::numeric_limits<T>::infinity();
      for (std::size_t j = 0; j < size_; ++j) largest = std::max(largest, exponent(i, j));
      for (std::size_t j = 0; j < size_; ++j) sum_[j] = exponent(i, j) - largest;
      exponentials(sum_.data());
      const T mean = std::accumulate(sum_.begin(), sum_.end(), T(0)) / static_cast<T>(size_);
      f_[i] -= epsilon_ * (largest + std::log(mean));
    }
  }

  /// The largest |log(sum of a column / what it should be)| before.
  T fit_columns() {
    std::fill(largest_.begin(), largest_.end(), -std::numeric_limits<T>::infinity());
    for (std::size_t i = 0; i < size_; ++i)
      for (std::size_t j = 0; j < size_; ++j) largest_[j] = std::max(largest_[j], exponent(i, j));
    std::fill(sum_.begin(), sum_.end(), T(0));
    std::vector<T> terms(size_);
    for (std::size_t i = 0; i < size_; ++i) {
      for (std::size_t j = 0; j < size_; ++j) terms[j] = exponent(i, j) - largest_[j];
      exponentials(terms.data());
      for (std::size_t j = 0; j < size_; ++j) sum_[j] += terms[j];
    }
    T worst = 0;
    for (std::size_t j = 0; j < size_; ++j) {
      const T error = largest_[j] + std::log(sum_[j] / static_cast<T>(size_));
      worst = std::max(worst, std::abs(error));
      g_[j] -= epsilon_ * error;
    }
    return worst;
  }

  std::size_t size_;
  const T* cost_;
  T epsilon_;
  std::vector<T> f_, g_, largest_, sum_;
};

}  // namespace detail

template <class T>
void SinkhornCoupling::pair(const PairingProblem<T>& problem,
                            std::span<std::int32_t> data_of_noise) const {
  if (!(regularization > 0))
    throw SettingError("SinkhornCoupling: regularization is " + std::to_string(regularization) +
                       ", but must be greater than 0");
  if (problem.size == 0) return;
  const double mean = std::accumulate(problem.cost.begin(), problem.cost.end(), 0.0) /
                      static_cast<double>(problem.cost.size());
  const double epsilon = std::max(regularization * mean, 1e-30);  // where all costs are 0
  detail::SinkhornPlan<T> plan(problem, static_cast<T>(epsilon));
  plan.solve(iterations, tolerance);
  RandomStream random = problem.random;
  for (std::size_t i = 0; i < problem.size; ++i) data_of_noise[i] = plan.draw(i, random);
}

namespace detail {

/// The rows of a batch that may be paired with each other: neighbours in the batch with the same
/// labels.
template <Condition C>
[[nodiscard]] std::vector<std::vector<std::size_t>> pairing_groups(const C& condition,
                                                                   std::size_t rows,
                                                                   std::size_t block) {
  std::vector<std::vector<std::size_t>> groups;
  for (std::size_t first = 0; first < rows; first += block) {
    std::vector<std::size_t> group(std::min(block, rows - first));
    std::iota(group.begin(), group.end(), first);
    std::vector<std::vector<std::size_t>> parts{std::move(group)};
    C::fields(
        [&](const char*, const auto& part) {
          using E = typename std::remove_cvref_t<decltype(part)>::value_type;
          if constexpr (std::is_integral_v<E>) {
            if (part.empty()) return;
            std::vector<std::vector<std::size_t>> finer;
            for (auto& same : parts) {
              const auto key = [&](std::size_t row) {
                return std::span<const E>(part.row(row), part.row_size());
              };
              const auto less = [&](std::size_t a, std::size_t b) {
                return std::ranges::lexicographical_compare(key(a), key(b));
              };
              std::stable_sort(same.begin(), same.end(), less);
              for (std::size_t i = 0; i < same.size(); ++i) {
                if (i == 0 || less(same[i - 1], same[i])) finer.emplace_back();
                finer.back().push_back(same[i]);
              }
            }
            parts = std::move(finer);
          }
        },
        condition);
    std::ranges::move(parts, std::back_inserter(groups));
  }
  return groups;
}

/// |noise_i - data_j|^2 / 2 + weight |c_i - c_j|^2 / 2, with c the conditions of floats that come
/// with the data: row i of the noise takes that of row i of the batch with it.
template <class T, Condition C>
void pairing_costs(const Tensor<T>& noise, const Tensor<T>& data, const C& condition, double weight,
                   std::span<const std::size_t> rows, std::vector<T>& cost) {
  const std::size_t n = rows.size();
  cost.assign(n * n, T(0));
  std::vector<T> from, to;
  const auto add = [&](const auto& x, const auto& y, double factor) {
    const std::size_t dim = x.row_size();
    const T scale = static_cast<T>(std::sqrt(factor));
    from.resize(n * dim);
    to.resize(n * dim);
    std::vector<T> from_square(n), to_square(n);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t d = 0; d < dim; ++d) {
        const T a = scale * static_cast<T>(x.row(rows[i])[d]);
        const T b = scale * static_cast<T>(y.row(rows[i])[d]);
        from[i * dim + d] = -a;
        to[i * dim + d] = b;
        from_square[i] += a * a / 2;
        to_square[i] += b * b / 2;
      }
    gemm(Cpu{}, Transpose::no, Transpose::yes, n, n, dim, from.data(), to.data(), T(1),
         cost.data());
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) cost[i * n + j] += from_square[i] + to_square[j];
  };
  add(noise, data, 1);
  C::fields(
      [&](const char*, const auto& part) {
        using E = typename std::remove_cvref_t<decltype(part)>::value_type;
        if constexpr (std::is_floating_point_v<E>)
          if (!part.empty() && weight > 0) add(part, part, weight);
      },
      condition);
}

}  // namespace detail

/// The rows x (B, ...) and their conditions in the order that pairs them with the noise that their
/// places have in the batch of a step.
template <Coupling K, class T, Condition C>
void couple(const K& coupling, const TileRows& rows, std::uint64_t seed, std::uint64_t step,
            Tensor<T>& x, C& condition) {
  if constexpr (!std::same_as<K, IndependentCoupling>) {
    if (coupling.block == 0) throw SettingError("coupling: block is 0, but must be at least 1");
    if (coupling.block == 1) return;  // nothing to choose from
    Tensor<T> noise(x.shape());
    const auto draw = [&](std::size_t from, std::size_t count) {
      if (count > 0)
        fill_normal_rows(Cpu{}, seed, Purpose::noise, step, rows[from], count, x.row_size(),
                         noise.row(from));
    };
    draw(0, rows.jumps);
    draw(rows.jumps, rows.count - rows.jumps);
    double weight = 0;
    if constexpr (requires { coupling.condition_weight; }) weight = coupling.condition_weight;
    if (!(weight >= 0) || !std::isfinite(weight))
      throw SettingError("coupling: condition_weight is " + std::to_string(weight) +
                         ", but must be finite and at least 0");
    const auto groups = detail::pairing_groups(condition, x.rows(), coupling.block);
    Tensor<std::int32_t> order({x.rows()});
    parallel_tasks(Cpu{}, groups.size(), [&](std::size_t g, std::size_t) {
      const auto& group = groups[g];
      std::vector<T> cost;
      detail::pairing_costs(noise, x, condition, weight, group, cost);
      std::vector<std::int32_t> pairs(group.size());
      // Data that are not finite stay in their places, where the step reports them.
      std::iota(pairs.begin(), pairs.end(), 0);
      const bool finite = std::ranges::all_of(cost, [](T c) { return std::isfinite(c); });
      if (finite)
        coupling.pair(PairingProblem<T>{group.size(), cost,
                                        RandomStream(seed, Purpose::noise, step, ~rows[group[0]])},
                      std::span(pairs));
      for (std::size_t i = 0; i < group.size(); ++i)
        order[group[i]] = static_cast<std::int32_t>(group[static_cast<std::size_t>(pairs[i])]);
    });
    const auto paired = [&](const auto& rows) { return in_order(rows, order); };
    x = paired(x);
    condition = map_parts(condition, paired);
  }
}

}  // namespace meanflow
