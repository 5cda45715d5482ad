// SPDX-License-Identifier: MIT
/// \file
/// What each core works with in a training step.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include <meanflow/autodiff/tape.hpp>
#include <meanflow/kernels/reference.hpp>
#include <meanflow/optim/update.hpp>
#include <meanflow/train/exact_sums.hpp>

namespace meanflow {

namespace detail {

/// *sum = the sum of n numbers, in their order.
struct AddUp {
  std::size_t n;
  const double* parts;
  double* sum;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t /*i*/) const {
    double total = 0;
    for (std::size_t i = 0; i < n; ++i) total += parts[i];
    *sum = total;
  }
};

}  // namespace detail

/// A tape and a gradient for each core. The first adds to the gradient of the step itself, the
/// others to gradients of their own, which are added up once.
template <class T, class Device>
class Workers {
 public:
  using Values = Tensor<T, Device>;

  /// At least `count` of them.
  void prepare(std::size_t count, const Parameters<T, Device>& parameters, const Values& gradient,
               const std::shared_ptr<const std::vector<bool>>& frozen) {
    frozen_ = frozen;
    reserve_parts(chunks_of({0, gradient.size()}));  // nothing is allocated once tiles are done
    while (all_.size() < count) {
      all_.push_back(std::make_unique<Worker>());
      Worker& worker = *all_.back();
      worker.gradient = all_.size() == 1 ? gradient : Values::zeros({gradient.size()});
      worker.tape.bind(parameters, worker.gradient, frozen);
    }
  }

  [[nodiscard]] Tape<T, Device>& tape(std::size_t worker) { return all_[worker]->tape; }

  /// At least `count` tapes for tiles that are kept on their way to the losses.
  void prepare_tiles(std::size_t count) {
    while (tiles_.size() < count) tiles_.push_back(std::make_unique<Tape<T, Device>>());
  }
  /// The tape of a tile, whose gradients are from now on added to those of `worker`.
  [[nodiscard]] Tape<T, Device>& bind_tile(std::size_t tile, std::size_t worker,
                                           const Parameters<T, Device>& parameters) {
    tiles_[tile]->bind(parameters, all_[worker]->gradient, frozen_);
    return *tiles_[tile];
  }

  /// Discards what a failed step left behind.
  void clear() {
    for (auto& worker : all_) {
      worker->tape.watch({});
      worker->tape.clear();
      fill(Device{}, worker->gradient.size(), T(0), worker->gradient.data());
      worker->exact = {};
    }
    for (auto& tape : tiles_) tape->clear();
  }

  /// Adds the gradients to the first, clears the others for the next step, and writes the squared
  /// norm of the sum to `squared_norm` on the device.
  void add_up(double* squared_norm) {
    const FlatRange all{0, all_.front()->gradient.size()};
    each_chunk_norm(all, squared_norm, [&](std::size_t begin, std::size_t count) {
      T* const sum = all_.front()->gradient.data() + begin;
      for (std::size_t worker = 1; worker < all_.size(); ++worker) {
        T* const part = all_[worker]->gradient.data() + begin;
        accumulate(Device{}, count, part, sum);
        fill(Device{}, count, T(0), part);
      }
    });
  }

  /// Adds a part of the gradients to the first, and clears it in the others.
  void add_up(std::size_t begin, std::size_t end) {
    T* const sum = all_.front()->gradient.data();
    for (std::size_t worker = 1; worker < all_.size(); ++worker) {
      T* const part = all_[worker]->gradient.data();
      accumulate(Device{}, end - begin, part + begin, sum + begin);
      fill(Device{}, end - begin, T(0), part + begin);
    }
  }

  /// Moves what tiles have added to the gradient of a worker to its exact sums.
  void settle(std::size_t worker) {
    Worker& own = *all_[worker];
    if (own.exact.size() == 0) own.exact = detail::ExactSums(own.gradient.size());
    own.exact.take(own.gradient.span());
  }
  /// The exact sums of all workers.
  [[nodiscard]] detail::ExactSums& exact_sums() {
    for (std::size_t worker = 0; worker < all_.size(); ++worker) settle(worker);
    for (std::size_t worker = 1; worker < all_.size(); ++worker)
      all_.front()->exact.take(all_[worker]->exact);
    return all_.front()->exact;
  }

  /// Writes the squared norm of a part of the first gradient, as after an all-reduce.
  void measure(const FlatRange& range, double* squared_norm) {
    each_chunk_norm(range, squared_norm, [](std::size_t, std::size_t) {});
  }

 private:
  struct Worker {
    Tape<T, Device> tape;
    Values gradient;
    detail::ExactSums exact{};
  };

  /// Calls before(begin, count) for each chunk, and then adds the chunk to the squared norm, while
  /// it is in cache.
  template <class F>
  void each_chunk_norm(const FlatRange& range, double* to, F before) {
    const std::size_t chunk = detail::chunk_elements<Device>(range.size());
    reserve_parts(chunks_of(range));
    detail::for_each_chunk<Device>(range, [&](std::size_t begin, std::size_t count) {
      before(begin, count);
      squared_norm(Device{}, count, all_.front()->gradient.data() + begin,
                   parts_.data() + (begin - range.begin) / chunk);
    });
    for_each_index(Device{}, 1, detail::AddUp{chunks_of(range), parts_.data(), to});
  }

  [[nodiscard]] static std::size_t chunks_of(const FlatRange& range) {
    const std::size_t chunk = detail::chunk_elements<Device>(range.size());
    return (range.size() + chunk - 1) / chunk;
  }
  void reserve_parts(std::size_t chunks) {
    if (parts_.size() < chunks) parts_ = Tensor<double, Device>({chunks});
  }

  std::vector<std::unique_ptr<Worker>> all_;
  std::vector<std::unique_ptr<Tape<T, Device>>> tiles_;
  std::shared_ptr<const std::vector<bool>> frozen_;
  Tensor<double, Device> parts_;  // of the squared norm
};

}  // namespace meanflow
