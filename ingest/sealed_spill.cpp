// SPDX-License-Identifier: Apache-2.0
#include "ingest/sealed_spill.h"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/statvfs.h>

namespace bygone::ingest {
namespace {

const ByteView kAssociated = as_bytes("bygone.spill");
struct NameTag;

// Where something is and how long, as a number.
struct Spot {
  bool in_memory = false;
  std::uint64_t offset = 0;
  std::size_t size = 0;

  static constexpr unsigned kSizeBits = 21;
  static constexpr std::uint64_t kInMemory = 1ULL << 63U;
  static_assert(SealedSpill::kLargest < 1U << kSizeBits);

  [[nodiscard]] std::uint64_t ticket() const {
    return (in_memory ? kInMemory : 0) | offset << kSizeBits | size;
  }
  static Spot of(std::uint64_t ticket) {
    return {.in_memory = (ticket & kInMemory) != 0,
            .offset = (ticket & ~kInMemory) >> kSizeBits,
            .size = static_cast<std::size_t>(ticket & ((1ULL << kSizeBits) - 1))};
  }
};

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

Error SealedSpill::lose(Error error) {
  // Neither the repository is damaged nor the source gone.
  if (error.code != Code::no_space) error.code = Code::io;
  const std::lock_guard lock(mutex_);
  if (!loss_) loss_ = error;
  return error;
}

std::optional<Error> SealedSpill::loss() const {
  const std::lock_guard lock(mutex_);
  return loss_;
}

Result<std::uint64_t> SealedSpill::append(ByteView data, Where where) {
  auto ticket = take(data, where);
  if (ticket) return ticket;
  has_failed_ = true;
  if (where == Where::memory_first) return lose(std::move(ticket).error());
  return ticket;
}

Result<std::uint64_t> SealedSpill::take(ByteView data, Where where) {
  CHECK(!data.empty() && data.size() <= kLargest);
  Spot spot{.in_memory = false, .offset = 0, .size = data.size()};
  {
    const std::lock_guard lock(mutex_);
    if (where == Where::memory_first && data.size() <= memory_limit_ - memory_.size()) {
      if (memory_.empty()) memory_.reserve(memory_limit_);
      spot.in_memory = true;
      spot.offset = memory_.size();
      memory_.insert(memory_.end(), data.begin(), data.end());
      size_ += data.size();
      return spot.ticket();
    }
    TRY(open_file());
    // Taken even if the write fails: an offset is a nonce, and is used once.
    spot.offset = std::exchange(file_end_, file_end_ + data.size() + store::kTagBytes);
  }
  TRY(write_sealed(data, spot.offset));
  size_ += data.size();
  return spot.ticket();
}

Result<void> SealedSpill::write_sealed(ByteView data, std::uint64_t offset) {
  Bytes sealed(data.size() + store::kTagBytes);
  store::seal(key_, store::offset_nonce(offset), kAssociated, data, sealed);
  auto written = system_files().write_at(file_, sealed, offset);
  if (written) return {};
  Error error = std::move(written).error().with("spilling what is read for a freeze to " +
                                                printable(folder_));
  if (error.code == Code::no_space) error.message += "; hint: make room there";
  return error;
}

Result<std::uint64_t> SealedSpill::room() const {
  struct statvfs found {};
  if (::statvfs(folder_.c_str(), &found) != 0) return os_error(errno, "asking for the room");
  return std::uint64_t{found.f_bavail} * found.f_frsize;
}

Result<Bytes> SealedSpill::read(std::uint64_t ticket) {
  auto bytes = give(ticket);
  if (!bytes) return lose(std::move(bytes).error());
  return bytes;
}

Result<Bytes> SealedSpill::give(std::uint64_t ticket) {
  const Spot spot = Spot::of(ticket);
  if (!spot.in_memory) return read_sealed(spot.offset, spot.size);
  const std::lock_guard lock(mutex_);
  const ByteView bytes = ByteView(memory_).subspan(spot.offset, spot.size);
  return Bytes(bytes.begin(), bytes.end());
}

Result<Bytes> SealedSpill::read_sealed(std::uint64_t offset, std::size_t size) {
  Bytes sealed(size + store::kTagBytes);
  auto got = system_files().read_at(file_, sealed, offset);
  if (!got) return std::move(got).error().with("reading the spill file");
  Bytes data(size);
  if (*got != sealed.size() ||
      !store::unseal(key_, store::offset_nonce(offset), kAssociated, sealed, data)) {
    return Error{Code::corrupt, 0,
                 "reading the spill file: it is not what was written; hint: look at the disk of " +
                     printable(folder_)};
  }
  return data;
}

}  // namespace bygone::ingest
