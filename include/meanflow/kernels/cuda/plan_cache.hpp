// SPDX-License-Identifier: MIT
/// \file
/// A cache of the plans of a library.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <utility>

namespace meanflow::kernels::cuda {

/// Plans by key, created at their first use. The least recently used plan is dropped first; whoever
/// still holds it may keep using it. A key that has no plan is remembered as well.
template <class Key, class Plan>
class PlanCache {
 public:
  explicit PlanCache(std::size_t capacity = 512) : capacity_(capacity) {}

  /// The plan for `key`, made by make() at first use; nullptr if there is none.
  template <class Make>
  [[nodiscard]] std::shared_ptr<const Plan> find(const Key& key, Make make) {
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (!(entry->first == key)) continue;
      entries_.splice(entries_.begin(), entries_, entry);
      return entries_.front().second;
    }
    std::shared_ptr<const Plan> plan = make();
    entries_.emplace_front(key, plan);
    if (entries_.size() > capacity_) entries_.pop_back();
    return plan;
  }

  /// Another plan for a key whose plan has failed; nullptr for none.
  void replace(const Key& key, std::shared_ptr<const Plan> other) {
    for (auto& [known, plan] : entries_)
      if (known == key) plan = std::move(other);
  }

 private:
  std::size_t capacity_;
  std::list<std::pair<Key, std::shared_ptr<const Plan>>> entries_;  // most recently used first
};

}  // namespace meanflow::kernels::cuda
