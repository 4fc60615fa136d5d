// SPDX-License-Identifier: Apache-2.0
//
// A cache of values under keys, bounded by the sum of their stated costs; the least recently used
// go first. Callable from any thread: values are copied out under the lock (use shared_ptr).
#pragma once

#include <list>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bygone {

template <class Key, class Value, class Hash = std::hash<Key>>
class LruCache {
 public:
  explicit LruCache(std::size_t capacity) : capacity_(capacity) {}

  // The value, now the most recently used; nothing when it is not there.
  std::optional<Value> find(const Key& key) {
    const std::lock_guard lock(mutex_);
    const auto found = places_.find(key);
    if (found == places_.end()) return std::nullopt;
    items_.splice(items_.begin(), items_, found->second);
    return found->second->value;
  }

  // All values, the most recently used first.
  std::vector<Value> values() {
    const std::lock_guard lock(mutex_);
    std::vector<Value> out;
    for (const Item& item : items_) out.push_back(item.value);
    return out;
  }

  // Puts a value, replacing an older one; drops others until the costs fit. The value just put
  // stays even when it alone is over the capacity.
  void insert(const Key& key, Value value, std::size_t cost) {
    std::list<Item> dropped;  // destroyed after the lock is released
    const std::lock_guard lock(mutex_);
    if (const auto found = places_.find(key); found != places_.end()) {
      drop(found->second, dropped);
    }
    items_.push_front({key, std::move(value), cost});
    places_[key] = items_.begin();
    used_ += cost;
    while (used_ > capacity_ && items_.size() > 1) drop(std::prev(items_.end()), dropped);
  }

  void erase(const Key& key) {
    std::list<Item> dropped;
    const std::lock_guard lock(mutex_);
    if (const auto found = places_.find(key); found != places_.end()) drop(found->second, dropped);
  }

 private:
  struct Item {
    Key key;
    Value value;
    std::size_t cost;
  };
  using Place = typename std::list<Item>::iterator;

  void drop(Place place, std::list<Item>& dropped) {
    used_ -= place->cost;
    places_.erase(place->key);
    dropped.splice(dropped.begin(), items_, place);
  }

  std::mutex mutex_;
  std::list<Item> items_;
  std::unordered_map<Key, Place, Hash> places_;
  std::size_t capacity_;
  std::size_t used_ = 0;
};

}  // namespace bygone
