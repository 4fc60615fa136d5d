// SPDX-License-Identifier: Apache-2.0
#include "ingest/spare_processor.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <optional>
#include <thread>

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include "tests/support/processors.h"

namespace bygone::ingest {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using test::processors_of;

// A host on which others use so many processors, and this process all that is left of them.
class FakeProcessors {
 public:
  std::atomic<double> others{0};
  std::atomic<bool> tells{true};
  SpareProcessor::Times times() {
    return [this, seen = ProcessorTimes{},
            last = std::chrono::steady_clock::now()]() mutable -> std::optional<ProcessorTimes> {
      if (!tells) return std::nullopt;
      const auto now = std::chrono::steady_clock::now();
      const auto of_all = (now - last) * ::sysconf(_SC_NPROCESSORS_ONLN);
      const auto of_others = std::chrono::duration_cast<nanoseconds>((now - last) * others.load());
      seen.all += of_all;
      seen.busy += of_all;
      seen.own += of_all - of_others;
      last = now;
      return seen;
    };
  }
};

// A thread of this process that does nothing until it is destroyed.
class Worker {
 public:
  Worker()
      : thread_([this] {
          started_.set_value(::gettid());
          end_.get_future().wait();
        }),
        id_(started_.get_future().get()) {}
  ~Worker() {
    end_.set_value();
    thread_.join();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  [[nodiscard]] bool has(const cpu_set_t& set) const {
    const cpu_set_t own = processors_of(id_);
    return CPU_EQUAL(&own, &set) != 0;
  }

 private:
  std::promise<pid_t> started_;
  std::promise<void> end_;
  std::thread thread_;
  pid_t id_;
};

bool becomes_true(const std::function<bool()>& condition) {
  for (int i = 0; i < 2000 && !condition(); ++i) std::this_thread::sleep_for(5ms);
  return condition();
}

class SpareProcessorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    all_ = but_one_ = processors_of(0);
    if (CPU_COUNT(&all_) < 2) GTEST_SKIP() << "needs two processors";
    std::size_t last = 0;
    for (std::size_t i = 0; i < CPU_SETSIZE; ++i) last = CPU_ISSET(i, &all_) ? i : last;
    CPU_CLR(last, &but_one_);
  }
  // This thread.
  [[nodiscard]] static bool have(const cpu_set_t& set) {
    const cpu_set_t own = processors_of(0);
    return CPU_EQUAL(&own, &set) != 0;
  }
  cpu_set_t all_{}, but_one_{};
  FakeProcessors host_;
};

TEST_F(SpareProcessorTest, IsLeftWhileOthersAreBusyAndTakenBack) {
  SpareProcessor spare(host_.times());
  const SpareProcessor::Watch watch(spare);
  const Worker worker;
  EXPECT_TRUE(worker.has(all_));
  host_.others = 1.5;
  EXPECT_TRUE(becomes_true([&] { return worker.has(but_one_); }));
  EXPECT_TRUE(becomes_true([&] { return have(but_one_); }));
  host_.others = 0.3;  // less than what makes us leave it, more than what lets us take it back
  std::this_thread::sleep_for(1200ms);
  EXPECT_TRUE(worker.has(but_one_));
  host_.others = 0.05;
  EXPECT_TRUE(becomes_true([&] { return worker.has(all_); }));
  host_.others = 0.3;
  std::this_thread::sleep_for(1200ms);
  EXPECT_TRUE(worker.has(all_));
}

TEST_F(SpareProcessorTest, IsLeftByThreadsThatBeginLater) {
  SpareProcessor spare(host_.times());
  host_.others = 2;
  const SpareProcessor::Watch watch(spare);
  ASSERT_TRUE(becomes_true([&] { return have(but_one_); }));
  const Worker worker;
  EXPECT_TRUE(worker.has(but_one_));
  std::thread([&] {  // by one that somebody else has given all of them
    ASSERT_EQ(::sched_setaffinity(0, sizeof all_, &all_), 0);
    const Worker other;
    EXPECT_TRUE(becomes_true([&] { return other.has(but_one_); }));
  })
      .join();
}

TEST_F(SpareProcessorTest, IsTakenBackForAsLongAsSomebodyStandsStill) {
  SpareProcessor spare(host_.times());
  host_.others = 2;
  const SpareProcessor::Watch watch(spare);
  ASSERT_TRUE(becomes_true([&] { return have(but_one_); }));
  const Worker worker;
  std::optional<SpareProcessor::Hurry> first(spare), second(spare);
  EXPECT_TRUE(have(all_));
  EXPECT_TRUE(worker.has(all_));
  first.reset();
  std::this_thread::sleep_for(1200ms);  // past a look at others, who are busy still
  EXPECT_TRUE(have(all_));
  second.reset();
  EXPECT_TRUE(becomes_true([&] { return have(but_one_) && worker.has(but_one_); }));
}

TEST_F(SpareProcessorTest, IsTakenBackWithTheLastWatchAndLeftAgainByTheNext) {
  SpareProcessor spare(host_.times());
  host_.others = 2;
  std::optional<SpareProcessor::Watch> first(spare), second(spare);
  ASSERT_TRUE(becomes_true([&] { return have(but_one_); }));
  first.reset();
  std::this_thread::sleep_for(700ms);
  EXPECT_TRUE(have(but_one_));
  second.reset();
  EXPECT_TRUE(have(all_));
  const SpareProcessor::Watch next(spare);
  EXPECT_TRUE(becomes_true([&] { return have(but_one_); }));
}

TEST_F(SpareProcessorTest, IsTakenBackFromAThreadThatWasMissedAtFirst) {
  SpareProcessor spare(host_.times());
  host_.others = 2;
  std::optional<SpareProcessor::Watch> watch(spare);
  ASSERT_TRUE(becomes_true([&] { return have(but_one_); }));
  watch.reset();
  // As if it had been started while the others got their processors back.
  std::thread([&] {
    ASSERT_EQ(::sched_setaffinity(0, sizeof but_one_, &but_one_), 0);
    EXPECT_TRUE(becomes_true([&] { return have(all_); }));
  }).join();
}

TEST_F(SpareProcessorTest, StaysWithUsWhereTheKernelDoesNotTell) {
  host_.others = 2;
  host_.tells = false;
  SpareProcessor spare(host_.times());
  const SpareProcessor::Watch watch(spare);
  std::this_thread::sleep_for(700ms);
  EXPECT_TRUE(have(all_));
}

TEST_F(SpareProcessorTest, IsNotLookedForByWhoMayUseOneAlone) {
  std::thread([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    for (std::size_t i = 0; CPU_COUNT(&one) == 0; ++i) {
      if (CPU_ISSET(i, &all_)) CPU_SET(i, &one);
    }
    ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
    host_.others = 2;
    SpareProcessor spare(host_.times());
    const SpareProcessor::Watch watch(spare);
    const SpareProcessor::Hurry hurry(spare);
    const Worker worker;
    std::this_thread::sleep_for(700ms);
    EXPECT_TRUE(worker.has(one));
  }).join();
  EXPECT_TRUE(have(all_));
}

}  // namespace
}  // namespace bygone::ingest
