// SPDX-License-Identifier: MIT
/// \file
/// The Inception score: whether images are of clear and of many kinds.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <meanflow/tensor/tensor.hpp>

namespace meanflow {

struct InceptionScore {
  double mean = 0, standard_deviation = 0;  ///< over the parts
};

/// exp(E KL(p(y | x) | p(y))), p(y | x) = softmax(logits), of each part of the logits (N, classes),
/// one after the other (Salimans et al., arXiv 1606.03498, in 10 parts). 1 if all images look
/// alike, and at most the number of classes. Throws ShapeError unless there are as many rows as
/// parts.
[[nodiscard]] inline InceptionScore inception_score(const Tensor<float>& logits,
                                                    std::size_t parts = 10) {
  const std::size_t rows = logits.rows(), classes = logits.row_size();
  if (parts == 0 || rows < parts || logits.shape().rank() != 2)
    throw ShapeError("inception_score: logits of shape " + to_string(logits.shape()) +
                     " cannot be cut into " + std::to_string(parts) + " parts");
  std::vector<double> scores;
  for (std::size_t part = 0; part < parts; ++part) {
    const std::size_t first = rows * part / parts, last = rows * (part + 1) / parts;
    std::vector<double> marginal(classes), p(classes);
    double entropies = 0;  // sum of E log p(y | x)
    for (std::size_t row = first; row < last; ++row) {
      const float* x = logits.row(row);
      const double largest = *std::max_element(x, x + classes);
      double sum = 0;
      for (std::size_t c = 0; c < classes; ++c) sum += p[c] = std::exp(x[c] - largest);
      for (std::size_t c = 0; c < classes; ++c) {
        p[c] /= sum;
        marginal[c] += p[c] / static_cast<double>(last - first);
        entropies += p[c] * (x[c] - largest - std::log(sum));
      }
    }
    double of_marginal = 0;
    for (const double q : marginal) of_marginal += q > 0 ? q * std::log(q) : 0;
    scores.push_back(std::exp(entropies / static_cast<double>(last - first) - of_marginal));
  }
  InceptionScore result;
  for (const double score : scores) result.mean += score / static_cast<double>(parts);
  double squares = 0;
  for (const double score : scores) squares += (score - result.mean) * (score - result.mean);
  result.standard_deviation = std::sqrt(squares / static_cast<double>(parts));
  return result;
}

}  // namespace meanflow
