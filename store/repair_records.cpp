// SPDX-License-Identifier: Apache-2.0
#include <cerrno>

#include "store/condemned.h"
#include "store/config.h"
#include "store/format.h"
#include "store/index.h"
#include "store/locks.h"
#include "store/notes.h"
#include "store/repair.h"
#include "store/set_aside.h"
#include "store/snapshot_notes.h"
#include "store/temp_file.h"

namespace bygone::store {
namespace {

struct RecordWords {
  const char* folder;
  const char* noun;
  const char* prefix;   // of its name in `damaged/`
  const char* command;  // of bygone repair
};

const RecordWords& words_of(RecordKind kind) {
  static constexpr RecordWords kWords[] = {{"snapshots", "snapshot", "snapshot-", "snapshots"},
                                           {"trash", "forgotten snapshot", "snapshot-", "trash"},
                                           {"notes", "note", "note-", "notes"},
                                           {"condemned", "condemned list", "condemned-", "lists"},
                                           {"keys", "key slot", "key-", "keys"},
                                           {"", "configuration", "", "config"}};
  return kWords[static_cast<std::size_t>(kind)];
}

bool is_snapshot(RecordKind kind) {
  return kind == RecordKind::snapshot || kind == RecordKind::trashed;
}

// A slot of a later kind is as whole as its label says.
Result<void> prove_slot(const Repository& repository, const std::string& name, ByteView slot) {
  const auto head = KeyRing::read_head(name, slot);
  if (!head && head.error().code != Code::unsupported) return head.error();
  TRY(repository.keys().label(name, slot));
  return {};
}

// Whether the bytes are the record that its name says. Errors: corrupt; unsupported for one of a
// later version, which is whole.
Result<void> prove(const Repository& repository, RecordKind kind, const std::string& name,
                   ByteView sealed) {
  if (!is_record_name(kind, name)) return Error{Code::corrupt, 0, "its name is not that of one"};
  switch (kind) {
    case RecordKind::snapshot:
    case RecordKind::trashed:
      TRY(repository.unseal_snapshot(*SnapshotId::from_hex_text(name), sealed));
      break;
    case RecordKind::note:
      TRY(unseal_note(repository.keys(), *NoteId::from_hex_text(name), sealed));
      break;
    case RecordKind::list:
      TRY(unseal_condemned(repository.keys(), *generation_number(name), sealed));
      break;
    case RecordKind::key:
      return prove_slot(repository, name, sealed);
    case RecordKind::config:
      return prove_config(sealed, repository.keys());
  }
  return {};
}

// Below the repository.
std::string place_of(RecordKind kind, const std::string& name) {
  const std::string folder = words_of(kind).folder;
  return folder.empty() ? name : folder + "/" + name;
}

std::string path_of(const Repository& repository, RecordKind kind, const std::string& name) {
  return repository.path() + "/" + place_of(kind, name);
}

Result<void> prove_file(const Repository& repository, RecordKind kind, const std::string& name) {
  const Bytes sealed =
      TRY(read_file(repository.files(), path_of(repository, kind, name), kMaxObjectBytes));
  return prove(repository, kind, name, sealed);
}

// A whole snapshot record: the copy that the index keeps, or that of the other folder, where a
// power cut may leave one.
std::optional<Bytes> copy_of_snapshot(Repository& repository, RecordKind kind,
                                      const std::string& name) {
  const auto id = SnapshotId::from_hex_text(name);
  if (!id) return std::nullopt;
  auto kept = repository.index().snapshot(*id);
  if (kept && *kept && prove(repository, kind, name, **kept)) return std::move(**kept);
  const RecordKind other =
      kind == RecordKind::snapshot ? RecordKind::trashed : RecordKind::snapshot;
  auto there = read_file(repository.files(), path_of(repository, other, name), kMaxObjectBytes);
  if (there && prove(repository, other, name, *there)) return std::move(there).value();
  return std::nullopt;
}

// What can stand in place of the damaged record. A list of which nobody knows what it named may as
// well name nothing: no pack is deleted that no list names, and what is dead is found again. Its
// number must stay (FORMAT.md section 8.4).
std::optional<Bytes> substitute(Repository& repository, RecordKind kind, const std::string& name) {
  if (is_snapshot(kind)) return copy_of_snapshot(repository, kind, name);
  if (kind == RecordKind::config && is_record_name(kind, name)) return repository.config();
  if (kind != RecordKind::list || !is_record_name(kind, name)) return std::nullopt;
  return seal_condemned(repository.keys(), {*generation_number(name), {}});
}

// Whether a slot that does not prove itself may open all the same, for all that can be known.
bool may_open(const Repository& repository, const std::string& name) {
  const auto slot =
      read_file(repository.files(), path_of(repository, RecordKind::key, name), kMaxSlotBytes);
  if (!slot) return false;
  const auto head = KeyRing::read_head(name, *slot);
  return head.ok() || head.error().code == Code::unsupported;
}

bool is_broken(const Error& error) { return error.code == Code::corrupt || error.errnum == EIO; }

std::string remedy_for(RecordKind kind, const DamagedRecord& record) {
  const std::string command =
      std::string("hint: bygone repair ") + words_of(kind).command + " " + record.name;
  switch (kind) {
    case RecordKind::snapshot:
      return record.can_be_restored
                 ? command + " writes it again, from a copy that is whole"
                 : "the snapshot is lost, for no copy is left; " + command + " moves it aside";
    case RecordKind::trashed:
      return record.can_be_restored
                 ? command + " writes it again, from a copy that is whole"
                 : "it cannot be brought back, and prune waits until it has expired; " + command +
                       " moves it aside";
    case RecordKind::note:
      return command + " moves it aside";
    case RecordKind::list:
      return "nothing is lost with it, but backups store anew what it may name; " + command +
             ", or the next bygone prune, writes it again without packs";
    case RecordKind::config:
      return "nothing is lost with it; " + command + " writes it again";
    case RecordKind::key:
      break;
  }
  if (record.must_stay) {
    return "it may open as ever, or not; hint: with its secret bygone key add makes another, and "
           "then bygone key remove " +
           record.name + " takes it away";
  }
  return "it opens for nobody; " + command +
         " moves it aside, and with its secret bygone key add makes another";
}

Result<bool> has_file(const Repository& repository, const std::string& name) {
  const auto info = repository.files().info(repository.path() + "/" + name);
  if (!info && info.error().code != Code::not_found) return info.error();
  return info.ok();
}

// Only where nobody loses the way in: what goes opens for nobody, and one stays that is known to
// open.
Result<void> refuse_needed_slot(const Repository& repository, const std::string& name) {
  if (may_open(repository, name)) {
    return Error{Code::invalid, 0,
                 "its keys may open as ever, though its label, or they, are damaged: it stays; "
                 "hint: with its secret bygone key add makes another, and then bygone key remove " +
                     name + " takes it away"};
  }
  if (name == repository.slot()) {
    return Error{Code::invalid, 0,
                 "it opened the repository a moment ago: it stays; hint: bygone key add makes "
                 "another first"};
  }
  if (may_open(repository, repository.slot())) return {};
  return Error{Code::invalid, 0,
               "key slot " + repository.slot() +
                   ", which opened the repository, is not there or damaged by now: this one stays"};
}

// A copy of the damaged bytes leaves, and the good ones replace the file in one step: whoever looks
// meanwhile, or after a crash, never finds the name gone.
Result<RecordRepair> replace_record(Repository& repository, RecordKind kind,
                                    const std::string& name, ByteView good) {
  Files& files = repository.files();
  RecordRepair result{.name = name, .moved_to = {}, .restored = true};
  const std::string tmp = repository.path() + "/tmp";
  const auto damaged = read_file(files, path_of(repository, kind, name), kMaxObjectBytes);
  const bool missing = !damaged && damaged.error().code == Code::not_found;
  if (!damaged && !missing && !is_broken(damaged.error())) return damaged.error();
  if (damaged) {
    const std::string as = TRY(free_name(files, repository.path(), words_of(kind).prefix + name));
    TRY(write_durably(files, tmp, repository.path() + "/damaged", as, *damaged));
    result.moved_to = "damaged/" + as;
  }
  TRY(write_durably(files, tmp, parent_folder(path_of(repository, kind, name)), name, good));
  return result;
}

// Else its successor would lack a predecessor for ever. Whose it was nobody knows. The caller holds
// the lock on names.
Result<void> note_gone(Repository& repository, const std::string& name) {
  Snapshot snapshot;
  snapshot.id = *SnapshotId::from_hex_text(name);
  Notes notes = TRY(read_notes(repository));
  return write_notes(repository, notes, {gone_note(snapshot)}, system_now());
}

Result<RecordRepair> repair_locked(Repository& repository, RecordKind kind,
                                   const std::string& name) {
  const auto proven = prove_file(repository, kind, name);
  if (proven) return Error{Code::invalid, 0, "it is whole, and stays where it is"};
  const bool may_be_missing = kind == RecordKind::config && is_record_name(kind, name);
  const bool missing = may_be_missing && proven.error().code == Code::not_found;
  if (!missing && !is_broken(proven.error())) return proven.error();
  if (const auto good = substitute(repository, kind, name)) {
    return replace_record(repository, kind, name, *good);
  }
  if (kind == RecordKind::key) TRY(refuse_needed_slot(repository, name));
  if (is_snapshot(kind)) TRY(note_gone(repository, name));
  const RecordWords& words = words_of(kind);
  std::string moved_to =
      TRY(set_aside(repository.files(), repository.path(), words.folder, name, words.prefix));
  return RecordRepair{.name = name, .moved_to = std::move(moved_to), .restored = false};
}

}  // namespace

bool is_record_name(RecordKind kind, const std::string& name) {
  if (kind == RecordKind::list) return generation_number(name).value_or(0) != 0;
  if (kind == RecordKind::config) return name == kConfigFile || name == kConfigCopy;
  return SnapshotId::from_hex_text(name).has_value();
}

Result<std::vector<DamagedRecord>> find_damaged(Repository& repository, RecordKind kind) {
  std::vector<DamagedRecord> found;
  for (const std::string& name :
       TRY(repository.files().list(repository.path() + "/" + words_of(kind).folder))) {
    if (!is_record_name(kind, name)) continue;
    const auto proven = prove_file(repository, kind, name);
    if (proven || proven.error().code == Code::not_found) continue;
    if (proven.error().code == Code::unsupported) continue;
    if (!is_broken(proven.error())) return proven.error();
    DamagedRecord record{.name = name,
                         .path = place_of(kind, name),
                         .fault = proven.error().message,
                         .can_be_restored = substitute(repository, kind, name).has_value(),
                         .must_stay = kind == RecordKind::key && may_open(repository, name),
                         .remedy = {}};
    record.remedy = remedy_for(kind, record);
    found.push_back(std::move(record));
  }
  if (kind != RecordKind::config || TRY(has_file(repository, kConfigFile))) return found;
  DamagedRecord record{.name = kConfigFile,
                       .path = kConfigFile,
                       .fault = "it is not there",
                       .can_be_restored = true,
                       .must_stay = false,
                       .remedy = {}};
  record.remedy = remedy_for(kind, record);
  found.push_back(std::move(record));
  return found;
}

Result<RecordRepair> repair_record(Repository& repository, RecordKind kind,
                                   const std::string& name) {
  Files& files = repository.files();
  const std::string what = "repairing " + std::string(words_of(kind).noun) + " " + name;
  const RepairLocks locks = TRY(lock_for_repair(files, repository.path()));
  // What an earlier run left there would be in the way of this one.
  TRY(clean_temp_folder(files, repository.path() + "/tmp"));
  // Nobody may move or list records while one leaves.
  const auto names = lock_names(files, repository.path(), Lock::exclusive);
  if (!names) return Error(names.error()).with(what);
  auto repaired = repair_locked(repository, kind, name);
  if (!repaired) return std::move(repaired).error().with(what);
  return repaired;
}

}  // namespace bygone::store
