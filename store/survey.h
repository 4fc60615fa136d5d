// SPDX-License-Identifier: Apache-2.0
//
// What a repository holds and who needs it: every snapshot and every record in the trash, a table
// of all records, what of it is reached, and what that means for each pack. prune decides by it,
// stats shows it. Changes nothing; one thread. Memory: that of record_table.h and mark.h.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "store/damage_marks.h"
#include "store/mark.h"
#include "store/record_table.h"

namespace bygone::store {

struct SurveyProgress {
  std::string phase;  // "packs", "snapshots"
  std::uint64_t done = 0;
  std::uint64_t total = 0;
};
using ReportSurvey = std::function<void(const SurveyProgress&)>;

// Bytes of records as they stand in packs, by who needs them; each record counts once.
struct RecordBytes {
  std::uint64_t live = 0;     // reached by a snapshot
  std::uint64_t bases = 0;    // only as a base of a delta that a snapshot reaches
  std::uint64_t trash = 0;    // reached only by what lies in the trash, or a base of that
  std::uint64_t expired = 0;  // reached only by what is about to leave the trash
  std::uint64_t dead = 0;     // by nothing

  [[nodiscard]] std::uint64_t kept() const { return live + bases + trash; }
  [[nodiscard]] std::uint64_t total() const { return kept() + expired + dead; }
  RecordBytes& operator+=(const RecordBytes& other);
};

struct PackUse {
  RecordBytes bytes;
  std::uint64_t raw_bytes = 0;  // decoded size of the records of `bytes.live`
  std::uint32_t kept = 0;       // records
};

class Survey {
 public:
  // Reads and marks. `expired` names records of the trash that are about to leave it: they keep
  // nothing alive, and one that cannot be read is passed over.
  // Errors: corrupt when a record of a snapshot or of the trash, or anything that they reach,
  // cannot be read or proven: nothing may be deleted then; cancelled; io.
  static Result<std::unique_ptr<Survey>> make(Repository& repository, const PackSet& condemned,
                                              const std::set<SnapshotId>& expired,
                                              const ReportSurvey& report,
                                              const std::atomic<bool>& cancel);

  // Whether a record has to stay.
  [[nodiscard]] bool is_kept(Ordinal ordinal) const;
  // What each pack of table().packs() holds. Reads all footers once more. Errors: io.
  Result<std::vector<PackUse>> measure();

  [[nodiscard]] const RecordTable& table() const { return table_; }
  [[nodiscard]] const Marker& marker() const { return marker_; }
  // By (display name, instant).
  [[nodiscard]] const std::vector<Snapshot>& snapshots() const { return lists_.snapshots; }
  [[nodiscard]] std::uint64_t trash_count() const { return lists_.trash.size(); }
  // Of all that was marked as kept, in `snapshots/` or in the trash.
  [[nodiscard]] bool knows(const SnapshotId& id) const { return known_.contains(id); }

 private:
  struct Lists {
    std::vector<Snapshot> snapshots, trash, expired;
    DamageMarks marks;
  };
  Survey(Repository& repository, Lists lists, RecordTable table, const std::atomic<bool>& cancel);
  static Result<Lists> list(Repository& repository, const std::set<SnapshotId>& expired);
  Result<void> mark_all(const ReportSurvey& report, const std::atomic<bool>& cancel);
  void count(Ordinal ordinal, const Record& record, PackUse& use) const;

  Repository& repository_;
  RecordTable table_;
  Marker marker_;
  Lists lists_;
  std::set<SnapshotId> known_;
  // The last number that Marker gave for each class; what is beyond the last one is not kept.
  std::uint32_t live_end_ = 0, bases_end_ = 0, trash_end_ = 0;
};

}  // namespace bygone::store
