// SPDX-License-Identifier: Apache-2.0
#include "store/base/lru.h"

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace bygone {
namespace {

TEST(LruCache, DropsTheLeastRecentlyUsedFirst) {
  LruCache<int, std::string> cache(3);
  cache.insert(1, "one", 1);
  cache.insert(2, "two", 1);
  cache.insert(3, "three", 1);
  EXPECT_EQ(cache.find(1), "one");
  cache.insert(4, "four", 1);
  EXPECT_EQ(cache.find(2), std::nullopt);
  EXPECT_EQ(cache.find(1), "one");
  EXPECT_EQ(cache.find(3), "three");
  EXPECT_EQ(cache.find(4), "four");
}

TEST(LruCache, CountsCostsAndKeepsTheValueJustPut) {
  LruCache<int, int> cache(10);
  cache.insert(1, 1, 4);
  cache.insert(2, 2, 4);
  cache.insert(3, 3, 100);
  EXPECT_EQ(cache.find(1), std::nullopt);
  EXPECT_EQ(cache.find(2), std::nullopt);
  EXPECT_EQ(cache.find(3), 3);
  cache.insert(4, 4, 1);
  EXPECT_EQ(cache.find(3), std::nullopt);
  EXPECT_EQ(cache.find(4), 4);
}

TEST(LruCache, ReplacesAndErases) {
  LruCache<int, int> cache(10);
  for (int i = 0; i < 100; ++i) cache.insert(1, i, 5);
  EXPECT_EQ(cache.find(1), 99);
  cache.insert(2, 2, 5);
  EXPECT_EQ(cache.find(1), 99);
  cache.erase(1);
  EXPECT_EQ(cache.find(1), std::nullopt);
  cache.erase(1);
  EXPECT_EQ(cache.find(2), 2);
}

TEST(LruCache, ServesManyThreads) {
  LruCache<int, std::shared_ptr<int>> cache(64);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&cache, t] {
      for (int i = 0; i < 5000; ++i) {
        const int key = (i * 7 + t) % 100;
        if (const auto hit = cache.find(key)) {
          EXPECT_EQ(**hit, key);
        } else {
          cache.insert(key, std::make_shared<int>(key), 1);
        }
        if (i % 97 == 0) cache.erase(key);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace bygone
