// SPDX-License-Identifier: Apache-2.0
#include "ingest/freeze_journal.h"

#include <charconv>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/core.h>

#include "store/crypto.h"
#include "store/temp_file.h"

namespace bygone::ingest {
namespace {

constexpr std::string_view kMagic = "bygone freeze journal ";
constexpr std::string_view kVersion = "1";
constexpr std::string_view kVersionWithStops = "2";
constexpr std::string_view kSuffix = ".journal";
constexpr std::string_view kUnfinished = ".tmp";
constexpr std::uint64_t kMaxBytes = 4 << 20;
// is_dead_journal() holds a lock for a moment; adopt() must not take it for a living writer.
constexpr int kLockAttempts = 5;
constexpr std::chrono::milliseconds kLockPause{10};

std::string escape(std::string_view field) {
  std::string out;
  for (const char c : field) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte > 0x20 && byte < 0x7f && c != '%';
    out += plain ? std::string(1, c) : fmt::format("%{:02x}", byte);
  }
  return out;
}

std::optional<std::string> unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    std::uint8_t byte = 0;
    if (!from_hex(text.substr(i + 1, 2), {&byte, 1})) return std::nullopt;
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

template <class T>
std::optional<T> number(std::string_view text) {
  T value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// What stands before `separator`, which goes too; nothing when there is none.
std::optional<std::string_view> take(std::string_view& text, char separator) {
  const std::size_t end = text.find(separator);
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view taken = text.substr(0, end);
  text.remove_prefix(end + 1);
  return taken;
}

// The rest of the next line, which must begin with `word` and a space.
std::optional<std::string_view> take_line(std::string_view& text, std::string_view word) {
  std::string_view rest = text;
  const auto line = take(rest, '\n');
  if (!line || line->substr(0, word.size()) != word || line->substr(word.size(), 1) != " ") {
    return std::nullopt;
  }
  text = rest;
  return line->substr(word.size() + 1);
}

std::optional<FreezeRecord::Container> container_of(std::string_view line, bool stopped) {
  const auto id = take(line, ' ');
  const auto name = take(line, ' ');
  if (!id || id->empty() || !name) return std::nullopt;
  auto plain_id = unescape(*id);
  auto plain_name = unescape(*name);
  auto started_at = unescape(line);
  if (!plain_id || !plain_name || !started_at) return std::nullopt;
  return FreezeRecord::Container{std::move(*plain_id), std::move(*plain_name),
                                 std::move(*started_at), stopped};
}

// The next line about a container.
std::optional<std::string_view> take_container(std::string_view& text, bool& stopped) {
  auto line = take_line(text, "container");
  stopped = !line;
  return line ? line : take_line(text, "stopped");
}

std::optional<FreezeRecord> body_of(std::string_view text) {
  FreezeRecord record;
  const auto engine = take_line(text, "engine");
  const auto time = take_line(text, "time");
  if (!engine || !time) return std::nullopt;
  const auto address = unescape(*engine);
  const auto nanoseconds = number<Nanoseconds>(*time);
  if (!address || !nanoseconds) return std::nullopt;
  record.engine = *address;
  record.time = *nanoseconds;
  bool stopped = false;
  while (const auto line = take_container(text, stopped)) {
    auto container = container_of(*line, stopped);
    if (!container) return std::nullopt;
    record.containers.push_back(std::move(*container));
  }
  const auto end = take_line(text, "end");
  if (!end || number<std::size_t>(*end) != record.containers.size() || !text.empty()) {
    return std::nullopt;
  }
  return record;
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

std::string folder_of(const std::string& state_folder) { return state_folder + "/freeze"; }

// mkdir -p; what is new is durable in its parent.
Result<void> make_folders(const std::string& path) {
  Files& files = system_files();
  auto made = files.make_directory(path);
  if (!made && made.error().code == Code::not_found) {
    TRY(make_folders(parent_folder(path)));
    made = files.make_directory(path);
  }
  if (made) return files.sync_directory(parent_folder(path));
  if (made.error().code == Code::exists) return {};
  return made;
}

// Under a temporary name first: what has a journal's name is whole. `locked` is the file as soon as
// it has that name.
Result<void> write_locked(const std::string& path, const std::string& text, Fd& locked) {
  Files& files = system_files();
  const std::string folder = parent_folder(path);
  const std::string name = path.substr(folder.size() + 1) + std::string(kUnfinished);
  store::TempFile temp = TRY(store::TempFile::create(files, folder, name));
  const auto write = [&]() -> Result<void> {
    TRY(files.write_at(temp.fd(), as_bytes(text), 0));
    TRY(files.sync_data(temp.fd()));
    return files.rename(temp.path(), path);
  };
  auto written = write();
  if (!written) {
    ignore(files.remove(temp.path()), "the first error is the one to report");
    return std::move(written).error().with("writing " + path);
  }
  locked = temp.release();
  return files.sync_directory(folder);
}

// A journal, if it is still there.
Result<Fd> open_journal(const std::string& path) {
  auto fd = system_files().open(path, O_RDWR | O_NOFOLLOW, 0);
  if (!fd && fd.error().code == Code::not_found) return Fd();
  return fd;
}

}  // namespace

std::string encode(const FreezeRecord& record) {
  const auto& all = record.containers;
  const bool stops = std::any_of(all.begin(), all.end(), [](const auto& c) { return c.stopped; });
  std::string text =
      fmt::format("{}{}\nengine {}\ntime {}\n", kMagic, stops ? kVersionWithStops : kVersion,
                  escape(record.engine), record.time);
  for (const auto& c : all) {
    text += fmt::format("{} {} {} {}\n", c.stopped ? "stopped" : "container", escape(c.id),
                        escape(c.name), escape(c.started_at));
  }
  return text + fmt::format("end {}\n", record.containers.size());
}

Result<FreezeRecord> decode_freeze_record(std::string_view text) {
  const bool ours = text.substr(0, kMagic.size()) == kMagic;
  if (ours) text.remove_prefix(kMagic.size());
  const auto version = take(text, '\n');
  if (!ours || !version) return Error{Code::corrupt, 0, "it is no freeze journal"};
  if (*version != kVersion && *version != kVersionWithStops) {
    return Error{Code::unsupported, 0,
                 fmt::format("it has version '{}'; hint: thaw with the bygone that wrote it",
                             printable(*version))};
  }
  auto record = body_of(text);
  if (!record) return Error{Code::corrupt, 0, "the journal is damaged"};
  return std::move(*record);
}

Result<FreezeJournal> FreezeJournal::create(const std::string& state_folder,
                                            const FreezeRecord& record) {
  struct NameTag;
  const std::string folder = folder_of(state_folder);
  TRY(make_folders(folder));
  FreezeJournal journal;
  journal.path_ = folder + "/" + store::random_id<Id<NameTag, 8>>().hex() + std::string(kSuffix);
  auto written = write_locked(journal.path_, encode(record), journal.fd_);
  if (written) return journal;
  if (journal.is_open()) ignore(journal.remove(), "the first error is the one to report");
  return std::move(written).error();
}

Result<FreezeJournal> FreezeJournal::adopt(const std::string& path) {
  Files& files = system_files();
  FreezeJournal journal;
  Fd fd = TRY(open_journal(path));
  if (!fd.is_open()) return journal;
  for (int attempt = 1; !TRY(files.try_lock(fd, Lock::exclusive)); ++attempt) {
    if (attempt == kLockAttempts) return journal;
    std::this_thread::sleep_for(kLockPause);
  }
  // Removed or replaced between open and lock: then it is no longer the journal.
  if (TRY(files.info(fd)).links == 0) return journal;
  journal.path_ = path;
  journal.fd_ = std::move(fd);
  return journal;
}

Result<FreezeRecord> FreezeJournal::read() const {
  Files& files = system_files();
  const FileInfo info = TRY(files.info(fd_));
  if (info.size > kMaxBytes) return Error{Code::corrupt, 0, "the journal is damaged"};
  Bytes text(info.size);
  text.resize(TRY(files.read_at(fd_, text, 0)));
  return decode_freeze_record(as_text(text));
}

Result<void> FreezeJournal::replace(const FreezeRecord& record) {
  return write_locked(path_, encode(record), fd_);
}

Result<void> FreezeJournal::remove() {
  auto removed = system_files().remove(path_);
  if (!removed && removed.error().code != Code::not_found) return removed;
  TRY(system_files().sync_directory(parent_folder(path_)));
  fd_.reset();
  return {};
}

Result<std::vector<std::string>> freeze_journals(const std::string& state_folder) {
  const std::string folder = folder_of(state_folder);
  auto names = system_files().list(folder);
  std::vector<std::string> paths;
  if (!names && names.error().code == Code::not_found) return paths;
  for (const std::string& name : TRY(std::move(names))) {
    if (ends_with(name, kSuffix)) paths.push_back(folder + "/" + name);
  }
  return paths;
}

Result<bool> is_dead_journal(const std::string& path) {
  const Fd fd = TRY(open_journal(path));
  if (!fd.is_open()) return false;
  if (!TRY(system_files().try_lock(fd, Lock::shared))) return false;
  return TRY(system_files().info(fd))
  .links > 0;
}

Result<void> remove_unfinished_journals(const std::string& state_folder) {
  Files& files = system_files();
  const std::string folder = folder_of(state_folder);
  auto names = files.list(folder);
  if (!names && names.error().code == Code::not_found) return {};
  for (const std::string& name : TRY(std::move(names))) {
    if (!ends_with(name, kUnfinished)) continue;
    const Fd fd = TRY(open_journal(folder + "/" + name));
    if (!fd.is_open() || !TRY(files.try_lock(fd, Lock::exclusive))) continue;
    // Renamed meanwhile, it is a journal now: then its name here is gone, or another's.
    auto removed = files.remove(folder + "/" + name);
    if (!removed && removed.error().code != Code::not_found) return removed;
  }
  return {};
}

}  // namespace bygone::ingest
