// SPDX-License-Identifier: MIT
/// \file
/// What a library has planned once, to be used again.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <utility>

namespace meanflow::kernels::cuda {

/// Plans by what they are for. Each is made at its first use; that which was not used for the
/// longest is forgotten first, though whoever holds it may go on with it. That there is no plan for
/// something is remembered too.
template <class Key, class Plan>
class PlanCache {
 public:
  explicit PlanCache(std::size_t most = 512) : most_(most) {}

  /// The plan for `key`, which make() gives at first; nullptr if there is none.
  template <class Make>
  [[nodiscard]] std::shared_ptr<const Plan> find(const Key& key, Make make) {
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (!(entry->first == key)) continue;
      entries_.splice(entries_.begin(), entries_, entry);
      return entries_.front().second;
    }
    std::shared_ptr<const Plan> plan = make();
    entries_.emplace_front(key, plan);
    if (entries_.size() > most_) entries_.pop_back();
    return plan;
  }

  /// The plan for `key` has turned out not to work.
  void refuse(const Key& key) {
    for (auto& [known, plan] : entries_)
      if (known == key) plan.reset();
  }

 private:
  std::size_t most_;
  std::list<std::pair<Key, std::shared_ptr<const Plan>>> entries_;  // the last one used first
};

}  // namespace meanflow::kernels::cuda
