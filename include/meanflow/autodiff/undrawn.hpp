// SPDX-License-Identifier: MIT
/// \file
/// The size of a net without the memory that it would need.
#pragma once

#include <cstddef>
#include <utility>

namespace meanflow {

namespace detail {

[[nodiscard]] inline bool& undrawn() {
  thread_local bool is = false;
  return is;
}

}  // namespace detail

/// While in scope, parameters that the calling thread adds are neither cleared nor drawn, so that a
/// net can be asked for its size without touching the memory that it would need.
class Undrawn {
 public:
  Undrawn() : saved_(std::exchange(detail::undrawn(), true)) {}
  Undrawn(const Undrawn&) = delete;
  Undrawn& operator=(const Undrawn&) = delete;
  ~Undrawn() { detail::undrawn() = saved_; }

 private:
  bool saved_;
};

/// The number of parameters of `Net(settings)`, whose memory is not touched.
template <class Net, class Settings>
[[nodiscard]] std::size_t parameter_count(const Settings& settings) {
  const Undrawn scope;
  return Net(settings).parameters().count();
}

}  // namespace meanflow
