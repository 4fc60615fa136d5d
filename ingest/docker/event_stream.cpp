// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/event_stream.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "ingest/docker/frames.h"
#include "ingest/docker/json.h"
#include "ingest/docker/parse.h"

namespace bygone::docker {
namespace {

constexpr std::size_t kLongestEvent = 1U << 20U;
const char* const kWhat = "listening to events";

// A label of a container can make an event of any size and is no reason to lose the stream.
Event event_of(const LineSplitter::Line& line) {
  if (line.too_long) return {};
  Result<Event> event = parse_event(line.text);
  return event.ok() ? *std::move(event) : Event{};
}

class HttpEventStream final : public EventStream {
 public:
  HttpEventStream(Client client, HttpStream stream)
      : client_(std::move(client)), stream_(std::move(stream)), lines_(kLongestEvent) {}

  Result<std::optional<Event>> next(std::chrono::milliseconds wait) override {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point end = Clock::now() + wait;
    for (;;) {
      if (const std::optional<LineSplitter::Line> line = lines_.next()) {
        return std::optional<Event>(event_of(*line));
      }
      if (stream_.ended()) {
        return client_.explained({Code::unavailable, 0, "the engine ended the stream"}, kWhat);
      }
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
      received_.clear();
      const bool came = TRY(client_.explain(
          stream_.read(received_, std::max(left, std::chrono::milliseconds(0))), kWhat));
      if (came) {
        lines_.feed(received_);
      } else if (!stream_.ended()) {
        return std::optional<Event>();
      }
    }
  }

 private:
  Client client_;
  HttpStream stream_;
  LineSplitter lines_;
  std::string received_;
};

Result<std::string> target_of(const std::vector<std::string>& types,
                              const std::vector<std::string>& actions, std::int64_t since_ns) {
  constexpr std::int64_t kNanoseconds = 1'000'000'000;
  std::string filters;
  if (!types.empty()) filters += R"("type":)" + TRY(json_texts(types));
  if (!actions.empty()) {
    filters += (filters.empty() ? "" : ",") + std::string(R"("event":)") + TRY(json_texts(actions));
  }
  std::string target = "/events?filters=" + escape("{" + filters + "}");
  if (since_ns > 0) {
    target += fmt::format("&since={}.{:09}", since_ns / kNanoseconds, since_ns % kNanoseconds);
  }
  return target;
}

}  // namespace

Result<std::unique_ptr<EventStream>> open_events(const Client& client,
                                                 const std::vector<std::string>& types,
                                                 const std::vector<std::string>& actions,
                                                 std::int64_t since_ns) {
  const std::string target = TRY(client.explain(target_of(types, actions, since_ns), kWhat));
  const Request request = client.request(Method::get, target);
  HttpStream stream = TRY(client.open(request, Upgrade::no, kWhat));
  return std::unique_ptr<EventStream>(std::make_unique<HttpEventStream>(client, std::move(stream)));
}

}  // namespace bygone::docker
