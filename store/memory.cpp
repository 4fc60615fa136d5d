// SPDX-License-Identifier: Apache-2.0
#include "store/memory.h"

#include <optional>
#include <sstream>

#include <fmt/core.h>

#include "store/format.h"
#include "store/gone_records.h"
#include "store/locks.h"
#include "store/temp_file.h"

namespace bygone::store {
namespace {

constexpr std::uint64_t kMaxFile = 1u << 20;
constexpr const char* kConfig = "config";
constexpr std::string_view kSource = "source-";
constexpr const char* kHint =
    "; hint: an older state of the repository was put back, or somebody deleted from it; when that "
    "was meant, bygone forget --accept-rollback says so";

// One record that was seen.
struct Seen {
  std::uint64_t sequence = 0;
  SnapshotId id;
};

// A file of one source: a line of text a record, "newest NUMBER ID" first, then "missing NUMBER ID"
// for each that was newest once and had vanished when the next one came.
struct SourceMemory {
  std::string name;  // for people
  Seen newest;
  std::vector<Seen> missing;
};

std::string folder_of(const Repository& repository, const std::string& state_folder) {
  return state_folder + "/" + repository.id().hex();
}

std::string encode(const SourceMemory& memory) {
  std::string text = "bygone 1\nname " + to_hex(as_bytes(memory.name)) + "\n";
  text += fmt::format("newest {} {}\n", memory.newest.sequence, memory.newest.id.hex());
  for (const Seen& each : memory.missing) {
    text += fmt::format("missing {} {}\n", each.sequence, each.id.hex());
  }
  return text;
}

std::optional<SourceMemory> decode(std::string_view text) {
  std::istringstream in{std::string(text)};
  std::string word, version, name;
  if (!(in >> word >> version) || word != "bygone" || version != "1") return std::nullopt;
  if (!(in >> word >> name) || word != "name") return std::nullopt;
  SourceMemory memory;
  Bytes raw(name.size() / 2);
  if (!from_hex(name, raw)) return std::nullopt;
  memory.name = as_text(raw);
  bool has_newest = false;
  Seen seen;
  for (std::string id; in >> word >> seen.sequence >> id;) {
    const auto parsed = SnapshotId::from_hex_text(id);
    if (!parsed || (word == "newest") == has_newest) return std::nullopt;
    seen.id = *parsed;
    if (has_newest) {
      memory.missing.push_back(seen);
    } else {
      memory.newest = seen;
      has_newest = true;
    }
  }
  if (!has_newest || !in.eof()) return std::nullopt;
  return memory;
}

// Nothing when there is none.
Result<std::optional<SourceMemory>> load(Files& files, const std::string& path) {
  auto raw = read_file(files, path, kMaxFile);
  if (!raw && raw.error().code == Code::not_found) return std::optional<SourceMemory>();
  if (!raw) return std::move(raw).error();
  auto memory = decode(as_text(*raw));
  if (!memory) {
    return Error{Code::corrupt, 0,
                 "what is remembered in " + path + " cannot be read; hint: remove that file"};
  }
  return memory;
}

Result<void> store_text(Files& files, const std::string& folder, const std::string& name,
                        const std::string& text) {
  const std::string temp = TRY(own_temp_folder(files, folder));
  return write_durably(files, temp, folder, name, as_bytes(text));
}

// Whether a record is where it was seen, in the trash, or gone on purpose.
class Accounts {
 public:
  explicit Accounts(Repository& repository) : repository_(repository) {}

  Result<bool> has(const SourceId& source, const Seen& seen) {
    if (TRY(look(source, seen))) return true;
    if (is_sure_) return false;
    // A listing beside a prune that folds notes may show neither the old one nor what stands for
    // it. Who cannot have the lock, or waits for it in vain, goes by what was seen without.
    lock_ = lock_names(repository_.files(), repository_.path(), Lock::shared);
    is_sure_ = true;
    gone_.reset();
    return look(source, seen);
  }

 private:
  Result<bool> look(const SourceId& source, const Seen& seen) {
    if (TRY(repository_.has_record(seen.id))) return true;
    if (!gone_) {
      // However many there are: that they are too many is not for this to say.
      NoteReader reader(repository_, NoteReader::Limit::none);
      const Notes notes = TRY(reader.read());
      // What says that it is gone may be sealed with a newer key.
      if (notes.locked()) return *notes.locked();
      gone_.emplace(notes);
    }
    return gone_->account_for(source, {.sequence = seen.sequence, .id = seen.id});
  }

  Repository& repository_;
  std::optional<GoneRecords> gone_;
  std::optional<Result<Fd>> lock_;  // held from the first doubt on
  bool is_sure_ = false;
};

// Whose memory the file is.
std::optional<SourceId> source_of(std::string_view file) {
  if (!file.starts_with(kSource)) return std::nullopt;
  return SourceId::from_hex_text(file.substr(kSource.size()));
}

std::string config_mac(const Repository& repository) {
  return to_hex(ByteView(repository.config()).subspan(64));
}

std::string describe(const SourceMemory& memory, const Seen& seen) {
  return fmt::format(
      "ROLLBACK: this host has seen snapshot number {} of {} (id {}), and it is not in the "
      "repository any more",
      seen.sequence, printable(memory.name), seen.id.hex());
}

Result<std::vector<std::string>> names_in(Files& files, const std::string& folder) {
  auto names = files.list(folder);
  if (!names && names.error().code == Code::not_found) return std::vector<std::string>();
  return names;
}

}  // namespace

Result<std::vector<std::string>> check_memory(Repository& repository,
                                              const std::string& state_folder) {
  Files& files = repository.files();
  const std::string folder = folder_of(repository, state_folder);
  std::vector<std::string> alarms;
  Accounts accounts(repository);
  for (const std::string& name : TRY(names_in(files, folder))) {
    if (name == kConfig) {
      const Bytes known = TRY(read_file(files, folder + "/" + name, kMaxFile));
      if (as_text(known) != config_mac(repository)) {
        alarms.push_back(std::string("ROLLBACK: the configuration of the repository is not the "
                                     "one that this host has seen") +
                         kHint);
      }
    }
    const auto source = source_of(name);
    if (!source) continue;
    const auto memory = TRY(load(files, folder + "/" + name));
    if (!memory) continue;
    if (!TRY(accounts.has(*source, memory->newest))) {
      alarms.push_back(describe(*memory, memory->newest) + kHint);
    }
    for (const Seen& seen : memory->missing) alarms.push_back(describe(*memory, seen) + kHint);
  }
  return alarms;
}

Result<void> remember(Repository& repository, const std::string& state_folder,
                      const Snapshot& newest) {
  Files& files = repository.files();
  const std::string folder = folder_of(repository, state_folder);
  const std::string name = std::string(kSource) + newest.source.hex();
  SourceMemory memory;
  if (const auto before = TRY(load(files, folder + "/" + name))) {
    memory = *before;
    Accounts accounts(repository);
    if (!TRY(accounts.has(newest.source, memory.newest))) memory.missing.push_back(memory.newest);
  }
  memory.name = newest.display_name;
  memory.newest = {.sequence = newest.sequence, .id = newest.id};
  TRY(store_text(files, folder, name, encode(memory)));
  if (files.info(folder + "/" + kConfig)) return {};
  auto stored = store_text(files, folder, kConfig, config_mac(repository));
  // Another source that is the first at this moment writes the same.
  if (!stored && stored.error().code == Code::exists) return {};
  return stored;
}

Result<void> accept_rollback(Repository& repository, const std::string& state_folder) {
  Files& files = repository.files();
  const std::string folder = folder_of(repository, state_folder);
  // First: who cannot tell what is there forgets nothing.
  std::vector<std::string> damaged;
  const auto snapshots = TRY(repository.snapshots(&damaged));
  const auto names = TRY(names_in(files, folder));
  for (const std::string& name : names) {
    if (name == kConfig || name.starts_with(kSource)) TRY(files.remove(folder + "/" + name));
  }
  if (!names.empty()) TRY(files.sync_directory(folder));
  for (const Snapshot* newest : newest_of_sources(snapshots)) {
    TRY(remember(repository, state_folder, *newest));
  }
  return {};
}

}  // namespace bygone::store
