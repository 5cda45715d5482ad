// SPDX-License-Identifier: MIT
/// \file
/// How the processes of one training run stay together when one of them fails or wants to stop.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <exception>
#include <span>
#include <string>
#include <vector>

#include <meanflow/error.hpp>
#include <meanflow/tensor/tensor.hpp>
#include <meanflow/tensor/transfer.hpp>
#include <meanflow/train/state.hpp>

namespace meanflow {

/// Another process of the training run has failed, and this one ends with it.
struct OtherProcessError : Error {
  using Error::Error;
};

namespace detail {

/// The lowest rank of those that say yes; size() if none does.
template <class C>
[[nodiscard]] std::size_t first_of(C& communicator, bool yes) {
  std::vector<double> said(communicator.size(), 0);  // 0 and 1 are exact
  said[communicator.rank()] = yes ? 1 : 0;
  communicator.all_reduce(std::span<double>(said));
  return static_cast<std::size_t>(std::find(said.begin(), said.end(), 1) - said.begin());
}

/// The text of the process with that rank.
template <class C>
[[nodiscard]] std::string text_of(C& communicator, std::size_t rank, std::string text) {
  std::size_t size = text.size();
  communicator.broadcast({reinterpret_cast<char*>(&size), sizeof size}, rank);
  text.resize(size);
  communicator.broadcast(text, rank);
  return text;
}

/// Replaces a state by that of the root.
template <class C, class T, class Device>
void take_from_root(C& communicator, TrainingState<T, Device>& state) {
  const auto take = [&](void* data, std::size_t bytes) {
    communicator.broadcast({static_cast<char*>(data), bytes}, 0);
  };
  const auto take_values = [&](Tensor<T, Device>& values) {
    Tensor<T> here = to_host(values).clone();
    take(here.data(), here.size() * sizeof(T));
    values = to_device<Device>(here);
  };
  take(&state.step, sizeof state.step);
  take_values(state.parameters);
  for (auto& values : state.optimizer) take_values(values);
  for (auto& values : state.averages) take_values(values);
}

/// Replaces numbers by their sums over all processes. One that has failed says why; then the others
/// throw OtherProcessError, and it returns.
template <class C>
void exchange(C& communicator, std::vector<double>& numbers, const char* failure = nullptr) {
  numbers.push_back(failure ? 1 : 0);
  communicator.all_reduce(std::span<double>(numbers));
  const double failed = numbers.back();
  numbers.pop_back();
  if (failed == 0) return;
  const std::size_t first = first_of(communicator, failure != nullptr);
  const std::string why = text_of(communicator, first, failure ? failure : "");
  if (!failure)
    throw OtherProcessError("process " + std::to_string(first) + " of " +
                            std::to_string(communicator.size()) + " failed: " + why);
}

/// f(), after which all processes go on together; whether one of them wants to stop, which f tells
/// if it returns a bool. What f throws in one of them ends all.
template <class C, class F>
bool agree(C& communicator, F f) {
  const auto wants_to_stop = [&]() -> bool {
    if constexpr (std::same_as<decltype(f()), bool>)
      return f();
    else
      return f(), false;
  };
  if (communicator.size() == 1) return wants_to_stop();
  std::vector<double> votes(1);
  try {
    votes[0] = wants_to_stop() ? 1 : 0;
  } catch (const std::exception& failure) {
    exchange(communicator, votes, failure.what());
    throw;
  }
  exchange(communicator, votes);
  return votes[0] > 0;
}

}  // namespace detail

}  // namespace meanflow
