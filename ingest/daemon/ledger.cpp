// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/ledger.h"

#include <algorithm>

#include <fcntl.h>
#include <fmt/core.h>

#include "ingest/docker/json.h"
#include "ingest/schedule.h"
#include "store/locks.h"
#include "store/temp_file.h"

namespace bygone::ingest {
namespace {

constexpr std::int64_t kVersion = 1;
constexpr Nanoseconds kLeastAge = 600 * kSecond;
constexpr std::uint64_t kLargestLedger = 256U << 20U;

std::string folder_of(const std::string& state_folder) { return state_folder + "/daemon"; }

std::string json_string(std::string_view text) {
  auto json = docker::json_text(std::string(text));
  if (!json.ok()) json = docker::json_text(printable(text));
  return json.ok() ? std::move(*json) : "\"\"";  // printable() text is UTF-8
}

std::optional<store::SourceKind> source_kind(std::string_view text) {
  for (const auto kind :
       {store::SourceKind::container, store::SourceKind::volume, store::SourceKind::folder}) {
    if (text == store::to_text(kind)) return kind;
  }
  return std::nullopt;
}

// Every field with its name, once for writing and once for reading.
template <class State, class Visitor>
void visit(State& s, const Visitor& field) {
  field("host_id", s.host_id);
  field("name", s.name);
  field("schedule", s.schedule);
  field("zone", s.zone);
  field("group", s.group);
  field("jitter", s.jitter);
  field("first_seen", s.first_seen);
  field("gone_since", s.gone_since);
  field("next_run", s.next_run);
  field("running", s.running);
  field("last_begun", s.last_begun);
  field("last_error", s.last_error);
  field("failures", s.failures);
  field("good_begun", s.good_begun);
  field("good_instant", s.good_instant);
  field("snapshot_id", s.snapshot_id);
  field("listed_name", s.listed_name);
  field("consistency", s.consistency);
  field("window", s.window);
  field("bytes", s.bytes);
  field("added_bytes", s.added_bytes);
  field("partial", s.partial);
  field("live", s.live);
}

struct FieldWriter {
  std::string& out;
  void operator()(const char* key, const std::string& value) const {
    out += fmt::format(",\"{}\":{}", key, json_string(value));
  }
  void operator()(const char* key, bool value) const {
    out += fmt::format(",\"{}\":{}", key, value);
  }
  void operator()(const char* key, std::int64_t value) const {
    out += fmt::format(",\"{}\":{}", key, value);
  }
  void operator()(const char* key, std::uint64_t value) const {
    out += fmt::format(",\"{}\":{}", key, value);
  }
};

struct FieldReader {
  const docker::Json& object;
  std::optional<Error>& failure;

  template <class T, class U>
  void take(Result<T> value, U& target) const {
    if (value.ok()) {
      target = static_cast<U>(std::move(*value));
    } else if (!failure) {
      failure = value.error();
    }
  }
  void operator()(const char* key, std::string& value) const { take(object.text(key), value); }
  void operator()(const char* key, bool& value) const { take(object.flag(key), value); }
  void operator()(const char* key, std::int64_t& value) const { take(object.number(key), value); }
  void operator()(const char* key, std::uint64_t& value) const { take(object.number(key), value); }
};

Error no_ledger(const std::string& why) {
  return Error{Code::corrupt, 0, "no list of what the daemon knows: " + why};
}

Result<Ledger> decode(const docker::Json& root) {
  if (TRY(root.number("version")) != kVersion) {
    return Error{Code::unsupported, 0,
                 "the daemon that wrote this is of another version; hint: install this one there"};
  }
  Ledger ledger;
  std::optional<Error> failure;
  const FieldReader field{root, failure};
  field("repository", ledger.repository);
  field("engine_error", ledger.engine_error);
  field("written", ledger.written);
  field("last_forget", ledger.last_forget);
  field("last_prune", ledger.last_prune);
  for (const docker::Json& one : TRY(root.items("sources"))) {
    SourceState source;
    const auto kind = source_kind(TRY(one.text("kind")));
    if (!kind) return no_ledger("a source of an unknown kind");
    source.kind = *kind;
    visit(source, FieldReader{one, failure});
    ledger.sources.push_back(std::move(source));
  }
  if (failure) return *failure;
  return ledger;
}

}  // namespace

std::string source_key(store::SourceKind kind, const std::string& host_id,
                       const std::string& name) {
  return std::string(store::to_text(kind)) + "/" + host_id + "/" + name;
}

std::string spelled(const SourceState& source) {
  return (source.kind == store::SourceKind::volume ? "volume:" : "") + source.name;
}

void note_good(SourceState& source, const store::Snapshot& snapshot) {
  if (snapshot.instant < source.good_instant) return;
  if (source.snapshot_id != snapshot.id.hex()) {
    source.live = false;  // its report says more
    // Not those of one that is known: see leave_future().
    source.good_begun = snapshot.started;
    source.good_instant = snapshot.instant;
  }
  source.snapshot_id = snapshot.id.hex();
  source.listed_name = snapshot.listed_name;
  source.consistency = store::to_text(snapshot.consistency);
  source.window = snapshot.window;
  source.bytes = snapshot.bytes;
  source.added_bytes = snapshot.added_bytes;
  source.partial = snapshot.partial;
}

void forget_good(SourceState& source, Nanoseconds now) {
  SourceState fresh;
  fresh.kind = source.kind;
  fresh.host_id = std::move(source.host_id);
  fresh.name = std::move(source.name);
  fresh.first_seen = now;
  source = std::move(fresh);
}

void leave_future(SourceState& source, Nanoseconds now) {
  for (Nanoseconds* time : {&source.first_seen, &source.gone_since, &source.last_begun,
                            &source.good_begun, &source.good_instant}) {
    *time = std::min(*time, now);
  }
}

std::optional<Nanoseconds> overdue_at(const SourceState& source) {
  if (source.schedule.empty() || source.gone_since != 0) return std::nullopt;
  const auto schedule = Schedule::parse(source.schedule, source.zone);
  if (!schedule.ok()) return std::nullopt;  // the daemon runs by none then, and says so
  const Nanoseconds since = source.good_instant != 0 ? source.good_instant : source.first_seen;
  const Nanoseconds second = schedule->next_after(schedule->next_after(since));
  const Nanoseconds two = since + 2 * schedule->interval_at(since);
  return std::max(since + kLeastAge, std::max(second, two) + source.jitter);
}

std::string encode_ledger(const Ledger& ledger) {
  std::string out = fmt::format("{{\"version\":{}", kVersion);
  const FieldWriter field{out};
  field("repository", ledger.repository);
  field("engine_error", ledger.engine_error);
  field("written", ledger.written);
  field("last_forget", ledger.last_forget);
  field("last_prune", ledger.last_prune);
  out += ",\"sources\":[";
  bool first = true;
  for (const SourceState& source : ledger.sources) {
    out += fmt::format("{}\n{{\"kind\":\"{}\"", first ? "" : ",", store::to_text(source.kind));
    first = false;
    visit(source, FieldWriter{out});
    out += '}';
  }
  return out + "\n]}\n";
}

Result<Ledger> decode_ledger(std::string_view text) {
  const auto document = docker::JsonDocument::parse(text);
  if (!document.ok()) return no_ledger(document.error().message);
  auto ledger = decode(document->root());
  if (!ledger.ok() && ledger.error().code == Code::invalid) {
    return no_ledger(ledger.error().message);
  }
  return ledger;
}

Result<void> write_ledger(const std::string& state_folder, const Ledger& ledger) {
  Files& files = system_files();
  const std::string folder = folder_of(state_folder);
  const std::string text = encode_ledger(ledger);
  const std::string temporary = TRY(store::own_temp_folder(files, folder));
  return store::write_synced(files, temporary, folder, "ledger.json", as_bytes(text));
}

Result<Ledger> read_ledger(const std::string& state_folder) {
  const std::string path = folder_of(state_folder) + "/ledger.json";
  const Bytes bytes = TRY(read_file(system_files(), path, kLargestLedger));
  auto ledger = decode_ledger(as_text(bytes));
  if (!ledger.ok()) return std::move(ledger).error().with("reading " + path);
  return ledger;
}

Result<Fd> lock_daemon(const std::string& state_folder) {
  Files& files = system_files();
  TRY(store::make_folders(files, folder_of(state_folder)));
  return store::lock_exclusively(files, folder_of(state_folder) + "/lock", "daemon",
                                 "a daemon is running already",
                                 "systemctl stop bygone, or another BYGONE_STATE_DIR");
}

bool is_daemon_running(const std::string& state_folder) {
  Files& files = system_files();
  const auto lock = files.open(folder_of(state_folder) + "/lock", O_RDONLY, 0);
  if (!lock.ok()) return false;
  const auto free = files.try_lock(*lock, Lock::shared);
  return free.ok() && !*free;
}

}  // namespace bygone::ingest
