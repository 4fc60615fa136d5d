// SPDX-License-Identifier: Apache-2.0
#include "store/damage_marks.h"

#include <map>

#include "store/format.h"
#include "store/notes.h"

namespace bygone::store {
namespace {

constexpr const char* kNoteKey = "damaged";
constexpr std::uint8_t kPackMark = 1;

std::set<PackId> packs_of(ByteView value) {
  std::set<PackId> packs;
  if (value.size() % PackId::kSize != 0) return packs;
  for (; !value.empty(); value = value.subspan(PackId::kSize)) {
    packs.insert(PackId::from(value.first(PackId::kSize)));
  }
  return packs;
}

Bytes value_of(const std::set<PackId>& packs) {
  Bytes value;
  for (const PackId& pack : packs) {
    if (value.size() + PackId::kSize > kMaxNoteValue) break;
    value.insert(value.end(), pack.bytes.begin(), pack.bytes.end());
  }
  return value;
}

enum class Change { add, take_back };

Result<void> change_marks(Repository& repository, const std::vector<DamagedChunk>& chunks,
                          const std::vector<PackId>& packs, Nanoseconds now, Change change) {
  if (chunks.empty() && packs.empty()) return {};
  Notes notes = TRY(read_notes(repository));
  std::map<ChunkId, std::set<PackId>> by_chunk;
  for (const DamagedChunk& each : chunks) by_chunk[each.chunk].insert(each.pack);
  std::vector<NewNote> list;
  for (const auto& [chunk, changed] : by_chunk) {
    const Subject subject = Subject::of(chunk);
    const Note* const before = notes.find(subject, kNoteKey);
    const auto had = before == nullptr ? std::set<PackId>() : packs_of(before->value);
    auto has = had;
    for (const PackId& pack : changed) {
      if (change == Change::add) {
        has.insert(pack);
      } else {
        has.erase(pack);
      }
    }
    if (has != had) list.push_back({.subject = subject, .key = kNoteKey, .value = value_of(has)});
  }
  for (const PackId& pack : packs) {
    const Subject subject = Subject::of(pack);
    const bool had = notes.find(subject, kNoteKey) != nullptr;
    if (had == (change == Change::add)) continue;
    list.push_back({.subject = subject,
                    .key = kNoteKey,
                    .value = change == Change::add ? Bytes{kPackMark} : Bytes()});
  }
  return list.empty() ? Result<void>() : write_notes(repository, notes, list, now);
}

}  // namespace

DamageMarks::DamageMarks(const Notes& notes) {
  for (const Note* note : notes.with_key(Subject::Kind::chunk, kNoteKey)) {
    const ChunkId chunk = ChunkId::from(note->subject.id);
    for (const PackId& pack : packs_of(note->value)) chunks_.insert({chunk, pack});
  }
  for (const Note* note : notes.with_key(Subject::Kind::pack, kNoteKey)) {
    packs_.insert(PackId::from(note->subject.id));
  }
}

Result<void> mark_damage(Repository& repository, const std::vector<DamagedChunk>& chunks,
                         const std::vector<PackId>& packs, Nanoseconds now) {
  return change_marks(repository, chunks, packs, now, Change::add);
}

Result<void> unmark_damage(Repository& repository, const std::vector<DamagedChunk>& chunks,
                           const std::vector<PackId>& packs, Nanoseconds now) {
  return change_marks(repository, chunks, packs, now, Change::take_back);
}

}  // namespace bygone::store
