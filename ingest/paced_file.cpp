// SPDX-License-Identifier: Apache-2.0
#include "ingest/paced_file.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store/base/stall.h"

namespace bygone::ingest {
namespace {

const std::uint64_t kPage = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
// The kernel is asked about this much at a time: what it reads ahead of us at the seams, and which
// then looks as if it had been there, is nothing beside it.
constexpr std::uint64_t kSegment = 1ULL << 30U;
// Read at once while paced: somebody who waits behind it does not wait long.
constexpr std::size_t kPacedRead = 256u << 10;
// Dropping needs the pages to have left the processors' own lists, and a call for each 1 MiB would
// make all of them empty theirs.
constexpr std::uint64_t kDropAtOnce = 8u << 20;

const std::atomic<bool> kNever{false};

}  // namespace

Result<std::size_t> read_at(const Fd& fd, MutableByteView out, std::uint64_t offset) {
  for (;;) {
    const ssize_t n = ::pread(fd.get(), out.data(), out.size(), static_cast<off_t>(offset));
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno != EINTR) return os_error(errno, "reading");
  }
}

PacedFile::PacedFile(const Fd& fd, std::uint64_t size, Limiter* limiter, Cache cache,
                     const std::atomic<bool>* cancel)
    : fd_(fd),
      size_(size),
      limiter_(limiter != nullptr && !limiter->is_off() ? limiter : nullptr),
      cache_(cache),
      cancel_(cancel != nullptr ? *cancel : kNever) {}

PacedFile::~PacedFile() { drop(read_to_); }

// mincore(2) answers for every page, on every kernel; cachestat(2) only counts, and preadv2 with
// RWF_NOWAIT sees what our own read-ahead brought. It says that all is there to somebody who may
// not write the file: then nothing is dropped.
void PacedFile::look_ahead(std::uint64_t offset) {
  drop(read_to_);
  segment_begin_ = offset - offset % kPage;
  segment_end_ = std::min(segment_begin_ + kSegment, std::max(size_, offset + 1));
  dropped_ = segment_begin_;
  const std::size_t length = static_cast<std::size_t>(segment_end_ - segment_begin_);
  present_.assign((length + kPage - 1) / kPage, 1);
  void* const map =
      ::mmap(nullptr, length, PROT_READ, MAP_SHARED, fd_.get(), static_cast<off_t>(segment_begin_));
  if (map == MAP_FAILED) return;
  if (::mincore(map, length, present_.data()) != 0) {
    std::fill(present_.begin(), present_.end(), static_cast<unsigned char>(1));
  }
  ::munmap(map, length);
}

std::uint64_t PacedFile::absent(std::uint64_t begin, std::uint64_t end) const {
  std::uint64_t bytes = 0;
  end = std::min(end, segment_end_);
  for (std::uint64_t at = begin; at < end; at += kPage - at % kPage) {
    if ((present_[(at - segment_begin_) / kPage] & 1U) == 0) {
      bytes += std::min(end, at + kPage - at % kPage) - at;
    }
  }
  return bytes;
}

// Runs of pages that we alone brought in.
void PacedFile::drop(std::uint64_t until) {
  if (cache_ == Cache::keep || present_.empty()) return;
  const auto was_there = [&](std::uint64_t page) { return (present_[page] & 1U) != 0; };
  std::uint64_t page = (dropped_ - segment_begin_) / kPage;
  const std::uint64_t end = std::min<std::uint64_t>(
      present_.size(), (std::max(until, segment_begin_) - segment_begin_ + kPage - 1) / kPage);
  while (page < end) {
    while (page < end && was_there(page)) ++page;
    const std::uint64_t first = page;
    while (page < end && !was_there(page)) ++page;
    if (page == first) continue;
    ::posix_fadvise(fd_.get(), static_cast<off_t>(segment_begin_ + first * kPage),
                    static_cast<off_t>((page - first) * kPage), POSIX_FADV_DONTNEED);
  }
  dropped_ = segment_begin_ + end * kPage;
}

Result<std::size_t> PacedFile::read(MutableByteView out, std::uint64_t offset) {
  if (limiter_ == nullptr) return read_at(fd_, out, offset);
  if (present_.empty() || offset >= segment_end_ || offset < segment_begin_) look_ahead(offset);
  if (limiter_->rate()) out = out.first(std::min(out.size(), kPacedRead));
  out = out.first(
      static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), segment_end_ - offset)));
  const std::uint64_t from_disk = absent(offset, offset + out.size());
  TRY(limiter_->wait(out.size(), from_disk, cancel_));
  std::optional<DiskWait> waiting;
  if (from_disk > 0) waiting.emplace();
  const std::size_t n = TRY(read_at(fd_, out, offset));
  waiting.reset();
  read_to_ = std::max(read_to_, offset + n);
  if (read_to_ - std::min(read_to_, dropped_) >= kDropAtOnce) drop(read_to_);
  return n;
}

}  // namespace bygone::ingest
