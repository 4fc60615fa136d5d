// SPDX-License-Identifier: Apache-2.0
#include "ingest/file_reader.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include "ingest/stored_bytes.h"
#include "store/format.h"

namespace bygone::ingest {
namespace {

using store::Entry;

constexpr int kReadTries = 3;  // of a small file that changes while it is read
constexpr std::int64_t kRecentSeconds = 3600;

bool is_gone(const Error& error) {
  return error.errnum == ENOENT || error.errnum == ESTALE || error.errnum == ENOTDIR ||
         error.errnum == ELOOP;
}

// A store through mmap to a page that is dirty already moves no time. A racy file is read again
// next time whatever its times say. One that is about to be believed gets its dirty pages written
// and so write-protected: the next store moves mtime. Not fdatasync: on ext4 that flushes the disk
// even for a clean file, 70 µs each. Older files were cleaned by the kernel (within 35 s, unless
// it is told otherwise: hence the hour).
void rearm_times(const Fd& fd, const Entry& entry, Nanoseconds now) {
  if (is_racy(entry, now) || entry.mtime.seconds < now / kSecond - kRecentSeconds) return;
  ::sync_file_range(
      fd.get(), 0, 0,
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
}

}  // namespace

FileReader::FileReader(store::Session& session, store::TreeReader& trees, ChunkJobs& jobs,
                       FileReaderOptions options)
    : session_(session),
      trees_(trees),
      jobs_(jobs),
      options_(std::move(options)),
      zeros_(options_.fingerprints == nullptr ? Fingerprint() : options_.fingerprints->zeros()) {}

void FileReader::fail(FileWork& work, Error error) {
  work.outcome = is_gone(error) ? FileWork::Outcome::gone : FileWork::Outcome::unreadable;
  work.error = std::move(error);
  work.entry.content = Entry::Content::none;
  work.entry.flags |= store::kUnreadable;
}

Result<void> FileReader::check_cancel() const {
  if (options_.cancel != nullptr && options_.cancel->load()) {
    return Error{Code::cancelled, 0, "cancelled"};
  }
  return {};
}

Result<Fd> FileReader::open(FileWork& work, Nanoseconds& now) {
  Fd fd = TRY(open_file(*work.folder, work.name));
  now = options_.clock();
  Listed listed = TRY(look_at(fd));
  // What was listed as a file may be a device or a fifo by now: nothing is read from it.
  if (listed.entry.type != store::FileType::regular) return os_error(ENOENT, "opening");
  // What was looked at now, but for name and flags.
  listed.entry.name = std::move(work.entry.name);
  listed.entry.flags = work.entry.flags;
  listed.entry.inode = inode_in(work.space, listed.entry.inode);
  work.entry = std::move(listed.entry);
  return fd;
}

void FileReader::read(FileWork& work) {
  for (int attempt = 1;; ++attempt) {
    Nanoseconds now = 0;
    auto fd = open(work, now);
    if (!fd) return fail(work, std::move(fd).error());
    rearm_times(*fd, work.entry, now);
    auto read = read_once(work, *fd);
    if (!read) return fail(work, std::move(read).error());
    auto after = look_at(*fd);
    if (!after) return fail(work, std::move(after).error());
    const bool changed = !same_times(after->entry, work.entry);
    // Only small files are read again: a large one that is written all the time never holds still.
    if (changed && work.entry.size < store::kSmallFile && attempt < kReadTries) continue;
    work.entry.flags = 0;
    if (changed || is_racy(work.entry, now)) work.entry.flags |= store::kRacy;
    if (changed) work.entry.flags |= store::kChangedWhileRead;
    if (options_.fingerprints == nullptr) return;
    return options_.fingerprints->put(options_.volume, work.entry, std::move(*read));
  }
}

Result<FileFingerprints> FileReader::read_once(FileWork& work, const Fd& fd) {
  work.entry.xattrs = TRY(read_xattrs(fd, options_.tree));
  const std::uint64_t size = work.entry.size;
  const bool sparse = size > 0 && ::lseek(fd.get(), 0, SEEK_HOLE) < static_cast<off_t>(size);
  const bool small = size < store::kSmallFile && !sparse && !work.large;
  return small ? read_small(work, fd) : read_large(work, fd);
}

// What is being written to is read again under the freeze that follows, at memory speed.
PacedFile FileReader::paced(const FileWork& work, const Fd& fd) const {
  const store::Entry& entry = work.entry;
  const std::int64_t recent = options_.clock() / kSecond - kRecentSeconds;
  const bool read_again = options_.fingerprints != nullptr &&
                          (entry.mtime.seconds >= recent || entry.ctime.seconds >= recent);
  return {fd, entry.size, options_.limiter,
          read_again ? PacedFile::Cache::keep : PacedFile::Cache::as_before, options_.cancel};
}

Result<FileFingerprints> FileReader::read_small(FileWork& work, const Fd& fd) {
  Bytes content(work.entry.size);
  PacedFile file = paced(work, fd);
  std::size_t done = 0;
  while (done < content.size()) {
    const std::size_t n = TRY(file.read(MutableByteView(content).subspan(done), done));
    if (n == 0) break;
    done += n;
  }
  content.resize(done);
  bytes_read_ += done;
  FileFingerprints prints;
  if (options_.fingerprints != nullptr) {
    Fingerprinter printer(*options_.fingerprints);
    printer.data(content);
    prints = printer.finish();
  }
  take_content(work, std::move(content));
  return prints;
}

void FileReader::take_content(FileWork& work, Bytes content) {
  work.entry.size = content.size();
  work.content = std::move(content);
  const auto equal = equals_parent(work);
  if (equal.ok() && *equal) {
    const Entry& parent = *work.parent;
    work.entry.content = parent.content;
    work.entry.inline_bytes = parent.inline_bytes;
    work.entry.extents = parent.extents;
    work.entry.node = parent.node;
    work.outcome = FileWork::Outcome::kept;
    work.content.clear();
  } else if (work.content.size() <= store::kMaxInlineBytes) {
    work.entry.content = work.content.empty() ? Entry::Content::none : Entry::Content::inline_bytes;
    work.entry.inline_bytes = std::move(work.content);
    work.outcome = FileWork::Outcome::kept;
  } else {
    work.outcome = FileWork::Outcome::small;
  }
}

// Whether the bytes just read are the parent's. An image that runs `chown -R` at each start would
// else store all its small files again and again.
Result<bool> FileReader::equals_parent(const FileWork& work) {
  if (!work.parent || work.parent->type != store::FileType::regular ||
      work.parent->size != work.content.size() || (work.parent->flags & store::kUnreadable) != 0) {
    return false;
  }
  const Bytes before = TRY(base_bytes(*work.parent, 0, work.content.size()));
  return before == work.content;
}

Result<Bytes> FileReader::base_bytes(const Entry& base, std::uint64_t begin, std::uint64_t end) {
  return stored_bytes(trees_, session_, base, begin, end);
}

Result<FileFingerprints> FileReader::read_large(FileWork& work, const Fd& fd) {
  ContentCutter cutter(session_.repository().keys(), jobs_, options_.volume_tag, work.entry.size);
  cutter.follow(ParentExtents::of(trees_, work.parent), trials_);
  std::optional<Fingerprinter> prints;
  if (options_.fingerprints != nullptr) prints.emplace(*options_.fingerprints);
  PacedFile file = paced(work, fd);
  std::uint64_t done = 0;
  const auto read_data = [&](std::uint64_t begin, std::uint64_t end) -> Result<bool> {
    while (begin < end) {
      TRY(check_cancel());
      MutableByteView room = cutter.room();
      room = room.first(std::min<std::uint64_t>(room.size(), end - begin));
      const std::size_t n = TRY(file.read(room, begin));
      if (n == 0) return false;  // truncated meanwhile
      if (prints) prints->data(room.first(n));
      cutter.advance(n);
      begin += n;
      done = begin;
      bytes_read_ += n;
    }
    return true;
  };
  TRY(for_each_segment(fd, work.entry.size, [&](const Segment& segment) -> Result<bool> {
    if (segment.kind == Segment::Kind::data) return read_data(segment.begin, segment.end);
    const std::uint64_t length = segment.end - segment.begin;
    if (segment.kind == Segment::Kind::hole) {
      cutter.hole(length);
    } else {
      cutter.zeros(length);
    }
    if (prints) prints->zeros(length);
    done = segment.end;
    return true;
  }));
  work.pieces = cutter.finish();
  work.entry.size = done;
  work.outcome = FileWork::Outcome::pieces;
  return prints ? prints->finish() : FileFingerprints();
}

}  // namespace bygone::ingest
