// SPDX-License-Identifier: Apache-2.0
#include <cerrno>

#include "store/format.h"
#include "store/index.h"
#include "store/locks.h"
#include "store/notes.h"
#include "store/repair.h"
#include "store/set_aside.h"
#include "store/temp_file.h"

namespace bygone::store {
namespace {

const char* folder_of(RecordKind kind) {
  return kind == RecordKind::snapshot ? "snapshots" : "notes";
}

// Whether the bytes are the record that its name says. Errors: corrupt; unsupported for one of a
// later version, which is whole.
Result<void> prove(const Repository& repository, RecordKind kind, const std::string& name,
                   ByteView sealed) {
  const auto id = SnapshotId::from_hex_text(name);
  if (!id) return Error{Code::corrupt, 0, "its name is no id"};
  if (kind == RecordKind::snapshot) {
    TRY(repository.unseal_snapshot(*id, sealed));
  } else {
    TRY(unseal_note(repository.keys(), NoteId{id->bytes}, sealed));
  }
  return {};
}

Result<void> prove_file(const Repository& repository, RecordKind kind, const std::string& name) {
  const std::string path = repository.path() + "/" + folder_of(kind) + "/" + name;
  const Bytes sealed = TRY(read_file(repository.files(), path, kMaxObjectBytes));
  return prove(repository, kind, name, sealed);
}

// The sealed record that the index keeps, when that one proves itself.
std::optional<Bytes> copy_in_index(Repository& repository, RecordKind kind,
                                   const std::string& name) {
  const auto id = SnapshotId::from_hex_text(name);
  if (kind != RecordKind::snapshot || !id) return std::nullopt;
  auto kept = repository.index().snapshot(*id);
  if (!kept || !*kept || !prove(repository, kind, name, **kept)) return std::nullopt;
  return std::move(**kept);
}

bool is_damage(const Error& error) { return error.code == Code::corrupt || error.errnum == EIO; }

}  // namespace

Result<std::vector<DamagedRecord>> find_damaged(Repository& repository, RecordKind kind) {
  std::vector<DamagedRecord> found;
  const std::string folder = repository.path() + "/" + folder_of(kind);
  for (const std::string& name : TRY(repository.files().list(folder))) {
    if (!SnapshotId::from_hex_text(name)) continue;  // not ours
    const auto proven = prove_file(repository, kind, name);
    if (proven || proven.error().code == Code::not_found) continue;
    if (proven.error().code == Code::unsupported) continue;
    if (!is_damage(proven.error())) return proven.error();
    found.push_back({.name = name,
                     .fault = proven.error().message,
                     .can_be_restored = copy_in_index(repository, kind, name).has_value()});
  }
  return found;
}

Result<RecordRepair> repair_record(Repository& repository, RecordKind kind,
                                   const std::string& name) {
  Files& files = repository.files();
  const std::string what = std::string(kind == RecordKind::snapshot ? "snapshot " : "note ") + name;
  const RepairLocks locks = TRY(lock_for_repair(files, repository.path()));
  // What an earlier run left there would be in the way of this one.
  TRY(clean_temp_folder(files, repository.path() + "/tmp"));
  // Nobody may move or list records while one leaves.
  const auto names = lock_names(files, repository.path(), Lock::exclusive);
  if (!names) return Error(names.error()).with("repairing " + what);
  const auto proven = prove_file(repository, kind, name);
  if (proven) {
    return Error{Code::invalid, 0, "repairing " + what + ": it is whole, and stays where it is"};
  }
  if (!is_damage(proven.error())) return Error(proven.error()).with("repairing " + what);
  RecordRepair result{.name = name, .moved_to = {}, .restored = false};
  const char* const prefix = kind == RecordKind::snapshot ? "snapshot-" : "note-";
  const std::string tmp = repository.path() + "/tmp";
  const std::string folder = repository.path() + "/" + folder_of(kind);
  if (const auto copy = copy_in_index(repository, kind, name)) {
    // A copy of the damaged bytes leaves, and the good ones replace the file in one step: whoever
    // looks meanwhile, or after a crash, never finds the name gone.
    const auto damaged = read_file(files, folder + "/" + name, kMaxObjectBytes);
    if (!damaged && !is_damage(damaged.error())) {
      return Error(damaged.error()).with("repairing " + what);
    }
    if (damaged) {
      result.moved_to = "damaged/" + TRY(free_name(files, repository.path(), prefix + name));
      TRY(write_durably(files, tmp, repository.path() + "/damaged",
                        result.moved_to.substr(result.moved_to.find('/') + 1), *damaged));
    }
    TRY(write_durably(files, tmp, folder, name, *copy));
    result.restored = true;
    return result;
  }
  result.moved_to = TRY(set_aside(files, repository.path(), folder_of(kind), name, prefix));
  return result;
}

}  // namespace bygone::store
