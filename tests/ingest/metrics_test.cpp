// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/metrics.h"

#include <filesystem>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "ingest/daemon/url.h"
#include "tests/support/temp_folder.h"

namespace bygone::ingest {
namespace {

std::string page() { return "page\n"; }

// What the server says to `request`, all of it.
std::string ask(int port, const std::string& request) {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return "no connection";
  }
  EXPECT_GT(::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL), 0);
  std::string answer;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0;) {
    answer.append(buffer, static_cast<std::size_t>(got));
  }
  return answer;
}

TEST(Metrics, ShowsEachSourceThatIsThere) {
  SourceState db;
  db.kind = store::SourceKind::container;
  db.host_id = "en\"gine";
  db.name = "db";
  db.schedule = "@hourly";
  db.first_seen = kSecond;
  db.good_instant = 1'500'000'000;
  db.bytes = 42;
  db.partial = true;
  db.live = true;
  SourceState etc = db;  // a folder is always captured live, and is meant to be
  etc.name = "etc";
  etc.consistency = "live";
  etc.live = false;
  SourceState gone = db;
  gone.name = "gone";
  gone.gone_since = 1;
  const std::string text = to_metrics({.engine_error = "away", .sources = {db, etc, gone}},
                                      Nanoseconds{1'000'000} * kSecond);
  EXPECT_NE(text.find("bygone_engine_up 0\n"), std::string::npos) << text;
  EXPECT_NE(text.find("bygone_source_overdue{source=\"db\",host=\"en\\\"gine\"} 1\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("bygone_source_last_good_timestamp_seconds{source=\"db\",host=\"en\\\"gine\"}"
                      " 1.5\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("bygone_source_partial{source=\"db\",host=\"en\\\"gine\"} 1\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("bygone_source_live{source=\"db\",host=\"en\\\"gine\"} 1\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("bygone_source_live{source=\"etc\",host=\"en\\\"gine\"} 0\n"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("gone\""), std::string::npos);
}

TEST(Metrics, ServesOnePageAndNothingElse) {
  const auto server = MetricsServer::start("127.0.0.1:0", page);
  ASSERT_TRUE(server.ok()) << server.error().message;
  const int port = (*server)->port();
  const std::string good = ask(port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(good.starts_with("HTTP/1.1 200 OK\r\n")) << good;
  EXPECT_TRUE(good.ends_with("\r\n\r\npage\n")) << good;
  EXPECT_TRUE(ask(port, "GET /etc/passwd HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
  EXPECT_TRUE(ask(port, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
  const std::string endless(20'000, 'x');
  const std::string refused = ask(port, "GET /" + endless);
  EXPECT_TRUE(refused.empty() || refused.starts_with("HTTP/1.1 431")) << refused;
  EXPECT_EQ(ask(port, "GET"), "");  // and then silence: it is not waited for
  EXPECT_TRUE(ask(port, "GET /metrics HTTP/1.0\r\n\r\n").ends_with("page\n"));
}

TEST(Metrics, ServesAtASocketThatGoesWithIt) {
  test::TempFolder folder;
  const std::string path = folder / "m.sock";
  {
    const auto server = MetricsServer::start("unix:" + path, page);
    ASSERT_TRUE(server.ok()) << server.error().message;
    EXPECT_TRUE(visit({.url = "http://x/metrics", .json = {}, .socket_path = path}).ok());
    // A killed one leaves it behind: the next takes its place.
    EXPECT_TRUE(MetricsServer::start("unix:" + path, page).ok());
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(Metrics, RefusesToServeTheWorld) {
  for (const char* place : {"0.0.0.0:9187", "192.168.1.1:9187", "[::]:9187", "example.org:9187",
                            "9187", "127.0.0.1", "127.0.0.1:99999", "unix:"}) {
    const auto server = MetricsServer::start(place, page);
    ASSERT_FALSE(server.ok()) << place;
    EXPECT_EQ(server.error().code, Code::invalid) << place;
  }
}

}  // namespace
}  // namespace bygone::ingest
