// SPDX-License-Identifier: Apache-2.0
#include "ingest/limiter.h"

#include <thread>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

namespace bygone::ingest {
namespace {

using std::chrono::nanoseconds;
using namespace std::chrono_literals;

constexpr std::uint64_t kMiB = 1u << 20;

// A host whose time passes only when somebody sleeps or reads.
struct FakeHost {
  nanoseconds now{1000s};
  nanoseconds own{0};
  std::chrono::microseconds stalled{5'000'000};
  double recent = 0;
  double others = 0;  // share of the time in which others wait
  bool sees = true;
  ProcessorTimes processors;  // of two
  double busy = 0;            // share of their time that others use
  std::atomic<bool>* cancel_in_sleep = nullptr;

  void pass(nanoseconds time) {
    now += time;
    stalled += std::chrono::duration_cast<std::chrono::microseconds>(time * others);
    processors.all += 2 * time;
    processors.busy += std::chrono::duration_cast<nanoseconds>(2 * time * busy);
  }
  // Two threads of ours that compute.
  void compute(nanoseconds time) {
    pass(time);
    processors.own += 2 * time;
    processors.busy = std::min(processors.busy + 2 * time, processors.all);
  }
  // A read that waits for the disk.
  void read(nanoseconds time) {
    now += time;
    own += time;
    stalled += std::chrono::duration_cast<std::chrono::microseconds>(time);
  }
  Surroundings surroundings() {
    return {.now = [this] { return now; },
            .sleep =
                [this](nanoseconds time) {
                  EXPECT_LE(time, 50ms);
                  pass(time);
                  if (cancel_in_sleep != nullptr) cancel_in_sleep->store(true);
                },
            .pressure = [this]() -> std::optional<Pressure> {
              if (!sees) return std::nullopt;
              return Pressure{.recent = recent, .stalled = stalled};
            },
            .our_own_waits = [this] { return own; },
            .processors = [this]() -> std::optional<ProcessorTimes> {
              if (!sees) return std::nullopt;
              return processors;
            }};
  }
};

const ReadLimit kAutomatic{.kind = ReadLimit::Kind::automatic, .bytes_per_second = 0};
std::atomic<bool> never{false};

// Reads 1 MiB after 1 MiB from a disk that gives 500 MiB/s, with 2 ms of work on each, for `time`.
// Bytes a second.
double read_for(Limiter& limiter, FakeHost& host, nanoseconds time) {
  const nanoseconds begin = host.now;
  std::uint64_t bytes = 0;
  while (host.now - begin < time) {
    EXPECT_TRUE(limiter.wait(kMiB, kMiB, never).ok());
    host.read(2ms);
    host.pass(2ms);
    bytes += kMiB;
  }
  return static_cast<double>(bytes) / std::chrono::duration<double>(host.now - begin).count();
}

TEST(ReadLimits, AreReadAsTheyAreWritten) {
  for (const std::string text : {"off", "auto", "64K", "50M", "1G", "65537", "1536K"}) {
    const auto limit = parse_read_limit(text);
    ASSERT_TRUE(limit.ok()) << text;
    EXPECT_EQ(to_text(*limit), text);
  }
  EXPECT_EQ(parse_read_limit("50M")->bytes_per_second, 50 * kMiB);
  EXPECT_EQ(parse_read_limit("50MiB")->bytes_per_second, 50 * kMiB);
  EXPECT_EQ(parse_read_limit("50MB")->bytes_per_second, 50 * kMiB);
  EXPECT_EQ(parse_read_limit("1024G")->bytes_per_second, 1024 * 1024 * kMiB);
}

TEST(ReadLimits, OfAnotherFormAreRefusedWithAHint) {
  for (const std::string text :
       {"", "M", "-5M", "0", "1", "63K", "50 M", "50m", "50T", "50MM", "50M/s", "1025G", "on",
        "99999999999999999999", "18446744073709551615G", "5.5M", "\x1b[31m"}) {
    const auto limit = parse_read_limit(text);
    ASSERT_FALSE(limit.ok()) << text;
    EXPECT_EQ(limit.error().code, Code::invalid);
    EXPECT_NE(limit.error().message.find("hint: auto, off"), std::string::npos);
    EXPECT_EQ(limit.error().message.find('\x1b'), std::string::npos);
  }
}

TEST(PressureText, IsUnderstoodOrRefused) {
  const auto pressure = parse_pressure(
      "some avg10=14.42 avg60=0.12 avg300=0.16 total=4259851\n"
      "full avg10=0.18 avg60=0.03 avg300=0.04 total=3294964\n");
  ASSERT_TRUE(pressure);
  EXPECT_DOUBLE_EQ(pressure->recent, 14.42);
  EXPECT_EQ(pressure->stalled.count(), 4'259'851);
  for (const char* text : {"", "\n\n", "some", "some avg10= total=5", "some avg10=1.0 total=",
                           "full avg10=0.18 avg60=0.03 avg300=0.04 total=3294964"}) {
    EXPECT_FALSE(parse_pressure(text)) << text;
  }
}

TEST(ProcessorTimesText, IsUnderstoodOrRefused) {
  const auto times = parse_processor_times(
      "cpu  100 20 30 4000 50 6 7 8 90 10\n"
      "cpu0 1 2 3 4 5 6 7 8 9 10\n");
  ASSERT_TRUE(times);
  const nanoseconds tick = nanoseconds(1s) / ::sysconf(_SC_CLK_TCK);
  EXPECT_EQ(times->busy, 171 * tick);
  EXPECT_EQ(times->all, 4221 * tick);
  for (const char* text : {"", "cpu", "cpu ", "cpu  1 2 3 4 5 6 7", "cpu  1 2 3 4 5 6 7 x",
                           "cpu  1 2 3 -4 5 6 7 8", "cpu0 1 2 3 4 5 6 7 8"}) {
    EXPECT_FALSE(parse_processor_times(text)) << text;
  }
}

TEST(Limiter, ThatIsOffNeverWaits) {
  FakeHost host;
  Limiter limiter(ReadLimit{}, host.surroundings());
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(limiter.wait(kMiB, kMiB, never).ok());
  EXPECT_EQ(host.now, 1000s);
  EXPECT_TRUE(limiter.is_off());
}

int niceness_after_giving_way(const Limiter* limiter, int before) {
  int niceness = 0;
  std::thread([&] {
    EXPECT_EQ(::setpriority(PRIO_PROCESS, 0, before), 0);
    Limiter::give_way(limiter);
    niceness = ::getpriority(PRIO_PROCESS, 0);
  }).join();
  return niceness;
}

TEST(Limiter, GivesWayInTheThreadThatAsksAndInNoOther) {
  const int own = ::getpriority(PRIO_PROCESS, 0);
  ASSERT_LT(own, 15);
  const Limiter automatic(ReadLimit{.kind = ReadLimit::Kind::automatic, .bytes_per_second = 0});
  const Limiter fixed(ReadLimit{.kind = ReadLimit::Kind::fixed, .bytes_per_second = kMiB});
  EXPECT_EQ(niceness_after_giving_way(&automatic, own), 15);
  EXPECT_EQ(niceness_after_giving_way(&fixed, own), 15);
  EXPECT_EQ(::getpriority(PRIO_PROCESS, 0), own);
}

TEST(Limiter, LeavesAThreadAloneThatIsOffOrBehindOthersAlready) {
  const int own = ::getpriority(PRIO_PROCESS, 0);
  const Limiter off(ReadLimit{});
  const Limiter automatic(ReadLimit{.kind = ReadLimit::Kind::automatic, .bytes_per_second = 0});
  EXPECT_EQ(niceness_after_giving_way(&off, own), own);
  EXPECT_EQ(niceness_after_giving_way(nullptr, own), own);
  EXPECT_EQ(niceness_after_giving_way(&automatic, 18), 18);
}

TEST(Limiter, HoldsAFixedRate) {
  FakeHost host;
  host.others = 0.9;
  Limiter limiter(*parse_read_limit("10M"), host.surroundings());
  EXPECT_NEAR(read_for(limiter, host, 20s) / kMiB, 10, 0.2);
}

TEST(Limiter, GrantsNoMoreThanAMomentOfUnusedRate) {
  FakeHost host;
  Limiter limiter(*parse_read_limit("10M"), host.surroundings());
  ASSERT_TRUE(limiter.wait(kMiB, kMiB, never).ok());
  host.pass(3600s);
  const nanoseconds begin = host.now;
  for (int i = 0; i < 11; ++i) ASSERT_TRUE(limiter.wait(kMiB, kMiB, never).ok());
  EXPECT_GE(host.now - begin, 890ms);
}

TEST(Limiter, WakesForACancel) {
  FakeHost host;
  std::atomic<bool> cancel{false};
  host.cancel_in_sleep = &cancel;
  Limiter limiter(*parse_read_limit("64K"), host.surroundings());
  ASSERT_TRUE(limiter.wait(kMiB, kMiB, cancel).ok());
  const nanoseconds begin = host.now;
  const auto waited = limiter.wait(kMiB, kMiB, cancel);
  ASSERT_FALSE(waited.ok());
  EXPECT_EQ(waited.error().code, Code::cancelled);
  EXPECT_LE(host.now - begin, 50ms);
}

TEST(AutomaticLimiter, IsNoLimitWhileNobodyElseWaits) {
  FakeHost host;
  Limiter limiter(kAutomatic, host.surroundings());
  // 2 ms of reading, 2 ms of work: nothing may be added.
  EXPECT_GT(read_for(limiter, host, 60s) / kMiB, 245);
  EXPECT_EQ(limiter.rate(), std::nullopt);
}

TEST(AutomaticLimiter, StartsGentlyWhereOthersWait) {
  FakeHost host;
  host.recent = 15;
  host.others = 0.15;
  Limiter limiter(kAutomatic, host.surroundings());
  EXPECT_NEAR(read_for(limiter, host, 30s) / kMiB, 20, 1);
}

TEST(AutomaticLimiter, SlowsDownWithinSecondsOfOthersWaiting) {
  FakeHost host;
  Limiter limiter(kAutomatic, host.surroundings());
  read_for(limiter, host, 10s);
  EXPECT_EQ(limiter.rate(), std::nullopt);
  host.others = 0.15;
  read_for(limiter, host, 4s);
  EXPECT_EQ(limiter.rate(), 20 * kMiB);
  EXPECT_NEAR(read_for(limiter, host, 20s) / kMiB, 20, 1);
}

TEST(AutomaticLimiter, GoesToTheFloorWhereOthersDrown) {
  FakeHost host;
  host.recent = 70;
  host.others = 0.7;
  Limiter limiter(kAutomatic, host.surroundings());
  read_for(limiter, host, 10s);
  EXPECT_EQ(limiter.rate(), 8 * kMiB);
  host.others = 0.2;
  read_for(limiter, host, 10s);
  EXPECT_EQ(limiter.rate(), 20 * kMiB);
}

TEST(AutomaticLimiter, GetsFasterWhenTheOthersHaveDone) {
  FakeHost host;
  host.recent = 15;
  host.others = 0.15;
  Limiter limiter(kAutomatic, host.surroundings());
  read_for(limiter, host, 10s);
  host.others = 0;
  read_for(limiter, host, 15s);
  EXPECT_EQ(limiter.rate(), std::nullopt);
}

TEST(AutomaticLimiter, HesitatesMoreTheOfterItWasTooFast) {
  FakeHost host;
  Limiter limiter(kAutomatic, host.surroundings());
  nanoseconds first{0};
  nanoseconds last{0};
  read_for(limiter, host, 5s);
  for (int round = 0; round < 5; ++round) {
    host.others = 0.2;
    while (limiter.rate() != 20 * kMiB) read_for(limiter, host, 100ms);
    host.others = 0;
    const nanoseconds begin = host.now;
    while (limiter.rate()) read_for(limiter, host, 100ms);
    last = host.now - begin;
    if (round == 0) first = last;
  }
  EXPECT_GE(last, 2 * first);
  EXPECT_LE(last, 160s);
}

// On a slow disk we would wait all the time, and hear nothing.
TEST(AutomaticLimiter, LeavesTimeToHearOthersOnASlowDisk) {
  FakeHost host;
  Limiter limiter(kAutomatic, host.surroundings());
  const auto read_slowly = [&](nanoseconds time) {
    const nanoseconds begin = host.now;
    while (host.now - begin < time) {
      ASSERT_TRUE(limiter.wait(kMiB, kMiB, never).ok());
      host.read(20ms);
    }
  };
  read_slowly(20s);
  EXPECT_EQ(limiter.rate(), std::nullopt);
  EXPECT_LE(host.own, 18s);
  EXPECT_GE(host.own, 15s);
  host.others = 0.3;
  read_slowly(8s);
  EXPECT_LE(limiter.rate().value_or(1000 * kMiB), 20 * kMiB);
}

TEST(AutomaticLimiter, BelievesTheKernelsMemoryOnlyAfterALongPause) {
  FakeHost host;
  Limiter limiter(kAutomatic, host.surroundings());
  read_for(limiter, host, 5s);
  host.recent = 60;  // that was us
  host.pass(2s);
  read_for(limiter, host, 1s);
  EXPECT_EQ(limiter.rate(), std::nullopt);
  host.pass(60s);
  read_for(limiter, host, 1s);
  EXPECT_EQ(limiter.rate(), 20 * kMiB);
}

// Reads what the page cache has, MiB after MiB, with 5 ms of work of two processors on each.
double read_cached_for(Limiter& limiter, FakeHost& host, nanoseconds time) {
  const nanoseconds begin = host.now;
  std::uint64_t bytes = 0;
  while (host.now - begin < time) {
    EXPECT_TRUE(limiter.wait(kMiB, 0, never).ok());
    host.compute(5ms);
    bytes += kMiB;
  }
  return static_cast<double>(bytes) / std::chrono::duration<double>(host.now - begin).count();
}

double our_share(const ProcessorTimes& before, const ProcessorTimes& after) {
  return static_cast<double>((after.own - before.own).count()) /
         static_cast<double>((after.all - before.all).count());
}

TEST(AutomaticLimiter, TakesAllOfIdleProcessorsAfterALook) {
  FakeHost host;
  Limiter limiter(kAutomatic, host.surroundings());
  read_cached_for(limiter, host, 300ms);
  EXPECT_EQ(limiter.rate(), std::nullopt);
  EXPECT_NEAR(read_cached_for(limiter, host, 10s) / kMiB, 200, 1) << "5 ms of work for each";
}

TEST(AutomaticLimiter, LeavesBusyProcessorsToOthersFromItsFirstRead) {
  FakeHost host;
  host.busy = 0.95;
  Limiter limiter(kAutomatic, host.surroundings());
  read_cached_for(limiter, host, 1s);
  EXPECT_LT(our_share(ProcessorTimes{}, host.processors), 0.15)
      << "it had to learn what a byte costs";
  const ProcessorTimes before = host.processors;
  read_cached_for(limiter, host, 60s);
  EXPECT_LT(our_share(before, host.processors), 0.05);
  EXPECT_GT(our_share(before, host.processors), 0.03);
}

TEST(AutomaticLimiter, TakesMoreOfProcessorsThatOthersUseLess) {
  FakeHost host;
  host.busy = 0.4;
  Limiter limiter(kAutomatic, host.surroundings());
  read_cached_for(limiter, host, 10s);
  const ProcessorTimes before = host.processors;
  read_cached_for(limiter, host, 60s);
  EXPECT_NEAR(our_share(before, host.processors), 0.1, 0.02);
  host.busy = 0.1;
  read_cached_for(limiter, host, 2s);
  EXPECT_EQ(limiter.rate(), std::nullopt);
}

TEST(AutomaticLimiter, SlowsDownWhenOthersBeginToCompute) {
  FakeHost host;
  Limiter limiter(kAutomatic, host.surroundings());
  read_cached_for(limiter, host, 10s);
  host.busy = 0.9;
  // Two busy threads of ours leave no time in which others could be seen: the kernel takes it from
  // us, as we are nice.
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(limiter.wait(kMiB, 0, never).ok());
    host.pass(10ms);
  }
  ASSERT_TRUE(limiter.rate());
  read_cached_for(limiter, host, 5s);
  const ProcessorTimes before = host.processors;
  read_cached_for(limiter, host, 30s);
  EXPECT_LT(our_share(before, host.processors), 0.05);
}

TEST(AutomaticLimiter, OfTransfersLooksAtTheDiskAlone) {
  FakeHost host;
  host.busy = 0.9;  // by the engine, for us
  Limiter limiter(kAutomatic, host.surroundings());
  const nanoseconds begin = host.now;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(limiter.wait_for_transfer(2048 * kMiB, never).ok());
    host.pass(1s);
  }
  EXPECT_EQ(host.now - begin, 100s);
}

TEST(AutomaticLimiter, ForgetsWhatItOwesWhenTheOthersHaveDone) {
  FakeHost host;
  host.busy = 0.9;
  Limiter limiter(kAutomatic, host.surroundings());
  read_cached_for(limiter, host, 2s);
  ASSERT_TRUE(limiter.wait(4096 * kMiB, 0, never).ok());  // paid for by who comes next
  host.busy = 0;
  const nanoseconds begin = host.now;
  ASSERT_TRUE(limiter.wait(kMiB, 0, never).ok());
  EXPECT_LE(host.now - begin, 1s);
  EXPECT_EQ(limiter.rate(), std::nullopt);
}

TEST(AutomaticLimiter, StaysAboveAFloorWhateverAByteCosts) {
  FakeHost host;
  host.busy = 1;
  Limiter limiter(kAutomatic, host.surroundings());
  for (int i = 0; i < 400; ++i) {
    ASSERT_TRUE(limiter.wait(kMiB, 0, never).ok());
    host.pass(100ms);
    host.processors.own += 60ms;  // of the 200 ms
  }
  EXPECT_EQ(limiter.rate(), 8 * kMiB);
}

TEST(AutomaticLimiter, IsABucketWhereTheKernelTellsNothing) {
  FakeHost host;
  host.sees = false;
  Limiter limiter(kAutomatic, host.surroundings());
  EXPECT_NEAR(read_for(limiter, host, 20s) / kMiB, 32, 1);
}

}  // namespace
}  // namespace bygone::ingest
