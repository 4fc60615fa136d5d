// SPDX-License-Identifier: Apache-2.0
//
// What only a real engine can show. tests/e2e/exec.sh starts one with the containers `box` (runs)
// and `frozen` (paused), and says where: without BYGONE_TEST_ENGINE these tests skip.
#include <cstdlib>
#include <thread>

#include <gtest/gtest.h>

#include "ingest/docker/engine.h"
#include "tests/support/expect.h"

namespace bygone::docker {
namespace {

using std::chrono::milliseconds;
using test::value_of;

class RealEngine : public testing::Test {
 protected:
  void SetUp() override {
    const char* host = std::getenv("BYGONE_TEST_ENGINE");
    if (host == nullptr) GTEST_SKIP() << "needs a real engine: tests/e2e/exec.sh";
    engine_ = value_of(connect({.host = host}));
  }

  static ExecRequest in(const std::string& container, const std::string& script) {
    ExecRequest request;
    request.container = container;
    request.command = {"sh", "-c", script};
    return request;
  }

  // Runs a script to its end; its standard output goes to output_.
  Result<ExecOutcome> run(const ExecRequest& request, milliseconds deadline = milliseconds(0)) {
    output_.clear();
    const auto sink = [&](std::string_view bytes) -> Result<void> {
      output_.append(bytes);
      return {};
    };
    return run_exec(*engine_, request, deadline, sink, cancel_);
  }

  // Whether a process with this argument runs in `box`, seen from the host.
  bool runs(const std::string& argument) {
    for (const std::string& line : value_of(engine_->top("box"))) {
      if (line.find(argument) != std::string::npos) return true;
    }
    return false;
  }
  bool vanishes(const std::string& argument) {
    for (int i = 0; i < 100 && runs(argument); ++i) std::this_thread::sleep_for(milliseconds(50));
    return !runs(argument);
  }

  std::unique_ptr<Engine> engine_;
  std::atomic<bool> cancel_ = false;
  std::string output_;
};

TEST_F(RealEngine, TellsBothOutputsAndTheExitCode) {
  const ExecOutcome outcome = value_of(run(in("box", "echo out; echo err >&2; exit 7")));
  EXPECT_EQ(output_, "out\n");
  EXPECT_EQ(outcome.error_text, "err\n");
  EXPECT_EQ(outcome.exit_code, 7);
}

TEST_F(RealEngine, CarriesFiftyMegabytesUnchanged) {
  // Every byte there is, 256 KiB in a row, 200 times.
  const ExecRequest request =
      in("box", "i=0; while [ $i -lt 200 ]; do cat /data/bytes; i=$((i + 1)); done");
  EXPECT_EQ(value_of(run(request)).exit_code, 0);
  constexpr std::size_t kBlock = 256U << 10U;
  ASSERT_EQ(output_.size(), 200 * kBlock);
  std::string block;
  while (block.size() < kBlock) block += static_cast<char>(block.size() % 256);
  for (std::size_t at = 0; at < output_.size(); at += kBlock) {
    ASSERT_EQ(output_.compare(at, kBlock, block), 0) << "at " << at;
  }
}

TEST_F(RealEngine, EchoesItsInputUpToItsEnd) {
  ExecRequest request = in("box", "cat; echo done");
  request.input = true;
  const auto exec = value_of(engine_->exec(request));
  const std::string sent(20U << 20U, 'x');  // far more than any buffer between us takes
  ASSERT_OK(exec->write(sent));
  ASSERT_OK(exec->close_input());
  std::string got;
  for (;;) {
    const ExecPiece piece = value_of(exec->read(milliseconds(30'000)));
    if (piece.ended) break;
    ASSERT_FALSE(piece.bytes.empty());
    got += piece.bytes;
  }
  EXPECT_TRUE(got == sent + "done\n") << got.size() << " bytes";
  EXPECT_EQ(value_of(exec->exit_code()), 0);
}

TEST_F(RealEngine, PassesUserFolderAndVariables) {
  ExecRequest request = in("box", "echo \"$PWD $A\"; stat -Lc %u:%g /proc/self");
  request.user = "1234:5678";
  request.working_dir = "/tmp";
  request.environment = {"A=\"quoted\" \\ \n\tline"};
  EXPECT_EQ(value_of(run(request)).exit_code, 0);
  EXPECT_EQ(output_, "/tmp \"quoted\" \\ \n\tline\n1234:5678\n");
}

TEST_F(RealEngine, ReportsAMissingProgramByItsCode) {
  ExecRequest request;
  request.container = "box";
  request.command = {"/no/such/program"};
  const int code = value_of(run(request)).exit_code;
  EXPECT_TRUE(code == 126 || code == 127) << code;
}

TEST_F(RealEngine, RefusesWhatIsPausedOrUnknown) {
  EXPECT_CODE(Code::busy, engine_->exec(in("frozen", "true")));
  EXPECT_CODE(Code::not_found, engine_->exec(in("no-such", "true")));
}

TEST_F(RealEngine, EndsACommandThatIsLateWithItsChildren) {
  const auto late = run(in("box", "sleep 4241 & sleep 4242; true"), milliseconds(500));
  EXPECT_CODE(Code::unavailable, late);
  EXPECT_EQ(late.error().errnum, ETIMEDOUT);
  EXPECT_TRUE(vanishes("sleep 4241"));
  EXPECT_TRUE(vanishes("sleep 4242"));
}

TEST_F(RealEngine, EndsACommandThatDeafensItself) {
  EXPECT_CODE(Code::unavailable,
              run(in("box", "trap '' TERM; while :; do sleep 0.4243; done"), milliseconds(500)));
  EXPECT_TRUE(vanishes("sleep 0.4243"));
}

TEST_F(RealEngine, EndsACommandThatIsCancelled) {
  std::thread canceller([&] {
    std::this_thread::sleep_for(milliseconds(300));
    cancel_ = true;
  });
  EXPECT_CODE(Code::cancelled, run(in("box", "sleep 4244")));
  canceller.join();
  EXPECT_TRUE(vanishes("sleep 4244"));
}

TEST_F(RealEngine, HearsOnlyWhatItAskedFor) {
  const auto stream = value_of(engine_->events({"container"}, {"pause", "unpause"}, 0));
  EXPECT_EQ(value_of(stream->next(milliseconds(0))), std::nullopt);
  EXPECT_OK(run(in("box", "true")));  // three events that nobody asked for
  // Under load engines fail at this now and then, and then tell of nothing.
  for (int i = 0; i < 50 && !engine_->pause("box", milliseconds(10'000)).ok(); ++i) {
    ignore(engine_->unpause("box"), "what failed half-way");
  }
  ASSERT_OK(engine_->unpause("box"));
  for (const char* action : {"pause", "unpause"}) {
    const std::optional<Event> event = value_of(stream->next(milliseconds(10'000)));
    ASSERT_TRUE(event);
    EXPECT_EQ(event->type, "container");
    EXPECT_EQ(event->action, action);
    EXPECT_EQ(event->attributes.at("name"), "box");
    EXPECT_GT(event->time, 0);
  }
  EXPECT_EQ(value_of(stream->next(milliseconds(0))), std::nullopt) << "nobody asked for more";
}

TEST_F(RealEngine, MakesAndRemovesAContainerOfNothing) {
  ASSERT_OK(engine_->import_empty_image("bygone-test-empty", "1"));
  EXPECT_EQ(value_of(engine_->image("bygone-test-empty:1")).repo_tags,
            std::vector<std::string>{"bygone-test-empty:1"});
  const std::string id = value_of(engine_->create_container(
      "nothing", R"({"Image":"bygone-test-empty:1","Cmd":["x"],"StopTimeout":90})"));
  EXPECT_CODE(Code::busy, engine_->create_container(
                              "nothing", R"({"Image":"bygone-test-empty:1","Cmd":["x"]})"));
  const Container container = value_of(engine_->container(id));
  EXPECT_EQ(container.name, "nothing");
  EXPECT_EQ(container.command, std::vector<std::string>{"x"});
  EXPECT_EQ(container.stop_timeout, std::chrono::seconds(90));
  EXPECT_EQ(value_of(engine_->container("box")).stop_timeout, std::chrono::seconds(10));
  EXPECT_OK(engine_->remove_container(id, RemoveVolumes::anonymous, Force::no));
  EXPECT_CODE(Code::not_found, engine_->remove_container(id, RemoveVolumes::anonymous, Force::no));
  EXPECT_OK(engine_->remove_image("bygone-test-empty:1"));
  EXPECT_CODE(Code::not_found, engine_->image("bygone-test-empty:1"));
}

TEST_F(RealEngine, ReadsAnArchiveAndTheChanges) {
  std::size_t size = 0;
  const auto count = [&](ByteView bytes) -> Result<void> {
    size += bytes.size();
    return {};
  };
  ASSERT_OK(engine_->archive("box", "/data/bytes", count, cancel_));
  EXPECT_GE(size, (256U << 10U) + 1024U);  // the file, its header, the end of the tar
  EXPECT_EQ(size % 512, 0U);
  cancel_ = true;
  EXPECT_CODE(Code::cancelled, engine_->archive("box", "/data/bytes", count, cancel_));
  cancel_ = false;
  EXPECT_OK(run(in("box", "echo changed >/tmp/changed")));
  bool added = false;
  for (const Change& change : value_of(engine_->changes("box"))) {
    added |= change.kind == Change::Kind::added && change.path == "/tmp/changed";
  }
  EXPECT_TRUE(added);
}

TEST_F(RealEngine, StopsAndStarts) {
  EXPECT_EQ(value_of(engine_->stop("box", std::chrono::seconds(0))), Stopped::stopped);
  EXPECT_EQ(value_of(engine_->stop("box", std::chrono::seconds(0))), Stopped::was_not_running);
  EXPECT_EQ(value_of(engine_->start("box")), Started::started);
  EXPECT_EQ(value_of(engine_->start("box")), Started::was_running);
}

}  // namespace
}  // namespace bygone::docker
