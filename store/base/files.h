// SPDX-License-Identifier: Apache-2.0
//
// Fd, a move-only file descriptor, and Files, the seam through which the store touches the file
// system: decorators in the tests fail the n-th call, lose unsynced writes and fill the disk.
// LMDB does its own I/O and is not seen here; sources are read by ingest/, not by this.
// A Files may be called from any thread; one Fd is used by one thread at a time, but for pread
// and pwrite, which may run side by side.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/result.h"

namespace bygone {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd();

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  // Gives the descriptor away; the caller closes it.
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset() { *this = Fd(); }

 private:
  int fd_ = -1;
};

enum class Lock { shared, exclusive };

struct FileInfo {
  std::uint64_t size = 0;
  std::uint64_t links = 0;
  std::int64_t mtime_seconds = 0;
  bool is_directory = false;
  bool is_regular = false;
};

// Errors of every call: os_error() of the failed system call, naming the path.
class Files {
 public:
  virtual ~Files() = default;

  // open(2) with O_CLOEXEC; `flags` and `mode` as there.
  virtual Result<Fd> open(const std::string& path, int flags, unsigned mode) = 0;
  // Reads until `out` is full or the file ends; returns the bytes read.
  virtual Result<std::size_t> read_at(const Fd& fd, MutableByteView out, std::uint64_t offset) = 0;
  // Writes all of `data`.
  virtual Result<void> write_at(const Fd& fd, ByteView data, std::uint64_t offset) = 0;
  // Asks the kernel to begin writing a range back, without waiting; a hint.
  virtual void start_writeback(const Fd& fd, std::uint64_t offset, std::uint64_t length) = 0;
  // fdatasync. A failure means that data may be lost for good: never retried on the same file.
  virtual Result<void> sync_data(const Fd& fd) = 0;
  // fsync of a folder: makes renames and new names in it durable.
  virtual Result<void> sync_directory(const std::string& path) = 0;
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  virtual Result<void> remove(const std::string& path) = 0;
  // Creates one folder, mode 0700. Errors: exists when it is there.
  virtual Result<void> make_directory(const std::string& path) = 0;
  // Names in a folder without "." and "..", sorted by bytes.
  virtual Result<std::vector<std::string>> list(const std::string& path) = 0;
  virtual Result<FileInfo> info(const std::string& path) = 0;
  virtual Result<FileInfo> info(const Fd& fd) = 0;
  // Reserves disk blocks for the first `size` bytes.
  virtual Result<void> allocate(const Fd& fd, std::uint64_t size) = 0;
  // flock(2) without waiting; false when somebody else holds it.
  virtual Result<bool> try_lock(const Fd& fd, Lock lock) = 0;
};

// The real file system. One object, alive as long as the program.
[[nodiscard]] Files& system_files();

// Opens a plain file as Files::open() does, but never what a link leads to, nor a folder, pipe or
// device: for files that are written under a name which somebody else may have taken, that of the
// storage for one. Errors: invalid when it is no plain file; those of open().
[[nodiscard]] Result<Fd> open_plain(Files& files, const std::string& path, int flags,
                                    unsigned mode);
// That `path` is a folder, and no link to one. Errors: invalid when it is anything else; not_found.
[[nodiscard]] Result<void> expect_folder(Files& files, const std::string& path);

// All bytes of a file of at most `limit` bytes. Errors: corrupt when it is larger; io.
[[nodiscard]] Result<Bytes> read_file(Files& files, const std::string& path, std::uint64_t limit);

// The folder part of `path` ("." when it has none), without a slash at its end.
[[nodiscard]] std::string parent_folder(const std::string& path);

}  // namespace bygone
