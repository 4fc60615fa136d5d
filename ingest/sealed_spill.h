// SPDX-License-Identifier: Apache-2.0
//
// A place for bytes that were captured under a freeze: in memory up to a limit, then in a file
// that only this process can read: sealed under a key that exists nowhere else, unlinked as soon
// as it is open. append() from several threads; read() too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

#include "store/base/bytes.h"
#include "store/base/files.h"
#include "store/base/result.h"
#include "store/crypto.h"

namespace bygone::ingest {

class SealedSpill {
 public:
  // `folder` takes the file when one is needed, and must exist then. `memory_limit` in bytes.
  SealedSpill(std::string folder, std::size_t memory_limit);

  // Keeps a copy of `data` (not empty); returns its ticket. Errors: io, no_space, not_found
  // without the folder.
  Result<std::uint64_t> append(ByteView data);
  // The bytes of a ticket of append(). Errors: corrupt when the file was changed from outside; io.
  Result<Bytes> read(std::uint64_t ticket);

 private:
  struct Piece {
    Bytes memory;  // empty when it stands in the file
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
  };
  Result<void> open_file();
  Result<void> write_sealed(ByteView data, std::uint64_t offset);
  Result<Bytes> read_sealed(const Piece& piece);

  std::string folder_;
  std::size_t memory_limit_;
  store::SecretBytes key_;
  std::mutex mutex_;  // guards all below but the file's content
  std::size_t memory_used_ = 0;
  std::uint64_t next_ticket_ = 0;
  std::uint64_t file_end_ = 0;
  std::unordered_map<std::uint64_t, Piece> pieces_;
  Fd file_;  // once open, stays as it is
};

}  // namespace bygone::ingest
