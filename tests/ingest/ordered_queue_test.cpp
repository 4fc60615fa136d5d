// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <future>

#include <gtest/gtest.h>

#include "ingest/pipeline.h"

namespace bygone::ingest {
namespace {

using namespace std::chrono_literals;

TEST(OrderedQueue, LetsAWriterGoOnAsSoonAsThereIsRoom) {
  OrderedQueue<int> queue(8);
  for (int i = 0; i < 8; ++i) queue.push(i, false);
  auto writer = std::async(std::launch::async, [&] { queue.push(8, false); });
  EXPECT_EQ(writer.wait_for(20ms), std::future_status::timeout);
  EXPECT_EQ(queue.pop(), 0);  // whoever has it may wait for what the writer does next
  EXPECT_EQ(writer.wait_for(10s), std::future_status::ready);
}

TEST(OrderedQueue, HandsOverAtOnceWhatIsAwaited) {
  OrderedQueue<int> queue(8);
  auto reader = std::async(std::launch::async, [&] { return queue.pop(); });
  queue.push(1, false);
  EXPECT_EQ(reader.wait_for(20ms), std::future_status::timeout);
  queue.push(2, true);
  ASSERT_EQ(reader.wait_for(10s), std::future_status::ready);
  EXPECT_EQ(reader.get(), 1);
  EXPECT_EQ(queue.pop(), 2);
}

TEST(OrderedQueue, HandsOverAllBeforeItsEnd) {
  OrderedQueue<int> queue(256);
  for (int i = 0; i < 100; ++i) queue.push(i, false);
  queue.close();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(queue.pop(), i);
  EXPECT_EQ(queue.pop(), std::nullopt);
}

TEST(OrderedQueue, PassesEachValueOnceInOrder) {
  OrderedQueue<int> queue(70);
  auto writer = std::async(std::launch::async, [&] {
    for (int i = 0; i < 100'000; ++i) queue.push(i, i % 1'000 == 0);
    queue.close();
  });
  int next = 0;
  while (const auto value = queue.pop()) ASSERT_EQ(*value, next++);
  EXPECT_EQ(next, 100'000);
}

}  // namespace
}  // namespace bygone::ingest
