// SPDX-License-Identifier: Apache-2.0
#include "cli/exit_codes.h"

#include <cerrno>

#include <gtest/gtest.h>

namespace bygone::cli {
namespace {

TEST(ExitCodes, SayTheSameErrorByWhereItCameUp) {
  struct Case {
    const char* name;
    Error error;
    Stage stage;
    Exit wanted;
  };
  const Case cases[] = {
      {"no repository", {Code::not_found, 0, ""}, Stage::opening, Exit::no_repository},
      {"no such source", {Code::not_found, 0, ""}, Stage::working, Exit::failed},
      {"no such container", {Code::not_found, 0, ""}, Stage::docker, Exit::failed},
      {"wrong passphrase", {Code::denied, 0, ""}, Stage::opening, Exit::wrong_key},
      {"repository not readable", {Code::denied, EACCES, ""}, Stage::opening, Exit::failed},
      {"socket not readable", {Code::denied, EACCES, ""}, Stage::docker, Exit::no_docker},
      {"engine away", {Code::unavailable, 0, ""}, Stage::docker, Exit::no_docker},
      {"no /dev/fuse", {Code::unavailable, 0, ""}, Stage::working, Exit::failed},
      {"another backup runs", {Code::busy, 0, ""}, Stage::working, Exit::locked},
      {"engine says 409", {Code::busy, 0, ""}, Stage::docker, Exit::failed},
      {"damage", {Code::corrupt, 0, ""}, Stage::working, Exit::damage},
      {"a pre hook failed", {Code::hook, 0, ""}, Stage::working, Exit::hook},
      {"interrupted", {Code::cancelled, 0, ""}, Stage::working, Exit::interrupted},
      {"disk full", {Code::no_space, ENOSPC, ""}, Stage::working, Exit::failed},
      {"unknown format", {Code::unsupported, 0, ""}, Stage::opening, Exit::failed},
  };
  for (const Case& c : cases) EXPECT_EQ(exit_for(c.error, c.stage), c.wanted) << c.name;
}

TEST(ExitCodes, KeepTheGravestOfSeveralSources) {
  EXPECT_EQ(gravest({}), Exit::done);
  EXPECT_EQ(gravest({Exit::done, Exit::unreadable}), Exit::unreadable);
  EXPECT_EQ(gravest({Exit::unreadable, Exit::no_docker, Exit::done}), Exit::no_docker);
  EXPECT_EQ(gravest({Exit::hook, Exit::unreadable}), Exit::hook);
  EXPECT_EQ(gravest({Exit::hook, Exit::no_docker}), Exit::no_docker);
  EXPECT_EQ(gravest({Exit::no_docker, Exit::failed, Exit::unreadable}), Exit::failed);
  EXPECT_EQ(gravest({Exit::failed, Exit::interrupted}), Exit::interrupted);
}

TEST(ExitCodes, AreTheDocumentedNumbers) {
  EXPECT_EQ(static_cast<int>(Exit::unreadable), 3);
  EXPECT_EQ(static_cast<int>(Exit::no_repository), 10);
  EXPECT_EQ(static_cast<int>(Exit::locked), 11);
  EXPECT_EQ(static_cast<int>(Exit::wrong_key), 12);
  EXPECT_EQ(static_cast<int>(Exit::damage), 20);
  EXPECT_EQ(static_cast<int>(Exit::hook), 22);
  EXPECT_EQ(static_cast<int>(Exit::no_docker), 23);
  EXPECT_EQ(static_cast<int>(Exit::interrupted), 130);
}

}  // namespace
}  // namespace bygone::cli
