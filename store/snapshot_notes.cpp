// SPDX-License-Identifier: Apache-2.0
#include "store/snapshot_notes.h"

#include <algorithm>
#include <set>

#include "store/base/codec.h"

namespace bygone::store {
namespace {

constexpr const char* kTag = "tag:";
constexpr const char* kPin = "pin";
constexpr const char* kVerified = "verified";
constexpr const char* kShrunk = "shrunk";
constexpr const char* kTrashed = "trashed";
constexpr std::uint8_t kYes = '+';
constexpr std::uint8_t kNo = '-';

NewNote time_note(const SnapshotId& id, const char* key, Nanoseconds time) {
  Writer w;
  w.svarint(time);
  return {.subject = Subject::of(id), .key = key, .value = w.take()};
}

std::optional<Nanoseconds> time_of(const Notes& notes, const SnapshotId& id, const char* key) {
  const Note* note = notes.find(Subject::of(id), key);
  if (note == nullptr) return std::nullopt;
  Reader r(note->value);
  const auto time = r.svarint();
  return time ? std::optional(*time) : std::nullopt;
}

}  // namespace

std::vector<std::string> tags_of(const Notes& notes, const Snapshot& snapshot) {
  std::set<std::string> tags(snapshot.tags.begin(), snapshot.tags.end());
  for (const Note* note : notes.about(Subject::of(snapshot.id))) {
    if (!note->key.starts_with(kTag)) continue;
    const std::string tag = note->key.substr(std::string_view(kTag).size());
    if (note->value.front() == kNo) {
      tags.erase(tag);
    } else {
      tags.insert(tag);
    }
  }
  return {tags.begin(), tags.end()};
}

std::optional<NewNote> tag_note(const Notes& notes, const Snapshot& snapshot, Tagging tagging,
                                const std::string& tag) {
  const auto tags = tags_of(notes, snapshot);
  const bool has = std::find(tags.begin(), tags.end(), tag) != tags.end();
  if (has == (tagging == Tagging::add)) return std::nullopt;
  return NewNote{.subject = Subject::of(snapshot.id),
                 .key = kTag + tag,
                 .value = {tagging == Tagging::add ? kYes : kNo}};
}

bool is_pinned(const Notes& notes, const SnapshotId& id) {
  return notes.find(Subject::of(id), kPin) != nullptr;
}

std::optional<NewNote> pin_note(const Notes& notes, const SnapshotId& id, Pinning pinning) {
  if (is_pinned(notes, id) == (pinning == Pinning::pin)) return std::nullopt;
  return NewNote{.subject = Subject::of(id),
                 .key = kPin,
                 .value = pinning == Pinning::pin ? Bytes{kYes} : Bytes{}};
}

std::optional<Nanoseconds> verified_at(const Notes& notes, const SnapshotId& id) {
  return time_of(notes, id, kVerified);
}
NewNote verified_note(const SnapshotId& id, Nanoseconds now) {
  return time_note(id, kVerified, now);
}

bool shrink_is_meant(const Notes& notes, const SnapshotId& id) {
  return notes.find(Subject::of(id), kShrunk) != nullptr;
}
NewNote shrink_note(const SnapshotId& id) {
  return {.subject = Subject::of(id), .key = kShrunk, .value = {kYes}};
}

std::optional<Nanoseconds> trashed_at(const Notes& notes, const SnapshotId& id) {
  return time_of(notes, id, kTrashed);
}
NewNote trashed_note(const SnapshotId& id, Nanoseconds now) { return time_note(id, kTrashed, now); }

bool ends_with_record(std::string_view key) {
  for (const char* each : {kPin, kVerified, kShrunk, kTrashed}) {
    if (key == each) return true;
  }
  return key.starts_with(kTag);
}

std::optional<Gone> gone(const Notes& notes, const SnapshotId& id) {
  const Note* note = notes.find(Subject::of(id), kGoneKey);
  if (note == nullptr) return std::nullopt;
  Reader r(note->value);
  const auto source = r.id<SourceId>();
  if (!source) return std::nullopt;
  const auto sequence = r.varint();
  if (!sequence) return std::nullopt;
  return Gone{.source = *source, .sequence = *sequence};
}

NewNote gone_note(const Snapshot& snapshot) {
  Writer w;
  // Byte by byte: g++ 12 sees an overflow in the insertion of a fixed size, where there is none.
  for (const std::uint8_t byte : snapshot.source.bytes) w.u8(byte);
  w.varint(snapshot.sequence);
  return {.subject = Subject::of(snapshot.id), .key = std::string(kGoneKey), .value = w.take()};
}

}  // namespace bygone::store
