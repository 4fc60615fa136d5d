// SPDX-License-Identifier: Apache-2.0
//
// Reads what can still be read of one pack, whatever part of it is damaged (FORMAT.md section 6.2):
// a lost header is derived from the pack's name, a lost footer from the heads of the records, a
// lost head from the footer. Slow where there is damage, and only for repair: pack_reader.h is what
// everybody else reads with. Changes nothing. Immutable once open; callable from any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "store/base/files.h"
#include "store/record.h"

namespace bygone::store {

class Salvage {
 public:
  // Errors: not_found when there is no such pack; unsupported or denied when nothing in it proves
  // itself and its header names a newer version or an epoch whose key is not here; io. A pack of
  // which nothing is left opens, without records.
  static Result<std::unique_ptr<Salvage>> open(Files& files, const KeyRing& keys,
                                               const std::string& repository, const PackId& pack);

  [[nodiscard]] ChunkKind kind() const { return header_.kind; }
  // What is wrong with the pack as such; empty when header and footer are as they should be.
  [[nodiscard]] const std::string& fault() const { return fault_; }
  // Whether records() are all that the pack ever had: by its footer, or because they and their
  // heads stand without a gap up to where the footer begins.
  [[nodiscard]] bool is_complete() const { return complete_; }
  // By their offsets. Their bodies are proven when they are read.
  [[nodiscard]] const std::vector<Record>& records() const { return records_; }

  // The bytes of a record as they were stored, proven but still encoded. Errors: corrupt, io.
  Result<Bytes> read_stored(const Record& record) const;
  // The decoded record, proven by its id. `base`: the decoded base of a delta, else empty.
  // Errors: corrupt.
  Result<Bytes> decode(const Record& record, ByteView stored, ByteView base) const;
  // Whether the record's head still proves itself: a reader needs it, this class does not.
  Result<bool> head_is_sound(const Record& record) const;

 private:
  Salvage(Files& files, const KeyRing& keys, Fd fd)
      : files_(files), keys_(keys), fd_(std::move(fd)) {}
  Result<bool> read_by_footer(const std::string& repository, const PackHeader& header);
  Result<bool> walk_heads(const PackHeader& header);
  bool is_section_head(std::uint64_t offset, const SecretBytes& key,
                       const PackHeader& header) const;

  Files& files_;
  const KeyRing& keys_;
  Fd fd_;
  std::uint64_t size_ = 0;
  PackHeader header_;
  SecretBytes key_{kKeyBytes};
  std::vector<Record> records_;
  std::string fault_;
  bool complete_ = false;
};

}  // namespace bygone::store
