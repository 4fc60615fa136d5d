// SPDX-License-Identifier: Apache-2.0
//
// Mends what is damaged, and loses nothing by it: what is good is copied first, durably, and what
// is damaged is moved to `damaged/`, never deleted and never overwritten (FORMAT.md section 10.1).
// What is whole is not touched. Cut short at any point it can be run again. One thread; never
// beside prune, a change of keys or another repair.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "store/base/clock.h"
#include "store/repository.h"

namespace bygone::store {

struct RepairOptions {
  std::vector<PackId> packs;  // none: every pack
  bool dry_run = false;       // only say what would be done
  Nanoseconds now = 0;        // for the notes that are written
};

// One pack that was not whole.
struct PackRepair {
  PackId pack;
  std::string fault;           // what is wrong with it
  std::uint64_t kept = 0;      // records copied, or standing elsewhere already
  std::vector<ChunkId> lost;   // records of which no copy can be read
  bool complete = true;        // false: it may have held more than kept and lost
  std::optional<PackId> copy;  // the new pack; absent when nothing had to be copied
  std::string moved_to;        // below the repository; empty with dry_run
};

struct RepairReport {
  std::uint64_t packs = 0;  // looked at: all of their records were read
  std::vector<PackRepair> damaged;
  // Deltas, sound themselves and in these packs, that cannot be read because a base is among what
  // was lost: they are kept, and read again once the base is back.
  std::vector<ChunkId> without_base;
};

// Reads every record of the packs. Of each that is not whole, copies what proves itself by its seal
// and its id into a new pack, notes what is lost, so that the next backup stores it again, and
// moves the old file aside. A delta whose base cannot be read now is copied as it is: the base may
// come back. `progress` is told packs done and in all.
// Errors: busy when prune, a change of keys or another repair runs; not_found for a pack that is
// not there; unsupported, denied for one that this program cannot judge; no_space; io; cancelled.
Result<RepairReport> repair_packs(Repository& repository, const RepairOptions& options,
                                  const std::function<void(std::uint64_t, std::uint64_t)>& progress,
                                  const std::atomic<bool>& cancel);

// What stands in a small file of its own, and can be set aside one by one: snapshot records, those
// in the trash, notes, condemned lists, key slots; the configuration and its copy.
enum class RecordKind { snapshot, trashed, note, list, key, config };

struct DamagedRecord {
  std::string name;
  std::string path;  // below the repository
  std::string fault;
  // Something whole can take its place: a snapshot record of which a copy is left that proves
  // itself; a condemned list, which is as good without packs; the configuration, for that which
  // opened the repository is at hand.
  bool can_be_restored = false;
  // It may do its work as ever, so that repair leaves it alone: a key slot of which perhaps only
  // the label is damaged.
  bool must_stay = false;
  std::string remedy;  // what it costs, and what to do
};

// Whether one of this kind can be called so; files with other names are not ours.
[[nodiscard]] bool is_record_name(RecordKind kind, const std::string& name);

// The records of that kind that do not prove themselves. Those of a later version are whole. A key
// slot is looked at as far as that goes without its secret (FORMAT.md section 4).
Result<std::vector<DamagedRecord>> find_damaged(Repository& repository, RecordKind kind);

struct RecordRepair {
  std::string name;
  std::string moved_to;
  bool restored = false;  // something whole stands in its place
};

// Moves one damaged record to `damaged/`, and writes it again when it can be restored, the
// configuration also where it is missing: older repositories have no copy of it. A snapshot whose
// record is lost cannot be listed or restored any more: a note says that it is gone, before it
// goes.
// Errors: not_found; invalid when the record is whole, and for a key slot that may still open, that
// opened this repository, or that would leave none which is known to open; busy as above; no_space;
// io.
Result<RecordRepair> repair_record(Repository& repository, RecordKind kind,
                                   const std::string& name);

}  // namespace bygone::store
