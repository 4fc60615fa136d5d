// SPDX-License-Identifier: Apache-2.0
//
// The same work for several items at once. Any thread.
#pragma once

#include <system_error>
#include <thread>
#include <vector>

namespace bygone::ingest {

// Calls `work` for each item at once: a thread for each, or this one where none is to be had. All
// have ended when it returns.
template <class Item, class Work>
void for_each_at_once(std::vector<Item>& items, const Work& work) {
  std::vector<std::thread> threads;
  threads.reserve(items.size());
  for (Item& item : items) {
    try {
      threads.emplace_back([&work, &item] { work(item); });
    } catch (const std::system_error&) {
      work(item);
    }
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace bygone::ingest
