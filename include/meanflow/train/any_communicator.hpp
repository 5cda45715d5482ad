// SPDX-License-Identifier: MIT
/// \file
/// A communicator that is chosen when the program runs.
#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/tensor/transfer.hpp>
#include <meanflow/train/communicator.hpp>
#include <meanflow/train/parts.hpp>

namespace meanflow {

/// A `Communicator` that holds one of any type, so that a program is compiled once for one process
/// and for many. By default that of a single process. Tensors of a device go by way of the host.
class AnyCommunicator {
 public:
  AnyCommunicator() = default;
  template <Communicator<float> C>
    requires(!std::same_as<std::remove_cvref_t<C>, AnyCommunicator>)
  explicit AnyCommunicator(C communicator)
      : held_(std::make_shared<Held<C>>(std::move(communicator))) {}

  [[nodiscard]] std::size_t size() const { return held_ ? held_->size() : 1; }
  [[nodiscard]] std::size_t rank() const { return held_ ? held_->rank() : 0; }

  template <class T, class Device>
  void all_reduce(Tensor<T, Device>& values) const {
    if (!held_) return;
    if constexpr (std::same_as<Device, Cpu>) {
      held_->all_reduce(values);
    } else {
      Tensor<T> here = to_host(values).clone();
      held_->all_reduce(here);
      write(values, here.data());
    }
  }
  void all_reduce(std::span<double> numbers) const {
    if (held_) held_->all_reduce(numbers);
  }
  void broadcast(std::span<char> bytes, std::size_t rank) const {
    if (held_) held_->broadcast(bytes, rank);
  }

 private:
  struct AnyPending {
    AnyPending() = default;
    AnyPending(const AnyPending&) = delete;
    AnyPending& operator=(const AnyPending&) = delete;
    virtual ~AnyPending() = default;
    [[nodiscard]] virtual bool done() = 0;
    virtual void wait() = 0;
  };

 public:
  /// Sums that are under way.
  class Pending {
   public:
    explicit Pending(std::unique_ptr<AnyPending> held) : held_(std::move(held)) {}
    [[nodiscard]] bool done() { return !held_ || held_->done(); }
    void wait() {
      if (held_) held_->wait();
    }

   private:
    std::unique_ptr<AnyPending> held_;
  };

  /// Whether the one that is held is an `OverlappingCommunicator`.
  [[nodiscard]] bool overlaps() const { return held_ && held_->overlaps(); }

  /// Throws SettingError if one is held that is not.
  template <class T>
  [[nodiscard]] Pending begin_all_reduce(std::span<T> numbers) const {
    return Pending(held_ ? held_->begin_all_reduce(numbers) : nullptr);
  }
  template <class T>
  [[nodiscard]] Pending begin_reduce(std::span<T> numbers, std::size_t rank) const {
    return Pending(held_ ? held_->begin_reduce(numbers, rank) : nullptr);
  }
  template <class T>
  void all_gather(std::span<T> values, std::span<const std::size_t> bounds) const {
    if (held_) held_->all_gather(values, {bounds.begin(), bounds.end()});
  }

 private:
  struct Interface {
    Interface() = default;
    Interface(const Interface&) = delete;
    Interface& operator=(const Interface&) = delete;
    virtual ~Interface() = default;
    [[nodiscard]] virtual std::size_t size() const = 0;
    [[nodiscard]] virtual std::size_t rank() const = 0;
    virtual void all_reduce(Tensor<float>& values) = 0;
    virtual void all_reduce(Tensor<double>& values) = 0;
    virtual void all_reduce(std::span<double> numbers) = 0;
    virtual void broadcast(std::span<char> bytes, std::size_t rank) = 0;
    [[nodiscard]] virtual bool overlaps() const = 0;
    [[nodiscard]] virtual std::unique_ptr<AnyPending> begin_all_reduce(std::span<float>) = 0;
    [[nodiscard]] virtual std::unique_ptr<AnyPending> begin_all_reduce(std::span<double>) = 0;
    [[nodiscard]] virtual std::unique_ptr<AnyPending> begin_reduce(std::span<float>,
                                                                   std::size_t rank) = 0;
    [[nodiscard]] virtual std::unique_ptr<AnyPending> begin_reduce(std::span<double>,
                                                                   std::size_t rank) = 0;
    virtual void all_gather(std::span<float>, const std::vector<std::size_t>& bounds) = 0;
    virtual void all_gather(std::span<double>, const std::vector<std::size_t>& bounds) = 0;
  };

  template <class P>
  struct HeldPending final : AnyPending {
    explicit HeldPending(P p) : pending(std::move(p)) {}
    [[nodiscard]] bool done() override { return pending.done(); }
    void wait() override { pending.wait(); }
    P pending;
  };

  template <class C>
  struct Held final : Interface {
    explicit Held(C c) : communicator(std::move(c)) {}
    [[nodiscard]] std::size_t size() const override { return communicator.size(); }
    [[nodiscard]] std::size_t rank() const override { return communicator.rank(); }
    void all_reduce(Tensor<float>& values) override { communicator.all_reduce(values); }
    void all_reduce(Tensor<double>& values) override { communicator.all_reduce(values); }
    void all_reduce(std::span<double> numbers) override { communicator.all_reduce(numbers); }
    void broadcast(std::span<char> bytes, std::size_t rank) override {
      communicator.broadcast(bytes, rank);
    }
    [[nodiscard]] bool overlaps() const override { return OverlappingCommunicator<C, float>; }
    [[nodiscard]] std::unique_ptr<AnyPending> begin_all_reduce(std::span<float> n) override {
      return begin(n, {});
    }
    [[nodiscard]] std::unique_ptr<AnyPending> begin_all_reduce(std::span<double> n) override {
      return begin(n, {});
    }
    [[nodiscard]] std::unique_ptr<AnyPending> begin_reduce(std::span<float> n,
                                                           std::size_t rank) override {
      return begin(n, rank);
    }
    [[nodiscard]] std::unique_ptr<AnyPending> begin_reduce(std::span<double> n,
                                                           std::size_t rank) override {
      return begin(n, rank);
    }
    void all_gather(std::span<float> values, const std::vector<std::size_t>& bounds) override {
      detail::all_gather(communicator, values, bounds);
    }
    void all_gather(std::span<double> values, const std::vector<std::size_t>& bounds) override {
      detail::all_gather(communicator, values, bounds);
    }
    /// For the process of that rank, or for all.
    template <class T>
    [[nodiscard]] std::unique_ptr<AnyPending> begin(std::span<T> numbers,
                                                    std::optional<std::size_t> rank) {
      if constexpr (OverlappingCommunicator<C, T>) {
        using P = decltype(communicator.begin_all_reduce(numbers));
        return std::make_unique<HeldPending<P>>(
            rank ? detail::begin_reduce(communicator, numbers, *rank)
                 : communicator.begin_all_reduce(numbers));
      } else {
        throw SettingError("begin_all_reduce: this communicator cannot add up in the background");
      }
    }
    C communicator;
  };

  std::shared_ptr<Interface> held_;
};

}  // namespace meanflow
