// SPDX-License-Identifier: MIT
/// \file
/// What the processes of a step give each other: the gradient, its norm, and the parameters that
/// each of them has updated.
#pragma once

#include <cstddef>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include <meanflow/flow/objective.hpp>
#include <meanflow/optim/update.hpp>
#include <meanflow/tensor/tensor.hpp>
#include <meanflow/tensor/transfer.hpp>
#include <meanflow/train/communicator.hpp>
#include <meanflow/train/gradient_sum.hpp>
#include <meanflow/train/parts.hpp>
#include <meanflow/train/settings.hpp>
#include <meanflow/train/workers.hpp>

namespace meanflow::detail {

/// The calls of one step are, in this order: a sum, and where the optimizer's state is in parts the
/// norms and the parameters. A process that fails spoils what is left of them.
template <class N, class R>
class StepExchange {
 public:
  using T = typename N::value_type;
  using Device = typename N::device_type;
  using Values = Tensor<T, Device>;
  using Communicator = decltype(R::communicator);

  /// If the optimizer's state is in parts, `shards` are their bounds.
  explicit StepExchange(std::vector<std::size_t> shards) : shards_(std::move(shards)) {
    if (!shards_.empty()) norm_ = Tensor<double, Device>({1});
  }

  /// Whether all of it only queues work on the device.
  [[nodiscard]] bool can_be_recorded() const {
    return RecordableCommunicator<Communicator> && (shards_.empty() || records_parts);
  }

  /// f(sum), with how the gradients of this many tiles are added up.
  template <class F>
  void with_sum(const N& net, Communicator& communicator, const TrainerSettings& settings,
                Workers<T, Device>& workers, const Values& gradient, std::size_t tiles, F f) {
    if constexpr (can_overlap)
      if (overlaps_backward(communicator, settings)) {
        OverlappedSum<T, Communicator> sum(
            communicator, workers, gradient,
            gradient_buckets(net.parameters().entries(), gradient.size(), settings.bucket), shards_,
            tiles);
        f(sum);
        return;
      }
    SumAtEnd<T, Device, Communicator> sum(communicator, workers, gradient, settings.deterministic);
    f(sum);
  }

  /// The part of the gradient whose norm this process measures. Exact sums are measured as a whole,
  /// in the order in which one process does.
  [[nodiscard]] FlatRange measured(const FlatRange& own, const FlatRange& all,
                                   const TrainerSettings& settings) const {
    return measures_parts(settings) ? own : all;
  }

  /// The squared norm of a part becomes that of the whole.
  void add_up_norms(Communicator& communicator, const TrainerSettings& settings,
                    double* squared_norm) {
    if (!measures_parts(settings)) return;
    copy(Device{}, 1, squared_norm, norm_.data());
    add_up_norms(communicator);
    copy(Device{}, 1, norm_.data(), squared_norm);
  }

  /// Brings the parameters that others have updated.
  void gather_parameters(Communicator& communicator, const N& net) const {
    Values values = net.parameters().values();
    all_gather(communicator, values, shards_);
  }

  /// Sends NaN in place of what has not been sent, and meets the others until their step ends,
  /// which then changes nothing.
  template <class Sum>
  void spoil(Sum& sum, const N& net, Communicator& communicator, const TrainerSettings& settings) {
    sum.spoil();
    if (shards_.empty()) return;
    if (measures_parts(settings)) {
      fill(Device{}, 1, std::numeric_limits<double>::quiet_NaN(), norm_.data());
      add_up_norms(communicator);
    }
    gather_parameters(communicator, net);
  }

 private:
  static constexpr bool can_overlap =
      std::is_same_v<Device, Cpu> && OverlappingCommunicator<Communicator, T> &&
      RowObjective<decltype(R::objective), N, decltype(R::weighting)>;

  /// Whether norms and parts of the parameters go from device to device.
  static constexpr bool records_parts =
      requires(Communicator& communicator, Tensor<double, Device>& norm, Values& values,
               const std::vector<std::size_t>& bounds) {
        communicator.all_reduce(norm);
        communicator.all_gather(values, bounds);
      };

  [[nodiscard]] static bool overlaps_backward(const Communicator& communicator,
                                              const TrainerSettings& settings) {
    return communicator.size() > 1 && settings.bucket > 0 && !settings.deterministic &&
           overlaps<T>(communicator);
  }

  [[nodiscard]] bool measures_parts(const TrainerSettings& settings) const {
    return !shards_.empty() && !settings.deterministic;
  }

  void add_up_norms(Communicator& communicator) {
    if constexpr (requires { communicator.all_reduce(norm_); }) {
      communicator.all_reduce(norm_);
    } else {
      Tensor<double> here = to_host(norm_).clone();
      communicator.all_reduce(here.span());
      write(norm_, here.data());
    }
  }

  std::vector<std::size_t> shards_;  // bounds of the processes' parts; empty: all have all
  Tensor<double, Device> norm_;      // squared, of a part, while it is added up
};

}  // namespace meanflow::detail
