// SPDX-License-Identifier: MIT
// An objective with or without a teacher, which is known at run time.
#pragma once

#include <cmath>
#include <memory>
#include <string>

#include <zlib.h>

#include <meanflow/flow/distillation.hpp>
#include <meanflow/flow/objective.hpp>
#include <meanflow/tensor/transfer.hpp>
#include <meanflow/train/describe.hpp>

namespace cifar10 {

/// An objective, or what it is with a teacher's velocity in place of the data's.
template <class O, meanflow::Net T>
class Taught {
 public:
  explicit Taught(const O& towards, std::shared_ptr<const T> from = {}, double scale = 1)
      : objective_(towards), teacher_(std::move(from)), guidance_(scale) {}

  static constexpr auto metrics = O::metrics;
  [[nodiscard]] bool needs_jumps() const { return meanflow::needs_jumps(objective_); }
  [[nodiscard]] bool instantaneous() const { return meanflow::instantaneous(objective_); }
  [[nodiscard]] bool changes_with_step() const { return meanflow::changes_with_step(objective_); }
  /// Training runs with another teacher, or with none, are others.
  [[nodiscard]] std::string description() const {
    const std::string own = meanflow::detail::describe(objective_);
    if (!teacher_) return own;
    return own + " from a teacher, checksum " + std::to_string(checksum()) + ", guided by " +
           std::to_string(guidance_);
  }
  void check() const {
    if (!std::isfinite(guidance_))
      throw meanflow::SettingError("--teacher-guidance is " + std::to_string(guidance_) +
                                   ", but must be finite");
    objective_.check();
  }

  template <class N, class W>
  [[nodiscard]] auto operator()(const N& net, const meanflow::FlowBatchOf<N>& batch,
                                const meanflow::StepContext<N, W>& context) const {
    if (!teacher_) return objective_(net, batch, context);
    return meanflow::Distilled<O, T>{teacher_.get(), guidance_, objective_}(net, batch, context);
  }

 private:
  O objective_;
  std::shared_ptr<const T> teacher_;
  double guidance_;  ///< of the teacher

  [[nodiscard]] unsigned long checksum() const {
    const auto values = meanflow::to_host(teacher_->parameters().values());
    return crc32_z(0, reinterpret_cast<const Bytef*>(values.data()),
                   values.size() * sizeof(typename T::value_type));
  }
};

}  // namespace cifar10
