// SPDX-License-Identifier: Apache-2.0
#include "store/gone_records.h"

#include "store/base/codec.h"
#include "store/snapshot_notes.h"

namespace bygone::store {

Bytes encode_gone_list(const GoneList& list) {
  Writer w;
  w.varint(list.up_to);
  std::uint64_t before = 0;
  for (const GoneRecord& record : list.records) {
    w.varint(record.sequence - before);
    w.bytes(record.id.view());
    before = record.sequence;
  }
  return w.take();
}

Result<GoneList> decode_gone_list(ByteView value) {
  Reader r(value);
  GoneList list;
  list.up_to = TRY(r.varint());
  GoneRecord record;
  while (r.remaining() > 0) {
    const std::uint64_t step = TRY(r.varint_at_most(UINT64_MAX - record.sequence));
    record = {.sequence = record.sequence + step, .id = TRY(r.id<SnapshotId>()) };
    if (!list.records.empty() && record <= list.records.back()) {
      return Error{Code::corrupt, 0, "a list of records that are gone is not in order"};
    }
    list.records.push_back(record);
  }
  return list;
}

GoneRecords::GoneRecords(const Notes& notes) {
  for (const Note* note : notes.with_key(Subject::Kind::snapshot, kGoneKey)) {
    const auto id = SnapshotId::from(note->subject.id);
    if (gone(notes, id)) named_.insert(id);
  }
  for (const Note* note : notes.with_key(Subject::Kind::source, kGoneKey)) {
    const auto list = decode_gone_list(note->value);
    if (!list) continue;  // of a later version: it explains nothing here
    for (const GoneRecord& record : list->records) named_.insert(record.id);
    up_to_[SourceId::from(note->subject.id)] = list->up_to;
  }
}

bool GoneRecords::account_for(const SourceId& source, const GoneRecord& record) const {
  if (names(record.id)) return true;
  const auto found = up_to_.find(source);
  return found != up_to_.end() && record.sequence <= found->second;
}

}  // namespace bygone::store
