// SPDX-License-Identifier: Apache-2.0
//
// The snapshot record: one source at one instant. Encoded as tagged fields (FORMAT.md section 8),
// so that a reader skips what it does not know and refuses what it must know. No I/O here:
// repository.h lists, reads and commits records. Values only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/clock.h"
#include "store/base/result.h"
#include "store/fields.h"
#include "store/node.h"

namespace bygone::store {

using RunId = Id<struct RunIdTag, 16>;  // random, one capture of a group

enum class SourceKind : std::uint8_t { container = 1, volume = 2, folder = 3 };

// How consistent the captured state is.
enum class Consistency : std::uint8_t {
  live = 1,      // read while writers ran: files may be of different moments
  freeze = 2,    // all writers were paused for `window`
  stop = 3,      // the container was stopped for the capture
  snapshot = 4,  // a file system snapshot
  native = 5,    // the engine's own backup mode
  idle = 6,      // nothing that could write was running
};

enum class VolumeKind : std::uint8_t {
  named = 1,      // a named volume
  anonymous = 2,  // a volume that Docker named
  bind = 3,       // a folder or file of the host
  folder = 4,     // the whole of a folder source
  layer = 5,      // what a container changed in its image
};

struct Volume {
  std::string name;         // the folder under the instant; empty for a folder source
  std::string destination;  // path inside the container; empty for folders and bare volumes
  std::string origin;       // Docker's volume name, or the path on the host
  VolumeKind kind = VolumeKind::folder;
  Entry root;  // nameless; a directory, or a regular file for a bind of a file
  friend bool operator==(const Volume&, const Volume&) = default;
};

struct Snapshot {
  SnapshotId id;  // not encoded: the keyed hash of the encoding
  SourceId source;
  SourceKind kind = SourceKind::folder;
  std::string name;     // of the source, without a prefix for its kind
  std::string host_id;  // engine id or machine id
  std::string host;     // host name, for people
  // The folder name in the mount, fixed at the first backup: `name`, or `name+host` when another
  // host has it already.
  std::string display_name;
  Nanoseconds instant = 0;     // of the captured state, UTC
  std::string listed_name;     // `2024-03-16T05:57`, fixed at commit (zone.h)
  std::string zone;            // the writer's time zone, "Europe/Berlin"; the clock of listed names
  std::uint64_t sequence = 0;  // 1, 2, ... for one source
  SnapshotId previous;         // the record with sequence - 1; zero for the first
  std::vector<Volume> volumes;
  Consistency consistency = Consistency::live;
  Nanoseconds window = 0;  // from the first pause to the last resume
  Nanoseconds skew = 0;    // between the first and the last pause of a group
  bool partial = false;    // walked to the end, but some entries could not be read
  Nanoseconds started = 0;
  Nanoseconds finished = 0;
  std::uint64_t files = 0;  // everything that is not a directory
  std::uint64_t folders = 0;
  std::uint64_t bytes = 0;        // sizes of regular files
  std::uint64_t added_bytes = 0;  // written to packs for this snapshot
  std::uint64_t errors = 0;       // entries that could not be read
  std::string program;            // "bygone 0.1.0"
  std::vector<std::string> tags;
  // The group that it was taken with; empty and zero without one. Snapshots with the same run are
  // of one instant, which is complete when each member has one.
  std::string group;
  RunId run;
  std::vector<std::string> members;        // names of the group's sources, this one's among them
  std::string image;                       // of the container: the reference that it was made from,
  std::string image_id;                    // its id, sha256:...,
  std::vector<std::string> image_digests;  // and the digests by which registries know it
  // Hooks and dumps that failed, each with its reason, for people. A dump that did is not there.
  std::vector<std::string> failed;
  // Root of the second tree: container configuration, dumps, the list of what could not be read.
  std::optional<Entry> extra;
  UnknownFields unknown_fields;
  friend bool operator==(const Snapshot&, const Snapshot&) = default;
};

// The canonical encoding, without id. FORMAT.md section 8.
[[nodiscard]] Bytes encode_snapshot(const Snapshot& snapshot);
// Errors: corrupt for bytes that do not decode; unsupported for an unknown critical field.
[[nodiscard]] Result<Snapshot> decode_snapshot(ByteView data);

// Of each source the one with the highest number; they point into `snapshots`.
[[nodiscard]] std::vector<const Snapshot*> newest_of_sources(
    const std::vector<Snapshot>& snapshots);

[[nodiscard]] const char* to_text(Consistency consistency);
[[nodiscard]] const char* to_text(SourceKind kind);
[[nodiscard]] const char* to_text(VolumeKind kind);

}  // namespace bygone::store
