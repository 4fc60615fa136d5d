// SPDX-License-Identifier: Apache-2.0
//
// Reads regular files of a source, in one of two ways: straight to pieces (read), or under a
// freeze only what changed since the hot pass (capture), to be made into pieces after the thaw
// (resolve). What changed until shortly before the freeze can be captured by then (look_ahead).
// Callable from many threads, one FileWork each.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ingest/captured.h"
#include "ingest/content.h"
#include "ingest/fingerprints.h"
#include "ingest/paced_file.h"
#include "ingest/sealed_spill.h"
#include "ingest/segments.h"
#include "ingest/source_tree.h"
#include "store/session.h"
#include "store/tree_reader.h"

namespace bygone::ingest {

// One regular file (all its names, when it has several) on its way through a backup.
struct FileWork {
  enum class Outcome {
    waiting,
    kept,        // the parent's content still holds: `entry` has it
    small,       // `content` is to go to the stream of small files
    pieces,      // `pieces` are the content
    gone,        // deleted since it was listed
    unreadable,  // `error` says why
  };

  store::Entry entry;  // metadata as of the read; content once known
  Folder folder;
  std::string name;
  std::string path;         // from the volume's root, for people
  std::uint64_t space = 0;  // inode_in()
  std::optional<store::Entry> parent;
  std::unique_ptr<Captured> captured;
  bool large = false;  // listed with kSmallFile bytes or more: the stream does not wait for it

  Outcome outcome = Outcome::waiting;  // set before read_done
  Error error;
  Bytes content;
  std::vector<Piece> pieces;
  std::size_t room = 0;   // what `content` takes of the readers' room
  bool queued = false;    // handed to the readers; the walker's thread alone looks
  bool streamed = false;  // the stream has dealt with it; its thread alone looks
  std::atomic<bool> read_done{false};
  std::atomic<bool> pieces_ready{false};
};

struct FileReaderOptions {
  TreeKind tree = TreeKind::plain;
  std::size_t volume = 0;  // number of the volume, for fingerprints
  std::uint64_t volume_tag = 0;
  Clock clock;
  Fingerprints* fingerprints = nullptr;       // read(): gathers; capture(): compares
  SealedSpill* spill = nullptr;               // look_ahead(), capture() and resolve()
  const std::atomic<bool>* cancel = nullptr;  // makes long reads end with `cancelled`
  Limiter* limiter = nullptr;                 // of read(); nullptr: as fast as it goes
};

class FileReader {
 public:
  // All references must outlive the reader. `chunks` also gives what this session has written.
  FileReader(store::Session& session, store::TreeReader& trees, ChunkJobs& jobs,
             FileReaderOptions options);

  // Each sets outcome (and what belongs to it); none marks the work as done.
  void read(FileWork& work);
  // For capture() to find done. The work says nothing afterwards, and what cannot be read is left
  // to capture().
  void look_ahead(FileWork& work);
  void capture(FileWork& work);
  void resolve(FileWork& work);
  // As read(), of a small file whose content somebody else has read: all of it.
  void take_content(FileWork& work, Bytes content);
  // Bytes read from sources so far.
  [[nodiscard]] std::uint64_t bytes_read() const { return bytes_read_.load(); }
  [[nodiscard]] const Limiter* limiter() const { return options_.limiter; }

 private:
  Result<Fd> open(FileWork& work, Nanoseconds& now);
  [[nodiscard]] PacedFile paced(const FileWork& work, const Fd& fd) const;
  // Each gives the fingerprints of what it has read, when they are wanted.
  Result<FileFingerprints> read_once(FileWork& work, const Fd& fd);
  Result<FileFingerprints> read_small(FileWork& work, const Fd& fd);
  Result<FileFingerprints> read_large(FileWork& work, const Fd& fd);
  // What a file is compared with when it is captured.
  struct Known {
    std::shared_ptr<const FileFingerprints> base;  // null: all of it is new
    bool is_ahead = false;
  };
  [[nodiscard]] Known known(const FileWork& work, bool is_ahead) const;
  Result<void> capture_blocks(FileWork& work, const Fd& fd, const Known& known);
  void capture_gap(Captured& captured, const Known& known, const Segment& gap) const;
  Result<std::uint64_t> capture_range(Captured& captured, const Known& known, const Fd& fd,
                                      std::uint64_t begin, std::uint64_t end);
  Result<void> capture_block(Captured& captured, const Known& known, std::uint64_t number,
                             ByteView block);
  Result<void> resolve_small(FileWork& work);
  Result<void> resolve_large(FileWork& work);
  Result<void> append_range(ContentCutter& cutter, FileWork& work, std::uint64_t begin,
                            std::uint64_t end);
  Result<void> append_base(ContentCutter& cutter, const store::Entry& base, std::uint64_t begin,
                           std::uint64_t end);
  Result<Bytes> base_bytes(const store::Entry& base, std::uint64_t begin, std::uint64_t end);
  Result<bool> equals_parent(const FileWork& work);
  static void fail(FileWork& work, Error error);
  [[nodiscard]] Result<void> check_cancel() const;

  store::Session& session_;
  store::TreeReader& trees_;
  ChunkJobs& jobs_;
  FileReaderOptions options_;
  const Fingerprint zeros_;  // of a block of them
  // Of all files: a volume of rewritten files costs little more than before.
  std::shared_ptr<store::DeltaTrials> trials_ = std::make_shared<store::DeltaTrials>(16);
  std::atomic<std::uint64_t> bytes_read_{0};
};

}  // namespace bygone::ingest
