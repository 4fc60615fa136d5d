// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/report.h"

#include <gtest/gtest.h>

namespace bygone::ingest {
namespace {

BackupReport saved_as(const std::string& name) {
  BackupReport report;
  report.snapshot.listed_name = name;
  return report;
}

TEST(Report, OfAGoodSnapshotIsASuccess) {
  const Notice notice = notice_of("db", saved_as("2024-03-16T05:57"));
  EXPECT_EQ(notice.event, Notice::Event::success);
  EXPECT_EQ(notice.message, "saved as db@2024-03-16T05:57");
  EXPECT_EQ(failure_text(saved_as("x")), "");
}

TEST(Report, OfASnapshotThatIsNotAsItWasToBeIsPartial) {
  BackupReport report = saved_as("t");
  report.live_because = "unable to freeze";
  const Notice live = notice_of("db", report);
  EXPECT_EQ(live.event, Notice::Event::partial);
  EXPECT_NE(live.message.find("of no one moment: unable to freeze"), std::string::npos);
  report.unreadable = {{"data/x", "Input/output error"}};
  const Notice both = notice_of("db", report);
  EXPECT_EQ(both.event, Notice::Event::partial);
  EXPECT_NE(both.message.find("a file could not be read: data/x"), std::string::npos);
  EXPECT_NE(both.cause, live.cause);
}

TEST(Report, TellsTheLedgerWhatIsLiveAgainstItsWish) {
  BackupReport report = saved_as("t");
  report.snapshot.id.bytes[0] = 1;
  report.snapshot.instant = 5;
  report.snapshot.consistency = store::Consistency::live;
  SourceState state;
  note_report(state, 4, report);
  EXPECT_FALSE(state.live) << "a folder, or as it was wished for";
  report.live_because = "unable to freeze";
  note_report(state, 4, report);
  EXPECT_TRUE(state.live);
  note_good(state, report.snapshot);
  EXPECT_TRUE(state.live) << "the same one, seen in the repository";
  report.snapshot.id.bytes[0] = 2;
  report.snapshot.instant = 6;
  note_good(state, report.snapshot);
  EXPECT_FALSE(state.live) << "a newer one";
}

TEST(Report, SaysWhatLastsOnce) {
  BackupReport report = saved_as("t");
  report.lasting = {"first", "second"};
  testing::internal::CaptureStderr();
  log_report("db", report, 0);
  const std::string all = testing::internal::GetCapturedStderr();
  EXPECT_NE(all.find("db: first"), std::string::npos) << all;
  EXPECT_NE(all.find("db: second"), std::string::npos) << all;
  testing::internal::CaptureStderr();
  log_report("db", report, 0, {"first"});
  const std::string rest = testing::internal::GetCapturedStderr();
  EXPECT_EQ(rest.find("db: first"), std::string::npos) << rest;
  EXPECT_NE(rest.find("db: second"), std::string::npos) << rest;
}

TEST(Report, OfAFailedHookIsAFailureWhateverElse) {
  BackupReport report = saved_as("t");
  report.live_because = "unable to freeze";
  report.failed = {"pre hook x: exit code 1", "dump of pg: cut off"};
  const Notice notice = notice_of("db", report);
  EXPECT_EQ(notice.event, Notice::Event::failure);
  EXPECT_EQ(notice.message.rfind("pre hook x: exit code 1; dump of pg: cut off; saved as db@t", 0),
            0U);
}

}  // namespace
}  // namespace bygone::ingest
