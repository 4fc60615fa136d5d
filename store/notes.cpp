// SPDX-License-Identifier: Apache-2.0
#include "store/notes.h"

#include <algorithm>

#include "store/base/codec.h"
#include "store/format.h"
#include "store/repository.h"
#include "store/temp_file.h"

namespace bygone::store {
namespace {

// Field tags (FORMAT.md section 8.3).
enum Field : std::uint16_t {
  kKind = kCriticalField | 1,
  kSubject = kCriticalField | 2,
  kKey = kCriticalField | 3,
  kValue = kCriticalField | 4,
  kCounter = kCriticalField | 5,
  kTime = 6,
};
constexpr std::uint16_t kLastField = kTime;
constexpr const char* kWhat = "a note";
// Another process may remove superseded notes while they are listed here.
constexpr int kListings = 100;

std::size_t id_size(Subject::Kind kind) {
  return kind == Subject::Kind::chunk ? ChunkId::kSize : SnapshotId::kSize;
}

Result<void> decode_field(Note& note, std::uint16_t tag, ByteView value) {
  Reader r(value);
  switch (tag) {
    case kKind: {
      const std::uint8_t kind = TRY(r.u8());
      if (kind < 1 || kind > 4) {
        return Error{Code::unsupported, 0,
                     "a note is about something that this version does not know; hint: a newer "
                     "bygone wrote it"};
      }
      note.subject.kind = static_cast<Subject::Kind>(kind);
      break;
    }
    case kSubject: {
      const ByteView id = TRY(r.bytes(r.remaining()));
      note.subject.id.assign(id.begin(), id.end());
      break;
    }
    case kKey:
      note.key = as_text(TRY(r.bytes(r.remaining())));
      break;
    case kValue: {
      const ByteView bytes = TRY(r.bytes(r.remaining()));
      note.value.assign(bytes.begin(), bytes.end());
      break;
    }
    case kCounter:
      note.counter = TRY(r.varint());
      break;
    case kTime:
      note.time = TRY(r.svarint());
      break;
    default:
      return keep_unknown(note.unknown_fields, tag, value, kLastField, kWhat);
  }
  return r.finish();
}

std::string folder_of(const Repository& repository) { return repository.path() + "/notes"; }

Result<Note> read_note(Repository& repository, const NoteId& id) {
  const Bytes sealed =
      TRY(read_file(repository.files(), folder_of(repository) + "/" + id.hex(), kMaxNoteFile));
  return unseal_note(repository.keys(), id, sealed);
}

bool is_older(const Note& a, const Note& b) {
  return std::tie(a.counter, a.id) < std::tie(b.counter, b.id);
}

}  // namespace

Bytes encode_note(const Note& note) {
  FieldWriter f;
  f.put(kKind, {static_cast<std::uint8_t>(note.subject.kind)});
  f.put(kSubject, note.subject.id);
  f.text(kKey, note.key);
  if (!note.value.empty()) f.put(kValue, note.value);
  Writer counter;
  counter.varint(note.counter);
  f.put(kCounter, counter.take());
  f.number(kTime, note.time);
  for (const auto& [tag, value] : note.unknown_fields) f.put(tag, value);
  return f.finish();
}

Result<Note> decode_note(ByteView data) {
  Note note;
  note.subject.kind = Subject::Kind{};
  TRY(read_fields(data, kWhat, [&](std::uint16_t tag, ByteView value) {
    return decode_field(note, tag, value);
  }));
  if (note.subject.kind == Subject::Kind{} || note.key.empty() || note.counter == 0 ||
      note.subject.id.size() != id_size(note.subject.kind) || note.key.size() > kMaxNoteKey ||
      note.value.size() > kMaxNoteValue) {
    return Error{Code::corrupt, 0, "a note lacks a field or has one out of range"};
  }
  return note;
}

Result<Note> unseal_note(const KeyRing& keys, const NoteId& id, ByteView sealed) {
  const Bytes content = TRY(keys.unseal_object(ObjectKind::note, id.hex(), sealed));
  if (keys.note_id(content) != id) {
    return Error{Code::corrupt, 0, "it is not the note that it is named"};
  }
  Note note = TRY(decode_note(content));
  note.id = id;
  return note;
}

const Note* Notes::find(const Subject& subject, std::string_view key) const {
  const auto found = winners_.find({subject, std::string(key)});
  return found == winners_.end() || found->second.value.empty() ? nullptr : &found->second;
}

std::vector<const Note*> Notes::about(const Subject& subject) const {
  std::vector<const Note*> list;
  for (auto at = winners_.lower_bound({subject, ""}); at != winners_.end(); ++at) {
    if (std::get<0>(at->first) != subject) break;
    if (!at->second.value.empty()) list.push_back(&at->second);
  }
  return list;
}

std::vector<const Note*> Notes::with_key(Subject::Kind kind, std::string_view key) const {
  std::vector<const Note*> list;
  for (const auto& [place, note] : winners_) {
    if (note.subject.kind == kind && note.key == key && !note.value.empty()) list.push_back(&note);
  }
  return list;
}

std::uint64_t Notes::next_counter(const Subject& subject, std::string_view key) const {
  const auto found = winners_.find({subject, std::string(key)});
  return found == winners_.end() ? 1 : found->second.counter + 1;
}

std::vector<NoteId> Notes::tombstones() const {
  std::vector<NoteId> list;
  for (const auto& [place, note] : winners_) {
    if (note.value.empty()) list.push_back(note.id);
  }
  return list;
}

void Notes::add(Note note) {
  Place place{note.subject, note.key};
  const auto [at, is_new] = winners_.try_emplace(std::move(place), note);
  if (is_new || at->second.id == note.id) return;
  if (is_older(at->second, note)) std::swap(at->second, note);
  superseded_.push_back(note.id);
}

Result<std::optional<Notes>> NoteReader::read_listed(const std::vector<std::string>& names) {
  Notes notes;
  for (const std::string& name : names) {
    const auto id = NoteId::from_hex_text(name);
    if (!id) continue;
    auto known = known_.find(*id);
    if (known == known_.end()) {
      auto note = read_note(repository_, *id);
      if (!note && note.error().code == Code::not_found) {
        // Superseded or folded: what stands for it may be newer than this listing.
        return std::optional<Notes>();
      }
      if (!note) {
        notes.unreadable_.push_back("note " + name + ": " + note.error().message);
        if (needs_newer_key(note.error()) && !notes.locked_) {
          notes.locked_ = std::move(note).error();
          continue;
        }
        if (note.error().code == Code::corrupt) notes.damaged_names_.push_back(name);
        continue;
      }
      known = known_.emplace(*id, std::move(note).value()).first;
    }
    notes.add(known->second);
  }
  return std::optional<Notes>(std::move(notes));
}

Result<Notes> NoteReader::read() {
  for (int listing = 0; listing < kListings; ++listing) {
    const auto names = TRY(repository_.files().list(folder_of(repository_)));
    if (limit_ == Limit::of_format && names.size() > kMaxNotes) {
      return Error{Code::unsupported, 0,
                   "there are more notes than the format allows; hint: bygone prune folds them"};
    }
    if (auto notes = TRY(read_listed(names))) return std::move(*notes);
  }
  return Error{Code::busy, 0, "reading notes: others keep removing them"};
}

void NoteReader::read_ahead() { ignore(read(), "whoever needs what it tells reads again"); }

Result<Notes> read_notes(Repository& repository) { return NoteReader(repository).read(); }

Result<void> write_notes(Repository& repository, Notes& notes, const std::vector<NewNote>& list,
                         Nanoseconds now) {
  Files& files = repository.files();
  if (list.empty()) return {};
  if (notes.locked()) return *notes.locked();
  for (const NewNote& wanted : list) {
    Note note;
    note.subject = wanted.subject;
    note.key = wanted.key;
    note.value = wanted.value;
    note.time = now;
    note.counter = notes.next_counter(note.subject, note.key);
    const Bytes encoded = encode_note(note);
    note.id = repository.keys().note_id(encoded);
    // What cannot be read back is not written.
    if (auto again = decode_note(encoded); !again) {
      return Error{Code::invalid, 0, "writing a note " + printable(note.key) + ": it is too long"};
    }
    const std::string name = note.id.hex();
    const Bytes sealed = repository.keys().seal_object(ObjectKind::note, name, encoded);
    TRY(write_synced(files, repository.path() + "/tmp", folder_of(repository), name, sealed));
    notes.add(std::move(note));
  }
  return files.sync_directory(folder_of(repository));
}

Result<void> remove_notes(Repository& repository, const std::vector<NoteId>& ids) {
  if (ids.empty()) return {};
  for (const NoteId& id : ids) {
    auto removed = repository.files().remove(folder_of(repository) + "/" + id.hex());
    if (!removed && removed.error().code != Code::not_found) return removed;
  }
  return repository.files().sync_directory(folder_of(repository));
}

Result<std::size_t> remove_superseded(Repository& repository, const Notes& notes) {
  // A tombstone that went first would bring back what it took away, should the power go between.
  TRY(remove_notes(repository, notes.superseded()));
  const std::vector<NoteId> tombstones = notes.tombstones();
  // An unreadable note may be older than the tombstone, and readable again tomorrow (EIO).
  if (!notes.unreadable().empty()) return notes.superseded().size();
  TRY(remove_notes(repository, tombstones));
  return notes.superseded().size() + tombstones.size();
}

}  // namespace bygone::store
