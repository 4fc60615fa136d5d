// SPDX-License-Identifier: Apache-2.0
//
// Writes captured trees into pages, bottom up: children before their directory. A reference to a
// node in the page that is still open is provisional (its page id is not known yet); it may be
// used in later calls of the same writer, and finish() resolves the root's. Encoding is
// canonical: the same calls give the same bytes. One thread. FORMAT.md section 7.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "store/keys.h"
#include "store/node.h"
#include "store/tree_reader.h"

namespace bygone::store {

// Where finished pages go: the chunk store, or a test.
class PageSink {
 public:
  virtual ~PageSink() = default;
  virtual Result<void> put_page(const ChunkId& id, Bytes page) = 0;
};

class PageLiveness;  // page_liveness.h

// A leaf of the parent snapshot's directory, offered for reuse.
struct KnownLeaf {
  NodeRef node;
  std::size_t begin = 0;  // the run [begin, begin + count) of the new entries that equals it
  std::size_t count = 0;
};

class TreeWriter {
 public:
  // Both must outlive the writer.
  TreeWriter(const KeyRing& keys, PageSink& sink);
  ~TreeWriter();

  // Nodes that lie in thin pages of `liveness` are written anew where they could be referred to
  // again. It must outlive the writer; nullptr ends it.
  void leave_thin_pages(const PageLiveness* liveness);

  // Moves extended attributes out of line when they encode to more than kMaxInlineXattrs bytes.
  // Errors: invalid when the set passes 1 MiB or a name 255 bytes; those of the sink.
  Result<void> add_xattrs(Entry& entry);
  // Sets the content of a regular file whose bytes are `extents`: none, extents, or extent_node.
  // `parent`: the file's previous version, whose equal extent nodes are referred to again;
  // nullptr when there is none.
  Result<void> add_extents(Entry& file, std::vector<Extent> extents, const Entry* parent,
                           TreeReader* parent_reader);
  // Writes `entries` (sorted by name, unique) as the content of `directory` and sets its node and
  // totals. `known`: leaves that may be referred to again, in order. Errors: invalid for an entry
  // that would not read back, naming it; those of the sink.
  Result<void> add_directory(Entry& directory, std::span<const Entry> entries,
                             std::span<const KnownLeaf> known = {});
  // Closes the open page and resolves the references in `roots`.
  Result<void> finish(std::span<Entry* const> roots);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bygone::store
