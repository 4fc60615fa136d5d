// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "tests/ingest/backup_fixture.h"
#include "tests/support/processors.h"

namespace bygone::ingest {
namespace {

class Group : public BackupTest {
 protected:
  // A member with a folder of its own and the containers `writers` that write to it.
  GroupMember member(const std::string& name, const std::vector<std::string>& writers) {
    const stdfs::path dir = source_dir() / name;
    stdfs::create_directories(dir);
    auto source = folder_source(name, dir);
    EXPECT_TRUE(source.ok());
    for (const std::string& id : writers) {
      Writer writer;
      writer.id = id;
      writer.name = id;
      source->writers.push_back(writer);
      engine_.add(id);
    }
    BackupOptions options;
    options.state_folder = folder_.path() + "/state";
    options.clock = [this] { return system_now() + ahead_; };
    return {std::move(*source), options};
  }

  std::vector<Result<BackupReport>> run_group(const std::vector<GroupMember>& members) {
    auto session = store::Session::begin(*repository_, store::Compression::standard);
    EXPECT_TRUE(session.ok());
    return backup_group(**session, members, "shop", &engine_, {}, cancel_);
  }

  std::size_t count_calls(const std::string& call) {
    const auto calls = engine_.calls();
    return static_cast<std::size_t>(std::count(calls.begin(), calls.end(), call));
  }

  int number(const store::Snapshot& snapshot) { return std::stoi(content(snapshot, "number")); }
};

// Two applications that write A and then B whenever they can: no snapshot has B without A.
TEST_F(Group, TakesAllMembersAtOneInstant) {
  const std::vector<GroupMember> members = {member("a", {"ca"}), member("b", {"cb"})};
  std::mutex mutex;
  int turn = 0;
  const auto write_both = [&] {
    const std::lock_guard lock(mutex);
    ++turn;
    write_file(source_dir() / "a/number", std::to_string(turn));
    write_file(source_dir() / "b/number", std::to_string(turn));
  };
  write_both();
  engine_.before = [&](const std::string& call) {
    if (call.starts_with("pause") || call.starts_with("unpause")) write_both();
  };
  for (int round = 0; round < 3; ++round) {
    const auto reports = run_group(members);
    ASSERT_EQ(reports.size(), 2u);
    for (const auto& report : reports) ASSERT_TRUE(report.ok()) << report.error().message;
    const store::Snapshot& a = reports[0]->snapshot;
    const store::Snapshot& b = reports[1]->snapshot;
    EXPECT_EQ(number(a), number(b));
    EXPECT_EQ(a.consistency, store::Consistency::freeze);
    EXPECT_EQ(a.instant, b.instant);
    EXPECT_EQ(a.group, "shop");
    EXPECT_EQ(a.members, (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(b.members, a.members);
    EXPECT_FALSE(a.run.is_zero());
    EXPECT_EQ(a.run, b.run);
    EXPECT_TRUE(reports[0]->warnings.empty());
  }
}

TEST_F(Group, GivesEveryRunANumberOfItsOwn) {
  const std::vector<GroupMember> members = {member("a", {}), member("b", {})};
  const auto first = run_group(members);
  const auto second = run_group(members);
  ASSERT_TRUE(first[0].ok() && second[0].ok());
  EXPECT_NE(first[0]->snapshot.run, second[0]->snapshot.run);
}

TEST_F(Group, PausesAContainerOfSeveralMembersOnce) {
  const std::vector<GroupMember> members = {member("a", {"shared", "ca"}), member("b", {"shared"})};
  const auto reports = run_group(members);
  for (const auto& report : reports) ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(count_calls("pause shared"), 1u);
  EXPECT_EQ(count_calls("unpause shared"), 1u);
  EXPECT_EQ(count_calls("pause ca"), 1u);
  EXPECT_FALSE(engine_.is_paused("shared"));
}

TEST_F(Group, LeavesTheOthersTheirsWhenOneFails) {
  std::vector<GroupMember> members = {member("a", {"ca"}), member("b", {"cb"}),
                                      member("c", {"cc"})};
  write_file(source_dir() / "a/x", "1");
  members[1].source.volumes[0].host_path = source_dir() / "nowhere";
  members[2].source.error = Error{Code::unsupported, 0, "it lies on another host"};
  const auto reports = run_group(members);
  ASSERT_TRUE(reports[0].ok()) << reports[0].error().message;
  EXPECT_FALSE(reports[1].ok());
  EXPECT_EQ(reports[2].error().message, "it lies on another host");
  EXPECT_EQ(reports[0]->snapshot.members.size(), 3u);
  ASSERT_EQ(reports[0]->warnings.size(), 1u);
  EXPECT_EQ(reports[0]->warnings[0], "group shop is incomplete at this instant: without b, c");
  EXPECT_EQ(count_calls("pause cb"), 0u) << "who failed has nobody stand still";
  EXPECT_EQ(count_calls("pause ca"), 1u);
  EXPECT_FALSE(engine_.is_paused("ca"));
}

TEST_F(Group, WaitsAsAWholeForOneThatSomebodyElseIsAt) {
  const std::vector<GroupMember> members = {member("a", {"ca"}), member("b", {"cb"})};
  {
    auto other = store::Session::begin(*repository_, store::Compression::standard);
    ASSERT_TRUE(other.ok());
    const Source& b = members[1].source;
    auto claimed = (*other)->claim(b.kind, b.host_id, b.host, b.name);
    ASSERT_TRUE(claimed.ok());
    const auto reports = run_group(members);
    for (const auto& report : reports) {
      ASSERT_FALSE(report.ok());
      EXPECT_EQ(report.error().code, Code::busy);
    }
    EXPECT_NE(reports[0].error().message.find("group shop: "), std::string::npos);
    EXPECT_TRUE(engine_.calls().empty());
    EXPECT_TRUE(repository_->snapshots()->empty());
  }
  for (const auto& report : run_group(members)) {
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_TRUE(report->warnings.empty());
  }
}

TEST_F(Group, IsLiveAsAWholeWhenOneCannotBeFrozenAndFailsWhoInsists) {
  std::vector<GroupMember> members = {member("a", {"ca"}), member("b", {"cb"})};
  members[1].options.wish = Wish::freeze;
  engine_.fail("pause ca", Error{Code::io, 0, "unable to freeze"}, 10);
  const auto reports = run_group(members);
  ASSERT_TRUE(reports[0].ok()) << reports[0].error().message;
  EXPECT_EQ(reports[0]->snapshot.consistency, store::Consistency::live);
  ASSERT_FALSE(reports[1].ok());
  EXPECT_NE(reports[1].error().message.find("unable to freeze"), std::string::npos);
  EXPECT_FALSE(engine_.is_paused("ca"));
  EXPECT_FALSE(engine_.is_paused("cb"));
}

TEST_F(Group, CountsWhatEachMemberAdded) {
  const std::vector<GroupMember> members = {member("a", {"ca"}), member("b", {"cb"})};
  write_file(source_dir() / "a/large", random_text(2'000'000, 1));
  write_file(source_dir() / "b/small", random_text(20'000, 2));
  const auto reports = run_group(members);
  for (const auto& report : reports) ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_GT(reports[0]->snapshot.added_bytes, 2'000'000u);
  EXPECT_GT(reports[1]->snapshot.added_bytes, 20'000u);
  EXPECT_LT(reports[1]->snapshot.added_bytes, 60'000u);
}

TEST_F(Group, LeavesAProcessorToOthersWhoAreBusyUntilTheyStandStill) {
  using namespace std::chrono_literals;
  const int all = test::count_processors_of(0);
  if (all < 2) GTEST_SKIP() << "needs two processors";
  SpareProcessor spare([] {  // others use two
    const auto time = 2 * std::chrono::steady_clock::now().time_since_epoch();
    return ProcessorTimes{.all = time, .busy = time, .own = 0ns};
  });
  std::vector<GroupMember> members = {member("a", {"ca"}), member("b", {"cb"})};
  write_file(source_dir() / "a/x", "1");
  std::atomic<bool> asked{false}, left{false};
  std::atomic<int> calls{0};
  for (GroupMember& each : members) {
    each.options.spare_processor = &spare;
    each.options.clock = [&] {
      // The first time that the backup asks for, long before the freeze.
      if (!asked.exchange(true)) {
        for (int i = 0; i < 2000 && !left; ++i) {
          left = test::count_processors_of(0) == all - 1;
          std::this_thread::sleep_for(5ms);
        }
      }
      return system_now();
    };
  }
  engine_.before = [&](const std::string& call) {
    if (!call.starts_with("pause") && !call.starts_with("unpause")) return;
    ++calls;
    EXPECT_EQ(test::count_processors_of(0), all) << call;
  };
  for (const auto& report : run_group(members)) ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(left);
  EXPECT_EQ(calls, 4);
  EXPECT_EQ(test::count_processors_of(0), all);
}

TEST_F(Group, CommitsNothingOnceCancelled) {
  const std::vector<GroupMember> members = {member("a", {"ca"}), member("b", {"cb"})};
  engine_.before = [&](const std::string& call) {
    if (call.starts_with("unpause")) cancel_ = true;
  };
  for (const auto& report : run_group(members)) {
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.error().code, Code::cancelled);
  }
  EXPECT_FALSE(engine_.is_paused("ca"));
  EXPECT_TRUE(repository_->snapshots()->empty());
}

}  // namespace
}  // namespace bygone::ingest
