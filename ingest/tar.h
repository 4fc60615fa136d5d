// SPDX-License-Identifier: Apache-2.0
//
// Reads the tar that an engine makes of a path: entries in their order, content as it comes. Trusts
// nothing: names lead nowhere but below the root, numbers fit, and an archive counts as whole only
// when it has its own end. The only includer of libarchive. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "store/base/bytes.h"
#include "store/base/result.h"
#include "store/node.h"

namespace bygone::ingest {

struct TarEntry {
  std::string path;    // below the root, raw bytes, no slash in front; empty for the root itself
  store::Entry entry;  // metadata; ctime is mtime, inode 0 and links 1: a tar has none of them
  // Of a hard link: the path of the earlier entry that it is another name of.
  std::optional<std::string> same_as;
};

class TarReader {
 public:
  // The next bytes of the archive, as many as there are; empty at the end of the stream. Valid
  // until the next call. An error of it is what next() and read() return.
  using Source = std::function<Result<ByteView>()>;
  explicit TarReader(Source source);
  ~TarReader();
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;

  // The next entry, the root first; nothing at the proven end of the archive and the stream. What
  // was not read of the last one is skipped. Errors: io when the stream ends before the archive
  // does; invalid for what no engine writes (names with "..", absolute or too long ones, numbers
  // out of range, damaged headers, bytes after the end); those of the source.
  Result<std::optional<TarEntry>> next();

  struct Block {
    std::uint64_t offset = 0;  // in the file; what lies between two blocks is a hole
    ByteView data;             // valid until the next call
  };
  // The next bytes of the last entry, a regular file; nothing at its end. Blocks come in order and
  // lie within the file's size. Errors: as those of next().
  Result<std::optional<Block>> read();

  // After an error: whether it was that the stream ended too early. An engine ends it so when a
  // file shrinks while it is read.
  [[nodiscard]] bool ended_early() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bygone::ingest
