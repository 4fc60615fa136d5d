// SPDX-License-Identifier: Apache-2.0
//
// Condemned lists: the packs that prune is about to drop, sealed, one list a generation
// (FORMAT.md sections 8.4 and 11). Encoding, reading and writing; what may be deleted is decided
// in prune.h, and which generation a session belongs to in locks.h. Callable from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "store/base/files.h"
#include "store/keys.h"

namespace bygone::store {

struct CondemnedList {
  std::uint64_t generation = 0;  // from 1; also the name of the file
  std::vector<PackId> packs;     // none: the list is done with, and only keeps its number
  friend bool operator==(const CondemnedList&, const CondemnedList&) = default;
};

using PackSet = std::unordered_set<PackId, IdHash>;

[[nodiscard]] Bytes encode_condemned(const CondemnedList& list);
// Errors: corrupt for bytes that do not decode; unsupported for a newer version.
[[nodiscard]] Result<CondemnedList> decode_condemned(ByteView data);

// The generation that a file is named after: decimal, no leading zero but in "0"; nothing else.
[[nodiscard]] std::optional<std::uint64_t> generation_number(const std::string& name);
// The numbers in `condemned/` of the repository at `path`, ascending; other names are not ours.
[[nodiscard]] Result<std::vector<std::uint64_t>> condemned_generations(Files& files,
                                                                       const std::string& path);

// The content of a list's file, proven to be that of `generation`. Errors: corrupt, also when it
// was sealed for another number; unsupported.
[[nodiscard]] Result<CondemnedList> unseal_condemned(const KeyRing& keys, std::uint64_t generation,
                                                     ByteView sealed);
// Errors: not_found when there is no such list (any more); corrupt, also when the list was sealed
// for another number; unsupported; io.
[[nodiscard]] Result<CondemnedList> read_condemned(Files& files, const KeyRing& keys,
                                                   const std::string& path,
                                                   std::uint64_t generation);
// The file of a list.
[[nodiscard]] Bytes seal_condemned(const KeyRing& keys, const CondemnedList& list);
// Durable when it returns; replaces the list of that number.
[[nodiscard]] Result<void> write_condemned(Files& files, const KeyRing& keys,
                                           const std::string& path, const CondemnedList& list);

// Whether a list that could not be read is lost: it does not prove itself, or stands where the disk
// cannot read. Then it names nobody knows what, and is never as good as empty for a session; any
// other failure may pass, or is that of a later version.
[[nodiscard]] bool is_lost_list(const Error& error);

// The packs of all lists together. A list that another process removes meanwhile is done with: its
// packs are deleted or stand again, as a listing of `packs/` taken afterwards tells.
// Errors: corrupt or unsupported when a list cannot be understood; io.
[[nodiscard]] Result<PackSet> condemned_packs(Files& files, const KeyRing& keys,
                                              const std::string& path);

}  // namespace bygone::store
