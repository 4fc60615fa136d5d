// SPDX-License-Identifier: Apache-2.0
#include "ingest/intent_journal.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/core.h>

#include "store/crypto.h"
#include "store/temp_file.h"

namespace bygone::ingest {
namespace {

constexpr std::string_view kSuffix = ".journal";
constexpr std::string_view kUnfinished = ".tmp";
constexpr std::uint64_t kMaxBytes = 4 << 20;
// is_dead_journal() holds a lock for a moment; adopt() must not take it for a living writer.
constexpr int kLockAttempts = 5;
constexpr std::chrono::milliseconds kLockPause{10};

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

std::string escape_field(std::string_view field) {
  std::string out;
  for (const char c : field) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte > 0x20 && byte < 0x7f && c != '%';
    out += plain ? std::string(1, c) : fmt::format("%{:02x}", byte);
  }
  return out;
}

std::optional<std::string> unescape_field(std::string_view text) {
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

std::optional<std::string_view> take_field(std::string_view& text, char separator) {
  const std::size_t end = text.find(separator);
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view taken = text.substr(0, end);
  text.remove_prefix(end + 1);
  return taken;
}

std::optional<std::string_view> take_line(std::string_view& text, std::string_view word) {
  std::string_view rest = text;
  const auto line = take_field(rest, '\n');
  if (!line || line->substr(0, word.size()) != word || line->substr(word.size(), 1) != " ") {
    return std::nullopt;
  }
  text = rest;
  return line->substr(word.size() + 1);
}

bool is_end(std::string_view text, std::size_t lines) {
  const auto end = take_line(text, "end");
  return end && number_field<std::size_t>(*end) == lines && text.empty();
}

Result<std::string_view> take_version(std::string_view& text, std::string_view kind,
                                      const std::vector<std::string_view>& known) {
  const std::string magic = fmt::format("bygone {} journal ", kind);
  const bool ours = text.starts_with(magic);
  if (ours) text.remove_prefix(magic.size());
  const auto version = take_field(text, '\n');
  if (!ours || !version) return Error{Code::corrupt, 0, fmt::format("it is no {} journal", kind)};
  if (std::find(known.begin(), known.end(), *version) != known.end()) return *version;
  return Error{Code::unsupported, 0,
               fmt::format("it has version '{}'; hint: thaw with the bygone that wrote it",
                           printable(*version))};
}

Result<IntentJournal> IntentJournal::create(const std::string& folder, const std::string& text) {
  struct NameTag;
  TRY(store::make_folders(system_files(), folder));
  IntentJournal journal;
  journal.path_ = folder + "/" + store::random_id<Id<NameTag, 8>>().hex() + std::string(kSuffix);
  auto written = write_locked(journal.path_, text, journal.fd_);
  if (written) return journal;
  if (journal.is_open()) ignore(journal.remove(), "the first error is the one to report");
  return std::move(written).error();
}

Result<IntentJournal> IntentJournal::adopt(const std::string& path) {
  Files& files = system_files();
  IntentJournal journal;
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

Result<std::string> IntentJournal::read() const {
  Files& files = system_files();
  const FileInfo info = TRY(files.info(fd_));
  if (info.size > kMaxBytes) return Error{Code::corrupt, 0, "the journal is damaged"};
  Bytes text(info.size);
  text.resize(TRY(files.read_at(fd_, text, 0)));
  return std::string(as_text(text));
}

Result<void> IntentJournal::replace(const std::string& text) {
  return write_locked(path_, text, fd_);
}

Result<void> IntentJournal::remove() {
  auto removed = system_files().remove(path_);
  if (!removed && removed.error().code != Code::not_found) return removed;
  TRY(system_files().sync_directory(parent_folder(path_)));
  fd_.reset();
  return {};
}

Result<std::vector<std::string>> intent_journals(const std::string& folder) {
  auto names = system_files().list(folder);
  std::vector<std::string> paths;
  if (!names && names.error().code == Code::not_found) return paths;
  for (const std::string& name : TRY(std::move(names))) {
    if (name.ends_with(kSuffix)) paths.push_back(folder + "/" + name);
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

bool has_dead_journal(const std::string& folder) {
  const auto paths = intent_journals(folder);
  return !paths || std::any_of(paths->begin(), paths->end(), [](const std::string& path) {
    const auto dead = is_dead_journal(path);
    return !dead || *dead;
  });
}

Result<void> remove_unfinished_journals(const std::string& folder) {
  Files& files = system_files();
  auto names = files.list(folder);
  if (!names && names.error().code == Code::not_found) return {};
  for (const std::string& name : TRY(std::move(names))) {
    if (!name.ends_with(kUnfinished)) continue;
    const Fd fd = TRY(open_journal(folder + "/" + name));
    if (!fd.is_open() || !TRY(files.try_lock(fd, Lock::exclusive))) continue;
    // Renamed meanwhile, it is a journal now: then its name here is gone, or another's.
    auto removed = files.remove(folder + "/" + name);
    if (!removed && removed.error().code != Code::not_found) return removed;
  }
  return {};
}

}  // namespace bygone::ingest
