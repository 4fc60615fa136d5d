// SPDX-License-Identifier: Apache-2.0
#include "ingest/sealed_spill.h"

#include <cerrno>
#include <utility>

#include <fcntl.h>

namespace bygone::ingest {
namespace {

const ByteView kAssociated = as_bytes("bygone.spill");
struct NameTag;

// For file systems without O_TMPFILE: a name that nobody guesses, for as long as it takes.
Result<Fd> open_and_unlink(const std::string& folder) {
  Files& files = system_files();
  const std::string path = folder + "/spill-" + store::random_id<Id<NameTag, 16>>().hex();
  Fd fd = TRY(files.open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  TRY(files.remove(path));
  return fd;
}

bool lacks_tmpfile(int errnum) {
  // EISDIR is what kernels say that do not know the flag at all.
  return errnum == EOPNOTSUPP || errnum == EISDIR || errnum == EINVAL;
}

}  // namespace

SealedSpill::SealedSpill(std::string folder, std::size_t memory_limit)
    : folder_(std::move(folder)),
      memory_limit_(memory_limit),
      key_(store::SecretBytes::random(store::kKeyBytes)) {}

Result<void> SealedSpill::open_file() {
  if (file_.is_open()) return {};
  // With O_EXCL nobody can give it a name later.
  auto fd = system_files().open(folder_, O_TMPFILE | O_RDWR | O_EXCL, 0600);
  if (!fd && lacks_tmpfile(fd.error().errnum)) fd = open_and_unlink(folder_);
  if (!fd) return std::move(fd).error().with("opening a spill file");
  file_ = std::move(*fd);
  return {};
}

Result<std::uint64_t> SealedSpill::append(ByteView data) {
  CHECK(!data.empty());
  Piece piece;
  piece.size = data.size();
  std::unique_lock lock(mutex_);
  const std::uint64_t ticket = next_ticket_++;
  if (data.size() <= memory_limit_ - memory_used_) {
    piece.memory.assign(data.begin(), data.end());
    memory_used_ += data.size();
  } else {
    TRY(open_file());
    // Taken even if the write fails: an offset is a nonce, and is used once.
    piece.offset = std::exchange(file_end_, file_end_ + data.size() + store::kTagBytes);
    lock.unlock();
    TRY(write_sealed(data, piece.offset));
    lock.lock();
  }
  pieces_.emplace(ticket, std::move(piece));
  return ticket;
}

Result<void> SealedSpill::write_sealed(ByteView data, std::uint64_t offset) {
  Bytes sealed(data.size() + store::kTagBytes);
  store::seal(key_, store::offset_nonce(offset), kAssociated, data, sealed);
  auto written = system_files().write_at(file_, sealed, offset);
  if (written) return {};
  Error error = std::move(written).error().with("spilling what was read under a freeze to " +
                                                printable(folder_));
  if (error.code == Code::no_space) error.message += "; hint: make room there";
  return error;
}

Result<Bytes> SealedSpill::read(std::uint64_t ticket) {
  Piece piece;
  {
    const std::lock_guard lock(mutex_);
    const auto found = pieces_.find(ticket);
    CHECK(found != pieces_.end());
    if (!found->second.memory.empty()) return found->second.memory;
    piece.offset = found->second.offset;
    piece.size = found->second.size;
  }
  return read_sealed(piece);
}

Result<Bytes> SealedSpill::read_sealed(const Piece& piece) {
  Bytes sealed(piece.size + store::kTagBytes);
  auto got = system_files().read_at(file_, sealed, piece.offset);
  if (!got) return std::move(got).error().with("reading the spill file");
  Bytes data(piece.size);
  if (*got != sealed.size() ||
      !store::unseal(key_, store::offset_nonce(piece.offset), kAssociated, sealed, data)) {
    return Error{Code::corrupt, 0,
                 "reading the spill file: it is not what was written; hint: look at the disk of " +
                     printable(folder_)};
  }
  return data;
}

}  // namespace bygone::ingest
