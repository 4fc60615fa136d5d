// SPDX-License-Identifier: Apache-2.0
//
// A place for bytes that are captured for a freeze: in memory up to a limit, then in a file
// that only this process can read: sealed under a key that exists nowhere else, unlinked as soon
// as it is open. Takes no memory for what stands in the file: a ticket says where. append() from
// several threads; read() too.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "store/base/bytes.h"
#include "store/base/files.h"
#include "store/base/result.h"
#include "store/crypto.h"

namespace bygone::ingest {

class SealedSpill {
 public:
  static constexpr std::size_t kLargest = 1u << 20;  // bytes of one append()
  enum class Where {
    memory_first,
    file,  // what is not urgent leaves memory to what is
  };

  // `folder` takes the file when one is needed, and must exist then. `memory_limit` in bytes.
  SealedSpill(std::string folder, std::size_t memory_limit);

  // Keeps a copy of `data`, of 1 to kLargest bytes; returns its ticket, which is not 0. Errors: io,
  // no_space; for what is not urgent those of the file system.
  Result<std::uint64_t> append(ByteView data, Where where = Where::memory_first);
  // Bytes taken so far.
  [[nodiscard]] std::uint64_t size() const { return size_; }
  // Whether something could not be taken.
  [[nodiscard]] bool has_failed() const { return has_failed_; }
  // Why something is lost that was urgent, or was taken: the first error of such an append() or of
  // read(). It is not the fault of what was read.
  [[nodiscard]] std::optional<Error> loss() const;
  // Bytes that the file system of the folder has left. Errors: os_error().
  [[nodiscard]] Result<std::uint64_t> room() const;
  // The bytes of a ticket of append(). Errors: io, also when the file was changed from outside.
  Result<Bytes> read(std::uint64_t ticket);

 private:
  Result<void> open_file();
  Result<std::uint64_t> take(ByteView data, Where where);
  Result<Bytes> give(std::uint64_t ticket);
  Error lose(Error error);
  Result<void> write_sealed(ByteView data, std::uint64_t offset);
  Result<Bytes> read_sealed(std::uint64_t offset, std::size_t size);

  std::string folder_;
  std::size_t memory_limit_;
  store::SecretBytes key_;
  mutable std::mutex mutex_;  // guards all below but the file's content
  Bytes memory_;
  std::uint64_t file_end_ = 0;
  std::atomic<std::uint64_t> size_{0};
  std::atomic<bool> has_failed_{false};
  std::optional<Error> loss_;
  Fd file_;  // once open, stays as it is
};

}  // namespace bygone::ingest
