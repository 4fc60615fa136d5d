// SPDX-License-Identifier: Apache-2.0
//
// Which records were removed for good, on purpose: what notes say about them one by one
// (snapshot_notes.h), and what is left of many of these notes once they are folded into a list for
// each source (fold_notes.h, FORMAT.md section 8.6). Pure; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_set>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/result.h"
#include "store/notes.h"

namespace bygone::store {

struct GoneRecord {
  std::uint64_t sequence = 0;
  SnapshotId id;
  friend auto operator<=>(const GoneRecord&, const GoneRecord&) = default;
  friend bool operator==(const GoneRecord&, const GoneRecord&) = default;
};

// What the note on a source says.
struct GoneList {
  // The highest number of those that have fallen out of the list.
  std::uint64_t up_to = 0;
  std::vector<GoneRecord> records;  // ascending, none twice
  friend bool operator==(const GoneList&, const GoneList&) = default;
};

[[nodiscard]] Bytes encode_gone_list(const GoneList& list);
// Errors: corrupt.
[[nodiscard]] Result<GoneList> decode_gone_list(ByteView value);

class GoneRecords {
 public:
  explicit GoneRecords(const Notes& notes);

  // Whether a note names this record. Of one that a record which is still there calls its
  // predecessor, there is always such a note.
  [[nodiscard]] bool names(const SnapshotId& id) const { return named_.contains(id); }
  // The same; and of a record so old that its id fell out of the list, whether its number did.
  [[nodiscard]] bool account_for(const SourceId& source, const GoneRecord& record) const;

 private:
  std::unordered_set<SnapshotId, IdHash> named_;
  std::map<SourceId, std::uint64_t> up_to_;
};

}  // namespace bygone::store
