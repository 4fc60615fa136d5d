// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/metrics.h"

#include <cerrno>
#include <chrono>
#include <cstring>

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

constexpr std::size_t kLongestRequest = 8192;
constexpr timeval kDeadline{2, 0};  // of each read and write
constexpr int kGlance = 200;        // ms; how soon it notices that it is to stop

double seconds(Nanoseconds time) { return static_cast<double>(time) / 1e9; }

// A label's value: backslash, quote and line feed are escaped.
std::string label_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

struct Metric {
  const char* name;
  const char* help;
  double (*value)(const SourceState& state, Nanoseconds now);
};

constexpr Metric kMetrics[] = {
    {"bygone_source_overdue", "Whether the source missed two of its runs.",
     [](const SourceState& state, Nanoseconds now) { return is_overdue(state, now) ? 1.0 : 0.0; }},
    {"bygone_source_last_good_timestamp_seconds",
     "Instant of the last good snapshot; 0: there is none.",
     [](const SourceState& state, Nanoseconds) { return seconds(state.good_instant); }},
    {"bygone_source_next_run_timestamp_seconds", "When it runs next; 0: not planned, or running.",
     [](const SourceState& state, Nanoseconds) { return seconds(state.next_run); }},
    {"bygone_source_failures", "Failed backups in a row.",
     [](const SourceState& state, Nanoseconds) { return static_cast<double>(state.failures); }},
    {"bygone_source_partial", "Whether the last good snapshot lacks what could not be read.",
     [](const SourceState& state, Nanoseconds) { return state.partial ? 1.0 : 0.0; }},
    {"bygone_source_live",
     "Whether the last good snapshot was to be of one moment, and was captured live.",
     [](const SourceState& state, Nanoseconds) { return state.live ? 1.0 : 0.0; }},
    {"bygone_source_size_bytes", "Bytes in regular files of the last good snapshot.",
     [](const SourceState& state, Nanoseconds) { return static_cast<double>(state.bytes); }},
    {"bygone_source_added_bytes", "Bytes stored for the last good snapshot.",
     [](const SourceState& state, Nanoseconds) { return static_cast<double>(state.added_bytes); }},
    {"bygone_source_freeze_seconds", "How long containers stood still for it.",
     [](const SourceState& state, Nanoseconds) { return seconds(state.window); }},
};

Result<Fd> listen_at(int family, const sockaddr* address, socklen_t length,
                     const std::string& place, const std::string& path = {}) {
  Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.is_open()) return os_error(errno, "making a socket for metrics");
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // Nobody can connect before it listens, so that nobody sees it with another mode.
  if (::bind(fd.get(), address, length) != 0 ||
      (!path.empty() && ::chmod(path.c_str(), 0600) != 0) || ::listen(fd.get(), 8) != 0) {
    return os_error(errno, "listening for metrics at " + printable(place));
  }
  return fd;
}

Result<Fd> listen_at_socket(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return Error{Code::invalid, 0, "the path of the socket for metrics has 1 to 107 bytes"};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  struct stat there {};
  if (::lstat(path.c_str(), &there) == 0 && S_ISSOCK(there.st_mode)) ::unlink(path.c_str());
  return listen_at(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof address, path,
                   path);
}

Result<Fd> listen_at_port(const std::string& place) {
  const std::size_t colon = place.rfind(':');
  std::string host = place.substr(0, colon);
  const std::string digits = colon == std::string::npos ? "" : place.substr(colon + 1);
  const bool is_number = !digits.empty() && digits.size() <= 5 &&
                         digits.find_first_not_of("0123456789") == std::string::npos &&
                         std::stoul(digits) <= 65535;
  const auto port = htons(static_cast<std::uint16_t>(is_number ? std::stoul(digits) : 0));
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  if (host == "localhost") host = "127.0.0.1";
  sockaddr_in four = {};
  four.sin_family = AF_INET;
  four.sin_port = port;
  if (is_number && ::inet_pton(AF_INET, host.c_str(), &four.sin_addr) == 1 &&
      (ntohl(four.sin_addr.s_addr) >> 24U) == 127) {
    return listen_at(AF_INET, reinterpret_cast<const sockaddr*>(&four), sizeof four, place);
  }
  sockaddr_in6 six = {};
  six.sin6_family = AF_INET6;
  six.sin6_port = port;
  if (is_number && ::inet_pton(AF_INET6, host.c_str(), &six.sin6_addr) == 1 &&
      IN6_IS_ADDR_LOOPBACK(&six.sin6_addr)) {
    return listen_at(AF_INET6, reinterpret_cast<const sockaddr*>(&six), sizeof six, place);
  }
  return Error{Code::invalid, 0,
               "metrics are served at the loopback or a Unix socket, and not at " +
                   printable(place) + "; hint: 127.0.0.1:9187, or unix:/run/bygone/metrics.sock"};
}

void send_all(const Fd& connection, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(connection.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
}

std::string response(const char* status, const std::string& body) {
  return fmt::format(
      "HTTP/1.1 {}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
      "Content-Length: {}\r\nConnection: close\r\n\r\n{}",
      status, body.size(), body);
}

}  // namespace

std::string to_metrics(const Ledger& ledger, Nanoseconds now) {
  std::string out = fmt::format(
      "# HELP bygone_engine_up Whether the Docker engine answers.\n# TYPE bygone_engine_up gauge\n"
      "bygone_engine_up {}\n",
      ledger.engine_error.empty() ? 1 : 0);
  for (const Metric& metric : kMetrics) {
    out += fmt::format("# HELP {0} {1}\n# TYPE {0} gauge\n", metric.name, metric.help);
    for (const SourceState& state : ledger.sources) {
      if (state.gone_since != 0) continue;
      out += fmt::format("{}{{source=\"{}\",host=\"{}\"}} {}\n", metric.name,
                         label_text(printable(spelled(state))),
                         label_text(printable(state.host_id)), metric.value(state, now));
    }
  }
  return out;
}

Result<std::unique_ptr<MetricsServer>> MetricsServer::start(const std::string& place,
                                                            std::function<std::string()> page) {
  constexpr std::string_view kUnix = "unix:";
  const bool is_unix = place.starts_with(kUnix);
  const std::string path = is_unix ? place.substr(kUnix.size()) : "";
  Fd listener = TRY(is_unix ? listen_at_socket(path) : listen_at_port(place));
  return std::unique_ptr<MetricsServer>(
      new MetricsServer(std::move(listener), path, std::move(page)));
}

MetricsServer::MetricsServer(Fd listener, std::string socket_path,
                             std::function<std::string()> page)
    : listener_(std::move(listener)),
      socket_path_(std::move(socket_path)),
      page_(std::move(page)),
      thread_([this] { serve(); }) {}

MetricsServer::~MetricsServer() {
  stop_ = true;
  thread_.join();
  if (!socket_path_.empty()) ::unlink(socket_path_.c_str());
}

int MetricsServer::port() const {
  sockaddr_in address = {};
  socklen_t length = sizeof address;
  if (::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) return 0;
  return ntohs(address.sin_port);
}

void MetricsServer::serve() {
  while (!stop_) {
    pollfd waiting{listener_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, kGlance) <= 0) continue;
    const Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (connection.is_open()) answer(connection);
  }
}

void MetricsServer::answer(const Fd& connection) const {
  ::setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &kDeadline, sizeof kDeadline);
  ::setsockopt(connection.get(), SOL_SOCKET, SO_SNDTIMEO, &kDeadline, sizeof kDeadline);
  std::string request;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(kDeadline.tv_sec);
  while (request.find("\r\n\r\n") == std::string::npos) {
    char buffer[1024];
    const ssize_t got = ::recv(connection.get(), buffer, sizeof buffer, 0);
    if (got <= 0 || std::chrono::steady_clock::now() > until) return;
    request.append(buffer, static_cast<std::size_t>(got));
    if (request.size() > kLongestRequest) {
      return send_all(connection, response("431 Request Header Fields Too Large", ""));
    }
  }
  const std::string line = request.substr(0, request.find("\r\n"));
  if (!line.starts_with("GET ")) {
    return send_all(connection, response("405 Method Not Allowed", ""));
  }
  const bool is_ours = line.starts_with("GET /metrics ") || line.starts_with("GET /metrics?");
  send_all(connection, is_ours ? response("200 OK", page_())
                               : response("404 Not Found", "there is only /metrics\n"));
}

}  // namespace bygone::ingest
