// SPDX-License-Identifier: Apache-2.0
//
// Streams of an engine that break in each way that a real one cannot be made to break them in: what
// was cut must never look like what has ended.
#include <string>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "ingest/docker/engine.h"
#include "tests/support/expect.h"
#include "tests/support/fake_server.h"

namespace bygone::docker {
namespace {

using test::FakeServer;
using test::value_of;

constexpr std::chrono::milliseconds kLong{30'000};

std::unique_ptr<Engine> engine_of(const FakeServer& server) {
  return value_of(connect({.host = server.host(), .deadline = kLong}));
}

// ---- events -----------------------------------------------------------------------------------

const std::string kStart =
    R"({"Type":"container","Action":"start","Actor":{"ID":"c1","Attributes":{}},"timeNano":5})"
    "\n";

std::string chunk(const std::string& data) {
  return fmt::format("{:x}\r\n{}\r\n", data.size(), data);
}

// All events of a stream with these bytes as its body, "?" for one that could not be read, and how
// it ended.
std::vector<std::string> events_of(const std::string& body) {
  FakeServer server;
  server.answer("GET /events?filters=%7B%7D",
                {.body = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                         "Transfer-Encoding: chunked\r\n\r\n" +
                         body,
                 .raw = true});
  const auto engine = engine_of(server);
  const auto stream = value_of(engine->events({}, {}, 0));
  std::vector<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const auto event = stream->next(kLong);
    if (!event.ok()) {
      EXPECT_NE(event.error().message.find("listening to events"), std::string::npos);
      seen.emplace_back("lost");
      return seen;
    }
    if (*event) seen.push_back((*event)->type.empty() ? "?" : (*event)->action);
  }
  ADD_FAILURE() << "the stream does not end";
  return seen;
}

TEST(Events, AreLostLoudlyHoweverTheStreamBreaks) {
  const std::string half = kStart.substr(0, kStart.size() / 2);
  struct {
    const char* name;
    std::string body;
    std::vector<std::string> seen;
  } const cases[] = {
      {"ended by the engine", chunk(kStart) + "0\r\n\r\n", {"start", "lost"}},
      {"closed between events", chunk(kStart), {"start", "lost"}},
      {"closed within a chunk", chunk(kStart) + "40\r\n{\"Type\"", {"start", "lost"}},
      {"closed within the length of a chunk", chunk(kStart) + "4", {"start", "lost"}},
      {"ended within an event", chunk(half) + "0\r\n\r\n", {"lost"}},
      {"no chunk at all", "event", {"lost"}},
      {"an event in two chunks",
       chunk(half) + chunk(kStart.substr(half.size())) + "0\r\n\r\n",
       {"start", "lost"}},
      {"two events in one chunk", chunk(kStart + kStart), {"start", "start", "lost"}},
      {"half an event, then a whole one", chunk(half + "\n" + kStart), {"?", "start", "lost"}},
      {"an array", chunk("[1]\n" + kStart), {"?", "start", "lost"}},
      {"two megabytes of label",
       chunk("{\"Type\":\"" + std::string(2U << 20U, 'x') + "\"}\n" + kStart),
       {"?", "start", "lost"}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(events_of(c.body), c.seen);
  }
}

// ---- commands ---------------------------------------------------------------------------------

std::string frame(char stream, const std::string& bytes) {
  std::string head(8, '\0');
  head[0] = stream;
  for (std::size_t i = 0; i < 4; ++i) {
    head[4 + i] = static_cast<char>((bytes.size() >> (24 - 8 * i)) & 0xFFU);
  }
  return head + bytes;
}

// What a dump would hold, or the error: of a command whose stream has these bytes.
struct Dumped {
  std::string output;
  Result<ExecOutcome> outcome;
};
Dumped dump(const std::string& stream, const test::Answer& state) {
  FakeServer server;
  server.answer("POST /containers/c1/exec", {.status = 201, .body = R"({"Id":"e1"})"});
  server.answer(
      "POST /exec/e1/start",
      {.body = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
               "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n" +
               stream,
       .raw = true});
  server.answer("GET /exec/e1/json", state);
  const auto engine = engine_of(server);
  std::string output;
  const std::atomic<bool> cancel{false};
  auto outcome = run_exec(
      *engine, {.container = "c1", .command = {"pg_dumpall"}}, kLong,
      [&](std::string_view bytes) -> Result<void> {
        output += bytes;
        return {};
      },
      cancel);
  return {output, std::move(outcome)};
}

test::Answer ended_with(int code) {
  return {.body = fmt::format(
              R"({{"ID":"e1","Running":false,"ExitCode":{},"Pid":0,"ContainerID":"c1"}})", code)};
}

TEST(RunExec, TellsTheEndFromACut) {
  const std::string rows = frame(1, "row\n");
  const std::string cut = rows.substr(0, rows.size() - 1);
  const std::string error = frame(2, "no space");
  struct {
    const char* name;
    std::string stream;
    test::Answer state;
    Code code;  // 0 of the enum is not looked at when `exit_code` is told
    int exit_code;
  } const cases[] = {
      {"a good end", rows + rows, ended_with(0), Code::io, 0},
      {"a bad end", rows + error, ended_with(3), Code::io, 3},
      {"cut within a frame", rows + cut, ended_with(0), Code::unavailable, -1},
      {"cut within the head of a frame", rows + cut.substr(0, 5), ended_with(0), Code::unavailable,
       -1},
      {"no frames", "row\nrow\nrow\n", ended_with(0), Code::invalid, -1},
      {"the engine does not know it any more",
       rows,
       {.status = 404, .body = R"({"message":"No such exec instance"})"},
       Code::unavailable,
       -1},
      {"half JSON for its state", rows, {.body = R"({"Runn)"}, Code::invalid, -1},
      {"500 for its state", rows, {.status = 500, .body = "boom"}, Code::io, -1},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const Dumped dumped = dump(c.stream, c.state);
    if (c.exit_code < 0) {
      EXPECT_CODE(c.code, dumped.outcome);
      continue;
    }
    ASSERT_TRUE(dumped.outcome.ok()) << dumped.outcome.error().message;
    EXPECT_EQ(dumped.outcome->exit_code, c.exit_code);
    EXPECT_EQ(dumped.output, c.exit_code == 0 ? "row\nrow\n" : "row\n");
    EXPECT_EQ(dumped.outcome->error_text, c.exit_code == 0 ? "" : "no space");
  }
}

}  // namespace
}  // namespace bygone::docker
