// SPDX-License-Identifier: MIT
/// \file
/// The embedding of classes, and of having none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <meanflow/autodiff/parameters.hpp>
#include <meanflow/nn/initializers.hpp>
#include <meanflow/ops/embedding.hpp>

namespace meanflow {

/// Classes to (B, width): a row of the table `name` (classes + 1, width), drawn from
/// N(0, deviation^2). Its last row is the null class.
template <class T = float, class Device = Cpu>
class ClassEmbedding {
 public:
  ClassEmbedding(Parameters<T, Device>& parameters, const std::string& name, std::size_t classes,
                 std::size_t width, double deviation)
      : table_(parameters.add(name, {classes + 1, width})) {
    initialize(table_, {Distribution::normal, deviation});
  }

  [[nodiscard]] std::int32_t null_class() const {
    return static_cast<std::int32_t>(table_.shape().rows() - 1);
  }

  /// The rows of `labels` (B), or of the null class if there are none.
  template <Differentiable X>
  [[nodiscard]] X operator()(const Tensor<std::int32_t, Device>& labels, const X& like) const {
    return class_embedding(
        table_,
        labels.empty() ? Tensor<std::int32_t, Device>::full({like.rows()}, null_class()) : labels,
        like);
  }

 private:
  Parameter<T, Device> table_;
};

}  // namespace meanflow
