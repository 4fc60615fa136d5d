// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/engine.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ingest/docker/http.h"
#include "tests/support/expect.h"
#include "tests/support/fake_server.h"

namespace bygone::docker {
namespace {

using test::Answer;
using test::FakeServer;
using test::TempFolder;
using test::value_of;

constexpr std::chrono::milliseconds kLong{30'000};

std::unique_ptr<Engine> engine_of(const FakeServer& server) {
  return value_of(connect({.host = server.host(), .deadline = kLong}));
}

template <class T>
std::string message_of(const Result<T>& result) {
  return result.ok() ? "no error" : result.error().message;
}

template <class T>
void expect_message(const Result<T>& result, const std::string& part) {
  EXPECT_NE(message_of(result).find(part), std::string::npos) << message_of(result);
}

std::string state_json(const std::string& status, bool running) {
  return fmt::format(
      R"({{"Id":"c1","Name":"/db","State":{{"Status":"{}","Running":{},"Paused":{},"Pid":{}}}}})",
      status, running, status == "paused", running ? 7 : 0);
}

// ---- connecting -------------------------------------------------------------------------------

TEST(Connect, AgreesOnAVersionBothSpeak) {
  struct {
    const char* engine;
    const char* asked;
  } const cases[] = {
      {"1.24", "GET /v1.24/info"}, {"1.41", "GET /v1.41/info"}, {"1.51", "GET /v1.51/info"},
      {"1.99", "GET /v1.51/info"}, {"2.0", "GET /v1.51/info"},
  };
  for (const auto& c : cases) {
    FakeServer server(c.engine);
    server.answer("GET /info", {.body = R"({"ID":"e"})"});
    const auto engine = engine_of(server);
    EXPECT_OK(engine->info());
    EXPECT_EQ(server.requests().back(), c.asked);
  }
}

TEST(Connect, RefusesAnEngineThatIsTooOld) {
  const FakeServer server("1.23");
  const auto engine = connect({.host = server.host()});
  EXPECT_CODE(Code::unsupported, engine);
  expect_message(engine, "API 1.23 at most");
  expect_message(engine, "; hint: update");
}

TEST(Connect, ExplainsAnEngineThatIsTooNew) {
  FakeServer server("1.90");
  server.answer("GET /info", {.status = 400,
                              .body = "client version 1.51 is too old. Minimum supported API "
                                      "version is 1.60, please upgrade\n",
                              .type = "text/plain"});
  const auto info = engine_of(server)->info();
  EXPECT_CODE(Code::unsupported, info);
  expect_message(info, "Minimum supported API version is 1.60");
}

TEST(Connect, RefusesWhatIsNoEngine) {
  const char* const versions[] = {"", "1", "1.", ".41", "1.41x", "x", "1.99999999999999", "-1.41"};
  for (const char* version : versions) {
    const FakeServer server(version);
    EXPECT_CODE(Code::invalid, connect({.host = server.host()}));
  }
}

TEST(Connect, HintsAtTlsWhenTheEngineWantsIt) {
  FakeServer server("1.41");
  server.answer("GET /_ping", {.status = 400,
                               .body = "Client sent an HTTP request to an HTTPS server.\n",
                               .type = "text/plain"});
  EXPECT_OK(connect({.host = server.host()}));
  const auto engine = connect({.host = server.host()});
  EXPECT_CODE(Code::invalid, engine);
  expect_message(engine, "the engine wants TLS; hint: set DOCKER_TLS_VERIFY=1");
}

TEST(Connect, TellsKindsOfUnreachableApart) {
  const TempFolder folder;
  const auto missing = connect({.host = "unix://" + (folder / "none.sock")});
  EXPECT_CODE(Code::unavailable, missing);
  EXPECT_EQ(missing.error().errnum, ENOENT);
  expect_message(missing, "there is no socket; hint: start the Docker engine");

  const std::string stale = folder / "stale.sock";
  {
    const Fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, stale.data(), stale.size());
    ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  const auto refused = connect({.host = "unix://" + stale});
  EXPECT_CODE(Code::unavailable, refused);
  EXPECT_EQ(refused.error().errnum, ECONNREFUSED);
  expect_message(refused, "nobody listens at the socket; hint:");
}

TEST(Connect, NamesMissingPermission) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  const FakeServer server;  // in a folder that only root may enter
  ASSERT_EQ(::seteuid(65534), 0);
  const auto engine = connect({.host = server.host()});
  ASSERT_EQ(::seteuid(0), 0);
  EXPECT_CODE(Code::denied, engine);
  EXPECT_EQ(engine.error().errnum, EACCES);
  expect_message(engine, "no permission to use the socket; hint:");
}

TEST(Connect, NamesRefusedTcp) {
  const auto engine = connect({.host = "tcp://127.0.0.1:1", .deadline = kLong});
  EXPECT_CODE(Code::unavailable, engine);
  expect_message(engine, "Docker engine tcp://127.0.0.1:1: connecting: connection refused; hint:");
}

TEST(Connect, RefusesHostsOfOtherForms) {
  struct {
    std::string host;
    Code code;
    const char* part;
  } const cases[] = {
      {"ssh://me@there", Code::unsupported, "not supported"},
      {"npipe:////./pipe/docker", Code::unsupported, "not supported"},
      {"fd://", Code::unsupported, "not supported"},
      {"http://there:2375", Code::invalid, "neither unix:// nor tcp://"},
      {"there:2375", Code::invalid, "neither unix:// nor tcp://"},
      {"unix://run/docker.sock", Code::invalid, "not absolute"},
      {"unix:///" + std::string(107, 'x'), Code::invalid, "longer than 107 bytes"},
      {"tcp://", Code::invalid, "no host and port"},
      {"tcp://there/path", Code::invalid, "no host and port"},
      {"tcp://there:port", Code::invalid, "no valid port"},
      {"tcp://:2375", Code::invalid, "no valid port"},
      {"tcp://u@there:1", Code::invalid, "no host and port"},
  };
  for (const auto& c : cases) {
    const auto engine = connect({.host = c.host});
    EXPECT_CODE(c.code, engine);
    expect_message(engine, c.part);
  }
}

TEST(Connect, RefusesTlsWithoutCertificates) {
  EXPECT_CODE(Code::invalid, connect({.host = "tcp://127.0.0.1:1", .tls = true}));
  const TempFolder empty;
  const auto engine =
      connect({.host = "tcp://127.0.0.1:1", .tls = true, .cert_path = empty.path()});
  EXPECT_FALSE(engine.ok());
}

class Environment : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : kNames) ::unsetenv(name);
  }
  void TearDown() override { SetUp(); }
  static constexpr const char* kNames[] = {"DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH",
                                           "DOCKER_CONFIG"};
};

TEST_F(Environment, TellsWhereTheEngineIs) {
  EXPECT_EQ(options_from_environment().host, "");
  EXPECT_FALSE(options_from_environment().tls);
  ::setenv("DOCKER_HOST", "tcp://there:2376", 1);
  ::setenv("DOCKER_TLS_VERIFY", "1", 1);
  ::setenv("DOCKER_CONFIG", "/etc/certs", 1);
  EXPECT_EQ(options_from_environment().host, "tcp://there:2376");
  EXPECT_TRUE(options_from_environment().tls);
  EXPECT_EQ(options_from_environment().cert_path, "/etc/certs");
  ::setenv("DOCKER_TLS_VERIFY", "", 1);
  EXPECT_FALSE(options_from_environment().tls);
  ::setenv("DOCKER_CERT_PATH", "/certs", 1);
  EXPECT_TRUE(options_from_environment().tls);
  EXPECT_EQ(options_from_environment().cert_path, "/certs");
}

// ---- answers that are none ----------------------------------------------------------------------

std::string endless_headers() {
  std::string text = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 10'000; ++i) text += fmt::format("Header-{}: value\r\n", i);
  return text + "\r\n";
}

TEST(Engine, SurvivesBadAnswers) {
  struct {
    const char* name;
    Answer answer;
    Code code;
    const char* part;
  } const cases[] = {
      {"half JSON", {.body = R"([{"Id":"c1","Na)"}, Code::invalid, "no valid JSON"},
      {"no JSON", {.body = "<html>"}, Code::invalid, "no valid JSON"},
      {"empty body", {.body = ""}, Code::invalid, "no valid JSON"},
      {"an object for an array", {.body = "{}"}, Code::invalid, "is no array"},
      {"a number for an id", {.body = R"([{"Id":5}])"}, Code::invalid, "'Id' is no string"},
      {"no id", {.body = "[{}]"}, Code::invalid, "no 'Id'"},
      {"null in the array", {.body = "[null]"}, Code::invalid, "no 'Id'"},
      {"too deep", {.body = std::string(100'000, '[')}, Code::invalid, "no valid JSON"},
      {"broken UTF-8", {.body = "[{\"Id\":\"\xff\"}]"}, Code::invalid, "no valid JSON"},
      {"a NUL byte", {.body = R"([{"Id":"a\u0000b"}])"}, Code::invalid, "NUL"},
      {"500 as JSON",
       {.status = 500, .body = R"({"message":"disk on fire"})"},
       Code::io,
       "disk on fire"},
      {"500 as text", {.status = 500, .body = "boom\n", .type = "text/plain"}, Code::io, "boom"},
      {"500 without text", {.status = 500}, Code::io, "HTTP 500"},
      {"hostile text", {.status = 500, .body = "\x1b[31mred"}, Code::io, "\\x1b[31mred"},
      {"503", {.status = 503, .body = "starting"}, Code::unavailable, "starting"},
      {"403", {.status = 403, .body = "plugin says no"}, Code::denied, "plugin says no"},
      {"204", {.status = 204}, Code::io, "HTTP 204"},
      {"a redirect",
       {.status = 301, .headers = {{"Location", "http://docker/info"}}},
       Code::io,
       "HTTP 301"},
      {"cut body", {.body = "[", .missing = 1}, Code::unavailable, "cut short"},
      {"hung up", {.raw = true}, Code::unavailable, "closed without an answer"},
      {"no HTTP",
       {.body = "SSH-2.0-OpenSSH_9\r\n", .raw = true},
       Code::invalid,
       "is not an HTTP server"},
      {"endless headers", {.body = endless_headers(), .raw = true}, Code::invalid, "larger than"},
  };
  for (const auto& c : cases) {
    FakeServer server;
    server.answer("GET /containers/json?all=1", c.answer);
    const auto list = engine_of(server)->containers();
    SCOPED_TRACE(c.name);
    EXPECT_CODE(c.code, list);
    expect_message(list, c.part);
    expect_message(list, "Docker engine " + server.host() + ": listing containers: ");
  }
}

TEST(Engine, GivesUpAtTheDeadline) {
  FakeServer server;
  server.answer("GET /info", {.body = "{}", .delay = kLong});
  const auto engine =
      value_of(connect({.host = server.host(), .deadline = std::chrono::milliseconds(200)}));
  const auto info = engine->info();
  EXPECT_CODE(Code::unavailable, info);
  EXPECT_EQ(info.error().errnum, ETIMEDOUT);
  expect_message(info, "no complete answer within 200 ms");
}

TEST(Engine, RefusesAnswersOverTheLimit) {
  FakeServer server;
  server.answer("GET /info", {.body = R"({"ID":")" + std::string(10'000, 'x') + "\"}"});
  const auto engine = value_of(connect({.host = server.host(), .max_answer_bytes = 5'000}));
  const auto info = engine->info();
  EXPECT_CODE(Code::invalid, info);
  expect_message(info, "larger than 5000 bytes");
}

// ---- answers ------------------------------------------------------------------------------------

TEST(Engine, ReadsItsIdentity) {
  FakeServer server;
  server.answer("GET /info", {.body = R"({"ID":"E1","Name":"host","DockerRootDir":"/var/lib/docker",
                                          "OSType":"linux","ServerVersion":"28.5.2"})"});
  const EngineInfo info = value_of(engine_of(server)->info());
  EXPECT_EQ(info.id, "E1");
  EXPECT_EQ(info.name, "host");
  EXPECT_EQ(info.root_dir, "/var/lib/docker");
  EXPECT_EQ(info.os_type, "linux");
  EXPECT_EQ(info.version, "28.5.2");
}

TEST(Engine, DistrustsPodmansId) {
  FakeServer server;
  server.answer("GET /info", {.body = R"({"ID":"new for every answer"})"});
  server.answer(
      "GET /_ping",
      {.body = "OK", .headers = {{"Api-Version", "1.41"}, {"Libpod-Api-Version", "4.3.1"}}});
  EXPECT_EQ(value_of(engine_of(server)->info()).id, "new for every answer");
  EXPECT_EQ(value_of(engine_of(server)->info()).id, "");
}

TEST(Engine, ListsTenThousandContainers) {
  std::string body = "[";
  for (int i = 0; i < 10'000; ++i) {
    body += fmt::format(
        R"({}{{"Id":"{:064x}","Names":["/web/alias","/c{}"],"Labels":{{"k":"v"}},"State":"exited",)"
        R"("Mounts":[{{"Type":"bind","Source":"/s","Destination":"/d","RW":true}}]}})",
        i == 0 ? "" : ",", i, i);
  }
  FakeServer server;
  server.answer("GET /containers/json?all=1", {.body = body + "]"});
  const auto list = value_of(engine_of(server)->containers());
  ASSERT_EQ(list.size(), 10'000U);
  EXPECT_EQ(list.back().name, "c9999");
  EXPECT_EQ(list.back().labels.at("k"), "v");
  EXPECT_EQ(list.back().status, Status::exited);
  EXPECT_EQ(list.back().mounts.at(0).source, "/s");
}

// An image may come with any label; one that is no text must not hide all containers.
TEST(Engine, LeavesOutALabelWithANulByte) {
  FakeServer server;
  server.answer("GET /containers/json?all=1", {.body = R"([{"Id":"c1","Names":["/web"],"Labels":
      {"a":"x\u0000y","b\u0000":"z","c":"good"},"State":"running"},
      {"Id":"c2","Names":["/db"],"Labels":{},"State":"running"}])"});
  const auto list = value_of(engine_of(server)->containers());
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].labels, (Labels{{"c", "good"}}));
}

TEST(Engine, ReadsWhatAContainerIs) {
  const std::string body = R"({"Id":"c1","Name":"/db","Image":"sha256:ab",
    "State":{"Status":"paused","Running":true,"Paused":true,"Restarting":false,"Pid":42,
             "StartedAt":"2024-03-16T05:57:00.1Z"},
    "Config":{"Image":"postgres:15","Labels":{"bygone.name":"main"}},
    "HostConfig":{"Binds":["pgdata:/data:ro","/x"],"Mounts":[{"Type":"volume","Source":"m"},
                  {"Type":"tmpfs","Target":"/t"}],"Tmpfs":{"/run":"size=1m"}},
    "Mounts":[{"Type":"volume","Name":"pgdata","Source":"/v/_data","Destination":"/data",
               "Driver":"local","Mode":"z","RW":false},
              {"Type":"cluster","Destination":"/c","RW":true}]})";
  FakeServer server;
  server.answer("GET /containers/db/json", {.body = body});
  const Container container = value_of(engine_of(server)->container("db"));
  EXPECT_EQ(container.id, "c1");
  EXPECT_EQ(container.name, "db");
  EXPECT_EQ(container.image, "postgres:15");
  EXPECT_EQ(container.image_id, "sha256:ab");
  EXPECT_EQ(container.labels.at("bygone.name"), "main");
  EXPECT_EQ(container.state.status, Status::paused);
  EXPECT_TRUE(container.state.paused);
  EXPECT_EQ(container.state.pid, 42);
  EXPECT_EQ(container.state.started_at, "2024-03-16T05:57:00.1Z");
  EXPECT_EQ(container.declared, (std::vector<std::string>{"pgdata", "m"}));
  EXPECT_EQ(container.tmpfs, std::vector<std::string>{"/run"});
  ASSERT_EQ(container.mounts.size(), 2U);
  EXPECT_EQ(container.mounts[0].type, MountType::volume);
  EXPECT_EQ(container.mounts[0].name, "pgdata");
  EXPECT_FALSE(container.mounts[0].writable);
  EXPECT_EQ(container.mounts[1].type, MountType::other);
  EXPECT_EQ(container.mounts[1].type_text, "cluster");
  EXPECT_EQ(container.json, body);
}

TEST(Engine, RefusesAStateThatItCannotTrust) {
  // Taken as "false", any of these would leave a running container unfrozen.
  const char* const states[] = {
      R"({"Id":"c","Name":"/c"})",
      R"({"Id":"c","Name":"/c","State":{}})",
      R"({"Id":"c","Name":"/c","State":{"Status":"running","Running":"yes"}})",
      R"({"Id":"c","Name":"/c","State":{"Status":"running","Pid":1.5}})",
      R"({"Id":"c","Name":"/c","State":"running"})",
      R"([])",
  };
  for (const char* state : states) {
    FakeServer server;
    server.answer("GET /containers/c/json", {.body = state});
    EXPECT_CODE(Code::invalid, engine_of(server)->state("c"));
  }
}

TEST(Engine, ListsAVolumeOnceThatIsMountedTwice) {
  FakeServer server;
  server.answer("GET /volumes", {.body = R"({"Volumes":[
      {"Name":"b","Driver":"local","Mountpoint":"/v/b/_data","Labels":null,"Options":null},
      {"Name":"a","Driver":"local","Mountpoint":"/v/a/_data","Labels":{"x":"y"},
       "Options":{"type":"nfs","o":"addr=h"},"Scope":"local"},
      {"Name":"b","Driver":"local","Mountpoint":"/v/b/_data","Labels":null,"Options":null}],
      "Warnings":["plugin is down"]})"});
  const auto volumes = value_of(engine_of(server)->volumes());
  ASSERT_EQ(volumes.size(), 2U);
  EXPECT_EQ(volumes[0].name, "a");
  EXPECT_EQ(volumes[0].options.at("type"), "nfs");
  EXPECT_EQ(volumes[0].labels.at("x"), "y");
  EXPECT_EQ(volumes[1].name, "b");
  EXPECT_EQ(volumes[1].mountpoint, "/v/b/_data");
}

TEST(Engine, EscapesNames) {
  FakeServer server;
  server.answer("GET /volumes/a%2Fb%3Fc%20%C3%A9", {.body = R"({"Name":"a/b?c é"})"});
  EXPECT_EQ(value_of(engine_of(server)->volume("a/b?c é")).name, "a/b?c é");
}

TEST(Engine, SaysNotFound) {
  FakeServer server;
  server.answer("GET /containers/nope/json",
                {.status = 404, .body = R"({"message":"No such container: nope"})"});
  const auto container = engine_of(server)->container("nope");
  EXPECT_CODE(Code::not_found, container);
  expect_message(container, "inspecting container nope: No such container: nope");
}

// ---- pausing ------------------------------------------------------------------------------------

TEST(Pause, TellsItsOutcomesApart) {
  struct {
    const char* name;
    Answer answer;
    std::string state;
    std::optional<Paused> outcome;
  } const cases[] = {
      {"paused", {.status = 204}, "", Paused::paused},
      {"somebody else did", {.status = 409}, state_json("paused", true), Paused::already_paused},
      {"exited", {.status = 409}, state_json("exited", false), Paused::not_running},
      {"crash loop", {.status = 409}, state_json("restarting", true), Paused::restarting},
      {"running all the same", {.status = 409}, state_json("running", true), std::nullopt},
      {"unable to freeze",
       {.status = 500, .body = "unable to freeze"},
       state_json("running", true),
       std::nullopt},
      {"failed half-way",
       {.status = 500, .body = "unable to freeze"},
       state_json("paused", true),
       std::nullopt},
      {"Podman refuses",
       {.status = 500, .body = "container state improper"},
       state_json("exited", false),
       Paused::not_running},
      {"gone", {.status = 404}, "", std::nullopt},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    FakeServer server;
    server.answer("POST /containers/c1/pause", c.answer);
    if (!c.state.empty()) server.answer("GET /containers/c1/json", {.body = c.state});
    const auto paused = engine_of(server)->pause("c1", kLong);
    ASSERT_EQ(paused.ok(), c.outcome.has_value()) << message_of(paused);
    if (c.outcome) {
      EXPECT_EQ(*paused, *c.outcome);
    }
  }
}

TEST(Pause, KeepsItsOwnDeadline) {
  FakeServer server;
  server.answer("POST /containers/c1/pause", {.status = 204, .delay = kLong});
  const auto paused = engine_of(server)->pause("c1", std::chrono::milliseconds(100));
  EXPECT_CODE(Code::unavailable, paused);
  expect_message(paused, "within 100 ms");
}

TEST(Unpause, TellsItsOutcomesApart) {
  struct {
    const char* name;
    Answer answer;
    std::string state;
    std::optional<Unpaused> outcome;
  } const cases[] = {
      {"thawed", {.status = 204}, "", Unpaused::unpaused},
      {"a signal thawed it",
       {.status = 500, .body = R"({"message":"Container c1 is not paused"})"},
       state_json("running", true),
       Unpaused::was_not_paused},
      {"it exited", {.status = 500}, state_json("exited", false), Unpaused::was_not_paused},
      {"thawed behind the engine's back",
       {.status = 500, .body = "OCI runtime resume failed"},
       state_json("paused", true),
       std::nullopt},
      {"gone", {.status = 404}, "", std::nullopt},
      {"no state", {.status = 500}, "{}", std::nullopt},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    FakeServer server;
    server.answer("POST /containers/c1/unpause", c.answer);
    if (!c.state.empty()) server.answer("GET /containers/c1/json", {.body = c.state});
    const auto unpaused = engine_of(server)->unpause("c1");
    ASSERT_EQ(unpaused.ok(), c.outcome.has_value()) << message_of(unpaused);
    if (c.outcome) {
      EXPECT_EQ(*unpaused, *c.outcome);
    }
  }
}

TEST(Engine, ServesSeveralThreads) {
  FakeServer server;
  server.answer("GET /info", {.body = R"({"ID":"E1"})"});
  const auto engine = engine_of(server);
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 10; ++j) good += engine->info().ok() ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 40);
}

}  // namespace
}  // namespace bygone::docker
