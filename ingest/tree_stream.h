// SPDX-License-Identifier: Apache-2.0
//
// A tree that passes by once, as an engine sends it: entries in the order of a walk (a folder
// before what is in it, names sorted by their bytes), the content of a file behind its entry.
#pragma once

#include <chrono>
#include <cstdint>
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

class TreeStream {
 public:
  TreeStream() = default;
  virtual ~TreeStream() = default;
  TreeStream(const TreeStream&) = delete;
  TreeStream& operator=(const TreeStream&) = delete;

  // The next entry, the root first; nothing at the proven end. What was not read of the last one is
  // skipped.
  virtual Result<std::optional<TarEntry>> next() = 0;

  struct Block {
    std::uint64_t offset = 0;  // in the file; what lies between two blocks is a hole
    ByteView data;             // valid until the next call
  };
  // The next bytes of the last entry, a regular file; nothing at its end. Blocks come in order and
  // lie within the file's size.
  virtual Result<std::optional<Block>> read() = 0;

  // After an error: whether it was that the stream ended too early. An engine ends it so when a
  // file shrinks while it is read.
  [[nodiscard]] virtual bool ended_early() const = 0;
};

// One that is transferred from an engine.
class EngineTree : public TreeStream {
 public:
  // How long the transfer took by itself: without the time in which it waited for the reader and
  // the limiter. Asked at the end: what has not come by then does not come any more.
  [[nodiscard]] virtual std::chrono::nanoseconds transfer_time() = 0;
};

}  // namespace bygone::ingest
