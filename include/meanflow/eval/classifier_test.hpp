// SPDX-License-Identifier: MIT
/// \file
/// Whether a classifier can tell two sets of points apart.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <meanflow/autodiff/parameters.hpp>
#include <meanflow/autodiff/tape.hpp>
#include <meanflow/error.hpp>
#include <meanflow/eval/points.hpp>
#include <meanflow/kernels/cpu.hpp>
#include <meanflow/nn/linear.hpp>
#include <meanflow/optim/adam.hpp>
#include <meanflow/optim/update.hpp>
#include <meanflow/random/philox.hpp>
#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

/// The settings of the benchmark sbibm (Lueckmann et al., arXiv 2101.04653), whose weight decay of
/// 1e-4 beside the rows of a batch is left out.
struct ClassifierTestOptions {
  std::size_t folds = 5;          ///< parts, each of which is predicted from the others
  std::size_t hidden = 0;         ///< width of the two hidden layers; 0: ten times the dimension
  std::size_t batch = 200;        ///< rows per step
  std::size_t max_epochs = 1000;  ///< passes over the training rows, unless the loss stops falling
  std::size_t patience = 10;  ///< passes in a row, at most, whose loss does not fall by `tolerance`
  double tolerance = 1e-4;
  double learning_rate = 1e-3;  ///< of Adam
  std::uint64_t seed = 0;       ///< of the parts, the order of the rows, and the initial values
};

namespace detail {

/// A score (B, 1) for every point (B, dim): above 0 where the second set is more likely.
class TwoSampleClassifier {
 public:
  TwoSampleClassifier(std::size_t dim, const ClassifierTestOptions& options)
      : options_(options),
        parameters_(options.seed),
        first_(parameters_, "first", dim, width(dim), layer()),
        second_(parameters_, "second", width(dim), width(dim), layer()),
        last_(parameters_, "last", width(dim), 1, layer()) {}

  template <class X>
  [[nodiscard]] X operator()(const X& x) const {
    return last_(second_(first_(x, Relu{}), Relu{}));
  }

  /// Adam on the logistic loss of rows (N, dim), which are 1 where they are of the second set.
  void train(const Tensor<float>& rows, const std::vector<float>& is_second) {
    auto gradient = Tensor<float>::zeros({parameters_.flat_size()});
    Tape<float> tape;
    tape.bind(parameters_, gradient);
    ParameterUpdate<Adam, float, Cpu> adam(parameters_, Adam{});
    double best = std::numeric_limits<double>::infinity();
    std::size_t waited = 0;
    for (std::size_t epoch = 0; epoch < options_.max_epochs && waited <= options_.patience;
         ++epoch) {
      const std::vector<std::size_t> order = permutation(rows.rows(), options_.seed + 1 + epoch);
      double loss = 0;
      for (std::size_t begin = 0; begin < order.size(); begin += options_.batch) {
        const std::size_t count = std::min(options_.batch, order.size() - begin);
        loss += add_gradient(tape, rows, is_second, std::span(order).subspan(begin, count));
        adam.step(parameters_, gradient, options_.learning_rate);
        fill(Cpu{}, gradient.size(), 0.0F, gradient.data());
      }
      loss /= static_cast<double>(order.size());
      waited = loss > best - options_.tolerance ? waited + 1 : 0;
      best = std::min(best, loss);
    }
  }

 private:
  [[nodiscard]] std::size_t width(std::size_t dim) const {
    return options_.hidden > 0 ? options_.hidden : 10 * dim;
  }
  [[nodiscard]] static LinearSettings layer() {
    return {.weight_init = {Distribution::xavier_uniform},
            .bias_init = {Distribution::xavier_uniform}};
  }

  /// The sum of the losses of these rows; their mean's gradient is added to the tape's.
  double add_gradient(Tape<float>& tape, const Tensor<float>& rows,
                      const std::vector<float>& is_second,
                      std::span<const std::size_t> numbers) const {
    Tensor<float> x({numbers.size(), rows.row_size()});
    for (std::size_t i = 0; i < numbers.size(); ++i)
      std::copy_n(rows.row(numbers[i]), rows.row_size(), x.row(i));
    tape.clear();
    const auto scores = (*this)(Var(tape, x));
    Tensor<float> gradient(scores.shape());
    double loss = 0;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const float score = scores.value()[i], sign = 2 * is_second[numbers[i]] - 1;
      loss += std::log1p(std::exp(-std::abs(score))) + std::max(-sign * score, 0.0F);
      const float probability = 1 / (1 + std::exp(-score));
      gradient[i] = (probability - is_second[numbers[i]]) / static_cast<float>(numbers.size());
    }
    tape.backward(scores.node(), std::move(gradient));
    return loss;
  }

  const ClassifierTestOptions& options_;
  Parameters<float> parameters_;
  Linear<float> first_, second_, last_;
};

/// Both sets one after the other, centred and divided by the first one's deviations.
template <class T>
[[nodiscard]] Tensor<float> standardised_rows(std::span<const T> x, std::span<const T> y,
                                              std::size_t dim) {
  const double n = static_cast<double>(x.size() / dim);
  std::vector<double> mean(dim), square(dim);
  for (std::size_t i = 0; i < x.size(); ++i) mean[i % dim] += double(x[i]) / n;
  for (std::size_t i = 0; i < x.size(); ++i)
    square[i % dim] += std::pow(double(x[i]) - mean[i % dim], 2) / (n - 1);
  Tensor<float> rows({(x.size() + y.size()) / dim, dim});
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t d = i % dim;
    const double value = i < x.size() ? double(x[i]) : double(y[i - x.size()]);
    rows[i] = static_cast<float>((value - mean[d]) / (square[d] > 0 ? std::sqrt(square[d]) : 1));
  }
  return rows;
}

template <class T>
[[nodiscard]] double classifier_test(std::span<const T> x, std::span<const T> y, std::size_t dim,
                                     const ClassifierTestOptions& options) {
  const std::size_t folds = options.folds;
  if (folds < 2 || options.batch == 0)
    throw SettingError("classifier_test: folds is " + std::to_string(folds) + " and batch " +
                       std::to_string(options.batch) + ", but must be at least 2 and at least 1");
  if (dim == 0 || x.size() % dim != 0 || y.size() % dim != 0 || x.size() < folds * dim ||
      y.size() < folds * dim)
    throw ShapeError("classifier_test: " + std::to_string(x.size()) + " and " +
                     std::to_string(y.size()) + " values are not " + std::to_string(folds) +
                     " or more rows of " + std::to_string(dim) + " each");
  if (options.max_epochs == 0 || !(options.learning_rate > 0) ||
      !std::isfinite(options.learning_rate) || !(options.tolerance >= 0))
    throw SettingError("classifier_test: max_epochs is " + std::to_string(options.max_epochs) +
                       ", learning_rate " + std::to_string(options.learning_rate) +
                       " and tolerance " + std::to_string(options.tolerance) +
                       ", but must be at least 1, above 0 and at least 0");
  const Tensor<float> rows = standardised_rows(x, y, dim);
  const auto all = std::span<const float>(rows.data(), rows.size());
  check_finite("classifier_test", "the first set", all.first(x.size()), dim);
  check_finite("classifier_test", "the second set", all.subspan(x.size()), dim);
  const std::vector<std::size_t> order = permutation(rows.rows(), options.seed);
  const auto is_second = [&](std::size_t row) { return row < x.size() / dim ? 0.0F : 1.0F; };
  std::vector<double> accuracy(folds);
  parallel_tasks(Cpu{}, folds, [&](std::size_t fold, std::size_t) {
    const std::size_t begin = order.size() * fold / folds;
    const std::size_t end = order.size() * (fold + 1) / folds;
    Tensor<float> seen({order.size() - (end - begin), dim}), held_out({end - begin, dim});
    std::vector<float> seen_labels, labels;
    for (std::size_t i = 0; i < order.size(); ++i) {
      const bool out = i >= begin && i < end;
      auto& list = out ? labels : seen_labels;
      std::copy_n(rows.row(order[i]), dim, (out ? held_out : seen).row(list.size()));
      list.push_back(is_second(order[i]));
    }
    TwoSampleClassifier classifier(dim, options);
    classifier.train(seen, seen_labels);
    const Tensor<float> scores = classifier(held_out);
    std::size_t right = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) right += (scores[i] > 0) == (labels[i] > 0);
    accuracy[fold] = static_cast<double>(right) / static_cast<double>(labels.size());
  });
  return std::accumulate(accuracy.begin(), accuracy.end(), 0.0) / static_cast<double>(folds);
}

}  // namespace detail

/// The classifier two-sample test, C2ST (Lopez-Paz and Oquab, arXiv 1610.06545): how often a small
/// net, trained on some of the points, says rightly which set others are from. 0.5 if nothing tells
/// the sets apart, 1 if everything does; it sees what a distance of means or of pairs does not, and
/// takes seconds to minutes. The net and its training are those of the benchmark sbibm: two hidden
/// layers with ReLU, Adam on the logistic loss, points standardised by the first set, the mean
/// accuracy over five parts held out in turn.
///
/// \param x (N, dim)   \param y (M, dim); as many of each, or the larger set wins by its size
/// The same options give the same number. Throws ShapeError if there are fewer rows than parts,
/// Error on a value that is not finite, SettingError if an option is out of range.
[[nodiscard]] inline double classifier_test(std::span<const float> x, std::span<const float> y,
                                            std::size_t dim,
                                            const ClassifierTestOptions& options = {}) {
  return detail::classifier_test(x, y, dim, options);
}

/// \copydoc classifier_test
[[nodiscard]] inline double classifier_test(std::span<const double> x, std::span<const double> y,
                                            std::size_t dim,
                                            const ClassifierTestOptions& options = {}) {
  return detail::classifier_test(x, y, dim, options);
}

}  // namespace meanflow
