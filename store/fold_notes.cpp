// SPDX-License-Identifier: Apache-2.0
#include "store/fold_notes.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "store/base/log.h"
#include "store/format.h"
#include "store/gone_records.h"
#include "store/index.h"
#include "store/locks.h"
#include "store/snapshot_notes.h"

namespace bygone::store {
namespace {

using SnapshotIds = std::unordered_set<SnapshotId, IdHash>;

// The records that are there.
struct Present {
  SnapshotIds ids;
  SnapshotIds predecessors;  // what they call the record before them
};

// Reads each record once, for it never changes: those of the trash, of which the index keeps no
// copy, before anybody has to wait.
class RecordLister {
 public:
  explicit RecordLister(Repository& repository) : repository_(repository) {}
  // Nothing when one of them cannot be read.
  Result<std::optional<Present>> list();

 private:
  Repository& repository_;
  std::unordered_map<SnapshotId, SnapshotId, IdHash> previous_;
};

Result<std::optional<Present>> RecordLister::list() {
  Present present;
  bool is_complete = true;
  const auto add = [&](const SnapshotId& id, const std::function<Result<Snapshot>()>& read) {
    auto known = previous_.find(id);
    if (known == previous_.end()) {
      const auto record = read();
      is_complete = is_complete && record.ok();
      if (!record) return;
      known = previous_.emplace(id, record->previous).first;
    }
    present.ids.insert(id);
    present.predecessors.insert(known->second);
  };
  for (const SnapshotId& id : TRY(repository_.trashed_ids())) {
    add(id, [&] { return repository_.trashed_snapshot(id); });
  }
  for (const SnapshotId& id : TRY(repository_.snapshot_ids())) {
    add(id, [&] { return repository_.snapshot(id); });
  }
  return is_complete ? std::optional<Present>(std::move(present)) : std::nullopt;
}

class Folding {
 public:
  Folding(const Notes& notes, const Present& present, std::size_t listed)
      : notes_(notes), present_(present), listed_(listed) {}

  void plan();
  // The new lists, and what they and the absence of the record make useless: notes on that record
  // first, and only then the one that says it is gone, by which the others are found.
  [[nodiscard]] const std::vector<NewNote>& lists() const { return lists_; }
  [[nodiscard]] const std::vector<NoteId>& useless() const { return useless_; }
  [[nodiscard]] const std::vector<NoteId>& folded() const { return folded_; }
  // Records that went for good.
  [[nodiscard]] const std::vector<SnapshotId>& gone_for_good() const { return gone_; }

 private:
  void fold(const SourceId& source, const std::vector<GoneRecord>& records);
  [[nodiscard]] GoneList shortened(const std::set<GoneRecord>& records, std::uint64_t up_to) const;

  const Notes& notes_;
  const Present& present_;
  std::size_t listed_;
  std::vector<NewNote> lists_;
  std::vector<NoteId> useless_, folded_;
  std::vector<SnapshotId> gone_;
};

void Folding::plan() {
  std::map<SourceId, std::vector<GoneRecord>> sources;
  for (const Note* note : notes_.with_key(Subject::Kind::snapshot, kGoneKey)) {
    const auto id = SnapshotId::from(note->subject.id);
    // Its record may still be there: cut short, or put back.
    if (present_.ids.contains(id)) continue;
    const auto said = gone(notes_, id);
    // Of a record that could not be read nobody knows whose it was; and a copy of it may yet be put
    // back, with its pin.
    if (!said || said->source.is_zero()) continue;
    gone_.push_back(id);
    for (const Note* other : notes_.about(note->subject)) {
      if (ends_with_record(other->key)) useless_.push_back(other->id);
    }
    // Explains a gap in a history: one for each record that is there, at the most.
    if (present_.predecessors.contains(id)) continue;
    sources[said->source].push_back({.sequence = said->sequence, .id = id});
  }
  for (const auto& [source, records] : sources) fold(source, records);
}

void Folding::fold(const SourceId& source, const std::vector<GoneRecord>& records) {
  const Subject subject = Subject::of(source);
  const Note* const before = notes_.find(subject, kGoneKey);
  GoneList list;
  if (before != nullptr) {
    auto read = decode_gone_list(before->value);
    if (!read) return;  // of a later version, which folds it
    list = std::move(read).value();
  }
  std::set<GoneRecord> all(list.records.begin(), list.records.end());
  all.insert(records.begin(), records.end());
  Bytes value = encode_gone_list(shortened(all, list.up_to));
  // Too many have a successor that was committed after they were folded.
  if (value.size() > kMaxNoteValue) return;
  if (before == nullptr || before->value != value) {
    lists_.push_back({.subject = subject, .key = std::string(kGoneKey), .value = std::move(value)});
  }
  for (const GoneRecord& record : records) {
    folded_.push_back(notes_.find(Subject::of(record.id), kGoneKey)->id);
  }
}

// The lowest numbers fall out first, but for what explains a gap.
GoneList Folding::shortened(const std::set<GoneRecord>& records, std::uint64_t up_to) const {
  GoneList list{.up_to = up_to, .records = {}};
  std::size_t excess = records.size() > listed_ ? records.size() - listed_ : 0;
  for (const GoneRecord& record : records) {
    if (excess > 0 && !present_.predecessors.contains(record.id)) {
      list.up_to = std::max(list.up_to, record.sequence);
      --excess;
    } else {
      list.records.push_back(record);
    }
  }
  return list;
}

// The lock on names is held for moments.
Result<void> remove_in_batches(Repository& repository, const std::vector<NoteId>& ids) {
  constexpr std::size_t kRemovedAtOnce = 256;
  for (std::size_t at = 0; at < ids.size(); at += kRemovedAtOnce) {
    const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(at);
    const auto count = static_cast<std::ptrdiff_t>(std::min(kRemovedAtOnce, ids.size() - at));
    const Fd lock = TRY(lock_names(repository.files(), repository.path(), Lock::exclusive));
    TRY(remove_notes(repository, std::vector<NoteId>(begin, begin + count)));
  }
  return {};
}

}  // namespace

Result<std::size_t> fold_notes(Repository& repository, Nanoseconds now, std::size_t listed) {
  NoteReader reader(repository, NoteReader::Limit::none);
  reader.read_ahead();
  RecordLister records(repository);
  ignore(records.list(), "what is not read now is read under the lock");
  std::optional<Fd> lock = TRY(lock_names(repository.files(), repository.path(), Lock::exclusive));
  Notes notes = TRY(reader.read());
  if (!notes.unreadable().empty()) return std::size_t{0};
  const auto present = TRY(records.list());
  if (!present) return std::size_t{0};
  Folding folding(notes, *present, listed);
  folding.plan();
  // A list stands for the notes that it folds from the moment that it is durable.
  auto written = write_notes(repository, notes, folding.lists(), now);
  if (!written && written.error().code == Code::no_space) {
    log::warning(written.error().message + "; notes are folded once there is room");
    return std::size_t{0};
  }
  TRY(std::move(written));
  const std::size_t superseded = TRY(remove_superseded(repository, notes));
  lock.reset();
  // The index keeps what may be the last good copy of a record, and of these nobody wants one.
  if (auto forgotten = repository.index().forget_snapshots(folding.gone_for_good()); !forgotten) {
    log::info(forgotten.error().message);
  }
  // In this order: what is said of a record goes before what says that it is gone.
  TRY(remove_in_batches(repository, folding.useless()));
  TRY(remove_in_batches(repository, folding.folded()));
  return superseded + folding.useless().size() + folding.folded().size();
}

}  // namespace bygone::store
