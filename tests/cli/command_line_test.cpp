// SPDX-License-Identifier: Apache-2.0
//
// The command line as a whole, as far as it goes without a repository.
#include <cstdlib>

#include <gtest/gtest.h>

#include "cli/options.h"

namespace bygone::cli {
namespace {

struct Outcome {
  int exit = 0;
  std::string out, err;
};

Outcome bygone(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "bygone");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  Outcome outcome;
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  outcome.exit = run(static_cast<int>(arguments.size()), argv.data());
  outcome.out = ::testing::internal::GetCapturedStdout();
  outcome.err = ::testing::internal::GetCapturedStderr();
  return outcome;
}

class CommandLine : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(store::init_crypto().ok());
    for (const char* name : {"BYGONE_REPOSITORY", "BYGONE_PASSWORD", "BYGONE_PASSWORD_FILE",
                             "BYGONE_PASSWORD_COMMAND", "BYGONE_KEY_FILE", "BYGONE_COMPRESSION"}) {
      unsetenv(name);
    }
  }
};

TEST_F(CommandLine, RefusesWhatMakesNoSenseAndHelps) {
  struct Case {
    std::vector<std::string> arguments;
    const char* says;
  };
  const Case cases[] = {
      {{}, "bygone --help"},
      {{"bakcup"}, "did you mean backup?"},
      {{"frobnicate"}, "unknown command frobnicate"},
      {{"-r", "/srv/backup", "bakcup", "db"}, "did you mean backup?"},
      {{"ls", "--recusive"}, "did you mean --recursive?"},
      {{"--jsno", "ls"}, "did you mean --json?"},
      {{"ls", "a", "b"}, "unexpected argument b"},
      {{"restore"}, "bygone restore --help"},
      {{"restore", "db"}, "bygone restore --help"},
      {{"restore", "--dryrun", "db", "/tmp/x"}, "did you mean --dry-run?"},
      {{"restore", "db", "/tmp/x", "--overwrite", "perhaps"}, "if-newer"},
      {{"backup"}, "--all"},
      {{"backup", "--path", "/etc"}, "NAME=DIR"},
      {{"backup", "db", "--consistency", "sometimes"}, "freeze, stop, live"},
      {{"backup", "db", "--compression", "zip"}, "fastest"},
      {{"backup", "db", "--max-freeze", "soon"}, "10s"},
      {{"backup", "db", "--exclude", "[a"}, "[a"},
      {{"verify", "--read-data=200%"}, "100%"},
      {{"repair"}, "bygone repair --help"},
      {{"backup", "--path", "x=/a", "--path", "x=/b"}, "the name x to two folders, /a and /b"},
      {{"repair", "indx"}, "did you mean index?"},
      {{"completion", "tcsh"}, "fish"},
      {{"help", "mont"}, "did you mean mount?"},
      {{"snapshots"}, "BYGONE_REPOSITORY"},
      {{"--repo"}, "--repo"},
  };
  for (const Case& c : cases) {
    const Outcome outcome = bygone(c.arguments);
    const std::string typed = ::testing::PrintToString(c.arguments);
    EXPECT_EQ(outcome.exit, 2) << typed << outcome.err;
    EXPECT_NE(outcome.err.find(c.says), std::string::npos) << typed << outcome.err;
    EXPECT_EQ(outcome.out, "") << typed;
  }
}

TEST_F(CommandLine, TakesASourceThatIsCalledLikeACommand) {
  const Outcome outcome = bygone({"-r", "/nowhere/at/all", "ls", "mount"});
  EXPECT_EQ(outcome.exit, 10) << outcome.err;
}

TEST_F(CommandLine, TakesGlobalOptionsBeforeAndAfterTheCommand) {
  for (const auto& arguments :
       {std::vector<std::string>{"--repo", "/nowhere/at/all", "--json", "snapshots"},
        std::vector<std::string>{"snapshots", "--json", "-r", "/nowhere/at/all"}}) {
    const Outcome outcome = bygone(arguments);
    EXPECT_EQ(outcome.exit, 10);
    EXPECT_EQ(outcome.err.rfind("{\"message_type\":\"error\"", 0), 0u) << outcome.err;
  }
}

TEST_F(CommandLine, ExplainsEveryCommand) {
  const Outcome overview = bygone({"--help"});
  EXPECT_EQ(overview.exit, 0);
  for (const char* group : {"Begin", "Save", "Look", "Bring back", "Look after", "Other"}) {
    const std::string heading = std::string("\n") + group + ":\n";
    EXPECT_NE(overview.out.find(heading), std::string::npos) << group;
    EXPECT_EQ(overview.out.find(heading), overview.out.rfind(heading)) << group << " stands twice";
  }
  EXPECT_NE(overview.out.find("24  something is overdue"), std::string::npos);
  for (const Command& command : commands()) {
    EXPECT_NE(overview.out.find(std::string("\n  ") + command.name + " "), std::string::npos);
    const Outcome page = bygone({command.name, "--help"});
    EXPECT_EQ(page.exit, 0);
    EXPECT_EQ(page.out.rfind(std::string("Usage: bygone ") + command.name, 0), 0u) << page.out;
    EXPECT_NE(page.out.find("--repo"), std::string::npos) << command.name;
    EXPECT_EQ(bygone({"help", command.name}).exit, 0);
    EXPECT_EQ(bygone({"help", command.name}).out, page.out + "\n");
  }
}

TEST_F(CommandLine, CompletesEveryCommandInEveryShell) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Outcome outcome = bygone({"completion", shell});
    EXPECT_EQ(outcome.exit, 0);
    for (const Command& command : commands()) {
      EXPECT_NE(outcome.out.find(command.name), std::string::npos) << shell << command.name;
    }
    EXPECT_NE(outcome.out.find("dry-run"), std::string::npos) << shell;
  }
}

TEST_F(CommandLine, SaysItsVersion) {
  EXPECT_EQ(bygone({"version"}).out, "bygone " BYGONE_VERSION "\n");
  EXPECT_EQ(bygone({"--version"}).out, "bygone " BYGONE_VERSION "\n");
  EXPECT_EQ(bygone({"version", "--json"}).out,
            "{\"message_type\":\"version\",\"version\":\"" BYGONE_VERSION "\"}\n");
}

}  // namespace
}  // namespace bygone::cli
