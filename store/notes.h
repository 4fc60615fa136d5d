// SPDX-License-Identifier: Apache-2.0
//
// Notes: small sealed facts about what cannot change itself, such as pins and tags of snapshots,
// or damaged chunks (FORMAT.md section 8.3). A note never changes; for one (subject, key) the one
// with the highest (counter, id) counts. What a key means is for its users; this knows none.
// Notes is a value for one thread; the functions may be called from any.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/clock.h"
#include "store/base/result.h"
#include "store/fields.h"

namespace bygone::store {

class KeyRing;
class Repository;

// What a note is about.
struct Subject {
  enum class Kind : std::uint8_t { snapshot = 1, chunk = 2, pack = 3, source = 4 };
  Kind kind = Kind::snapshot;
  Bytes id;  // 16 bytes; a chunk's 32

  static Subject of(const SnapshotId& id) { return {Kind::snapshot, copy(id.view())}; }
  static Subject of(const ChunkId& id) { return {Kind::chunk, copy(id.view())}; }
  static Subject of(const PackId& id) { return {Kind::pack, copy(id.view())}; }
  static Subject of(const SourceId& id) { return {Kind::source, copy(id.view())}; }
  friend auto operator<=>(const Subject&, const Subject&) = default;
  friend bool operator==(const Subject&, const Subject&) = default;

 private:
  static Bytes copy(ByteView view) { return {view.begin(), view.end()}; }
};

struct Note {
  NoteId id;  // not encoded: the keyed hash of the encoding
  Subject subject;
  std::string key;            // 1 to kMaxNoteKey bytes
  Bytes value;                // at most kMaxNoteValue; empty: takes back what older notes say
  std::uint64_t counter = 0;  // from 1
  Nanoseconds time = 0;       // when it was written; for people, decides nothing
  UnknownFields unknown_fields;
  friend bool operator==(const Note&, const Note&) = default;
};

// The canonical encoding, without id. FORMAT.md section 8.3.
[[nodiscard]] Bytes encode_note(const Note& note);
// Errors: corrupt for bytes that do not decode; unsupported for an unknown critical field or kind
// of subject.
[[nodiscard]] Result<Note> decode_note(ByteView data);
// The content of a note's file, proven to be that of `id`. Errors: those of decode_note(), and
// corrupt when the seal or the id is another.
[[nodiscard]] Result<Note> unseal_note(const KeyRing& keys, const NoteId& id, ByteView sealed);

// The notes of a repository at one moment, folded.
class Notes {
 public:
  // The note that counts; nullptr when there is none or it takes back the others. Valid until the
  // next add().
  [[nodiscard]] const Note* find(const Subject& subject, std::string_view key) const;
  // Every note that counts and has a value: of one subject, or with one key.
  [[nodiscard]] std::vector<const Note*> about(const Subject& subject) const;
  [[nodiscard]] std::vector<const Note*> with_key(Subject::Kind kind, std::string_view key) const;
  // The counter that makes a new note win over all that are here.
  [[nodiscard]] std::uint64_t next_counter(const Subject& subject, std::string_view key) const;

  // Files that could not be read, a line each: damaged, or of a later version. Any of them may
  // have been a pin: who deletes by rule stops while there is one.
  [[nodiscard]] const std::vector<std::string>& unreadable() const { return unreadable_; }
  // The first of them that needs a newer key (keys.h): this program knows too little to write
  // notes, or to act on what these say.
  [[nodiscard]] const std::optional<Error>& locked() const { return locked_; }
  // The names of these files in `notes/`, for whoever moves them aside. Those of a later version
  // are not among them: they are whole.
  [[nodiscard]] const std::vector<std::string>& damaged_names() const { return damaged_names_; }
  // Those that say nothing any more: a higher one stands for them.
  [[nodiscard]] const std::vector<NoteId>& superseded() const { return superseded_; }
  // Winners with an empty value: say nothing either, once what they supersede is gone for good.
  [[nodiscard]] std::vector<NoteId> tombstones() const;
  [[nodiscard]] std::size_t size() const { return winners_.size(); }

  void add(Note note);

 private:
  friend class NoteReader;
  using Place = std::tuple<Subject, std::string>;
  std::map<Place, Note> winners_;
  std::vector<NoteId> superseded_;
  std::vector<std::string> unreadable_, damaged_names_;
  std::optional<Error> locked_;
};

// Reads all notes, again and again: a note never changes, so the second time costs a listing and
// the notes that are new. For who holds the lock on names for moments and has to know what is said
// under it: it reads once before. One thread.
class NoteReader {
 public:
  enum class Limit { of_format, none };  // none: for who makes them fewer
  explicit NoteReader(Repository& repository, Limit limit = Limit::of_format)
      : repository_(repository), limit_(limit) {}

  // One that cannot be read is a line in unreadable() and not an error. Whoever deletes by what it
  // reads here holds the lock on names meanwhile (locks.h), and so does whoever removes notes.
  // Errors: those of the file system; unsupported for more than kMaxNotes.
  [[nodiscard]] Result<Notes> read();
  // What read() reads and does not return. That it fails is for read() to say.
  void read_ahead();

 private:
  // Nothing when a note was removed meanwhile.
  Result<std::optional<Notes>> read_listed(const std::vector<std::string>& names);

  Repository& repository_;
  Limit limit_;
  std::unordered_map<NoteId, Note, IdHash> known_;
};

// Reads them once. Cost: one file read a note. Errors: those of NoteReader::read().
[[nodiscard]] Result<Notes> read_notes(Repository& repository);

// What a writer says; counter and id are for write_notes() to find.
struct NewNote {
  Subject subject;
  std::string key;
  Bytes value;
};

// Writes one note for each, durable once this returns, and adds them to `notes`, which was read
// before and gives the counters. All of them cost one sync of the folder together; after an error
// some may be there. Errors: invalid for a key or value beyond the limits; denied when a note needs
// a newer key, for the counter might be too low to win; no_space; io.
Result<void> write_notes(Repository& repository, Notes& notes, const std::vector<NewNote>& list,
                         Nanoseconds now);

// Removes what says nothing any more, superseded notes first and for good, then tombstones. The
// caller holds the lock on names and has read `notes` under it. Returns how many were removed.
Result<std::size_t> remove_superseded(Repository& repository, const Notes& notes);
// The same for notes that the caller knows to be of no use, such as those on what is gone.
Result<void> remove_notes(Repository& repository, const std::vector<NoteId>& ids);

}  // namespace bygone::store
