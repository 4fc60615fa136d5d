// SPDX-License-Identifier: Apache-2.0
#include "fs/restore_content.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

namespace bygone::fs {
namespace {

using store::Entry;
using store::Extent;

constexpr std::size_t kPiece = 256u << 10;

off_t to_off(std::uint64_t value) { return static_cast<off_t>(value); }

Result<void> write_all(int fd, ByteView data, std::uint64_t offset) {
  while (!data.empty()) {
    const ssize_t n = pwrite(fd, data.data(), data.size(), to_off(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return os_error(errno, "writing");
    data = data.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

// Blocks that read as zeros; written out where the file system cannot reserve.
Result<void> write_zeros(int fd, std::uint64_t offset, std::uint64_t length) {
  while (fallocate(fd, 0, to_off(offset), to_off(length)) != 0) {
    if (errno == EINTR) continue;
    if (errno != EOPNOTSUPP && errno != ENOSYS) return os_error(errno, "allocating");
    static const Bytes zeros(kPiece, 0);
    for (std::uint64_t done = 0; done < length; done += kPiece) {
      const auto n = std::min<std::uint64_t>(kPiece, length - done);
      TRY(write_all(fd, ByteView(zeros).first(n), offset + done));
    }
    return {};
  }
  return {};
}

Result<void> read_exactly(int fd, MutableByteView out, std::uint64_t offset) {
  while (!out.empty()) {
    const ssize_t n = pread(fd, out.data(), out.size(), to_off(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return os_error(errno, "reading back");
    if (n == 0) return Error{Code::corrupt, 0, fmt::format("the file ends at byte {}", offset)};
    out = out.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Error differs(std::uint64_t offset) {
  return Error{Code::corrupt, 0,
               fmt::format("the restored file differs from the snapshot near byte {}", offset)};
}

Result<void> compare_bytes(int fd, ByteView wanted, std::uint64_t offset, Bytes& buffer) {
  buffer.resize(std::min(kPiece, wanted.size()));
  while (!wanted.empty()) {
    const auto part = MutableByteView(buffer).first(std::min(kPiece, wanted.size()));
    TRY(read_exactly(fd, part, offset));
    if (!std::equal(part.begin(), part.end(), wanted.begin())) return differs(offset);
    wanted = wanted.subspan(part.size());
    offset += part.size();
  }
  return {};
}

// Skips what the file system knows to be empty.
Result<void> compare_zeros(int fd, std::uint64_t offset, std::uint64_t length, Bytes& buffer) {
  const std::uint64_t end = offset + length;
  while (offset < end) {
    const off_t data = lseek(fd, to_off(offset), SEEK_DATA);
    if (data < 0 && errno == ENXIO) return {};
    if (data >= 0) offset = std::max(offset, static_cast<std::uint64_t>(data));
    if (offset >= end) return {};
    buffer.resize(std::min<std::uint64_t>(kPiece, end - offset));
    TRY(read_exactly(fd, buffer, offset));
    if (std::any_of(buffer.begin(), buffer.end(), [](std::uint8_t b) { return b != 0; })) {
      return differs(offset);
    }
    offset += buffer.size();
  }
  return {};
}

}  // namespace

void Content::count(std::uint64_t bytes) {
  count_ += bytes;
  bytes_done_.fetch_add(bytes, std::memory_order_relaxed);
}

Result<ByteView> Content::bytes_of(const Extent& extent) {
  if (last_ == nullptr || last_id_ != extent.chunk) {
    last_ = TRY(chunks_.get(store::ChunkKind::data, extent.chunk));
    last_id_ = extent.chunk;
  }
  if (extent.offset > last_->size() || extent.length > last_->size() - extent.offset) {
    return Error{Code::corrupt, 0,
                 fmt::format("an extent reaches past the end of chunk {}", extent.chunk.hex())};
  }
  return ByteView(*last_).subspan(extent.offset, extent.length);
}

// Calls `piece` with the extents that meet [begin, end), cut to it.
Result<void> Content::each_piece(const Entry& file, std::uint64_t begin, std::uint64_t end,
                                 const Piece& piece) {
  Result<void> outcome;
  const auto visit = [&](std::uint64_t offset, Extent extent) {
    if (cancel_) {
      outcome = Error{Code::cancelled, 0, "interrupted"};
      return false;
    }
    if (offset < begin) {
      const std::uint64_t cut = begin - offset;
      extent.offset += static_cast<std::uint32_t>(extent.kind == Extent::Kind::data ? cut : 0);
      extent.length -= cut;
      offset = begin;
    }
    extent.length = std::min(extent.length, end - offset);
    outcome = piece(offset, extent);
    count(extent.length);
    return outcome.ok();
  };
  TRY(trees_.extents(file, begin, end - begin, visit));
  return outcome;
}

Result<void> Content::write(int fd, const Entry& file, std::uint64_t begin, std::uint64_t end) {
  end = std::min(end, file.size);
  if (begin >= end) return {};
  if (file.content == Entry::Content::inline_bytes) {
    count(file.inline_bytes.size());
    return write_all(fd, file.inline_bytes, 0);
  }
  return each_piece(file, begin, end,
                    [&](std::uint64_t offset, const Extent& extent) -> Result<void> {
                      if (extent.kind == Extent::Kind::hole) return {};
                      if (extent.kind == Extent::Kind::zero) {
                        return write_zeros(fd, offset, extent.length);
                      }
                      return write_all(fd, TRY(bytes_of(extent)), offset);
                    });
}

Result<void> Content::compare(int fd, const Entry& file) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return os_error(errno, "reading back");
  if (static_cast<std::uint64_t>(status.st_size) != file.size) {
    return Error{
        Code::corrupt, 0,
        fmt::format("the restored file has {} bytes, the snapshot {}", status.st_size, file.size)};
  }
  if (file.content == Entry::Content::inline_bytes) {
    count(file.inline_bytes.size());
    return compare_bytes(fd, file.inline_bytes, 0, buffer_);
  }
  return each_piece(file, 0, file.size,
                    [&](std::uint64_t offset, const Extent& extent) -> Result<void> {
                      if (extent.kind != Extent::Kind::data) {
                        return compare_zeros(fd, offset, extent.length, buffer_);
                      }
                      return compare_bytes(fd, TRY(bytes_of(extent)), offset, buffer_);
                    });
}

}  // namespace bygone::fs
