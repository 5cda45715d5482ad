// SPDX-License-Identifier: MIT
/// \file
/// Brings the rows of a batch to the places where a step wants them.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <meanflow/flow/coupling.hpp>
#include <meanflow/nn/condition.hpp>
#include <meanflow/tensor/tensor.hpp>
#include <meanflow/tensor/transfer.hpp>
#include <meanflow/train/step_plan.hpp>

namespace meanflow::detail {

/// order[place] = the row that stands there.
struct RowsByPlace {
  StepPlan plan;
  std::int32_t* order;

  MEANFLOW_HOST_DEVICE void operator()(std::size_t place) const {
    order[place] = static_cast<std::int32_t>(plan.row_at(place));
  }
};

/// f(x, condition), with the data beside the noise that they are paired with.
template <class K, class T, class Device, Condition C, class F>
auto with_pairs(const K& coupling, std::uint64_t seed, const StepPlan& plan,
                const Tensor<T, Device>& x, const C& condition, F f) {
  if constexpr (std::same_as<K, IndependentCoupling>) {
    return f(x, condition);
  } else {
    Tensor<T> rows = to_host(x);
    auto told = condition_to_host(condition);
    couple(coupling, plan.rows, seed, plan.step, rows, told);
    return f(to_device<Device>(rows), to_device<Device>(told));
  }
}

/// f(x, condition), with the rows that jump first, and the data beside their noise.
template <class K, class T, class Device, Condition C, class F>
auto with_places(const K& coupling, std::uint64_t seed, const StepPlan& plan,
                 const Tensor<T, Device>& x, const C& condition, F f) {
  if (plan.all.jumps == 0 || plan.all.jumps == plan.all.rows)  // then all rows stay where they are
    return with_pairs(coupling, seed, plan, x, condition, f);
  Tensor<std::int32_t, Device> order({plan.rows.count});
  for_each_index(Device{}, order.size(), RowsByPlace{plan, order.data()});
  const auto placed = [&](const auto& rows) { return in_order(rows, order); };
  return with_pairs(coupling, seed, plan, placed(x), map_parts(condition, placed), f);
}

}  // namespace meanflow::detail
