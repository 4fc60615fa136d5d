// SPDX-License-Identifier: Apache-2.0
//
// Reads one pack: proves its trailer and footer when it is opened, each record when it is read.
// Immutable once open; callable from any thread. FORMAT.md section 6.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "store/base/files.h"
#include "store/record.h"

namespace bygone::store {

class PackReader final : public RecordReader {
 public:
  // Errors: not_found when there is no such pack; corrupt when its header, trailer or footer does
  // not prove itself; unsupported; denied when its key epoch is not in `keys`; io.
  static Result<std::shared_ptr<const PackReader>> open(Files& files, const KeyRing& keys,
                                                        const std::string& repository,
                                                        const PackId& pack);
  // The same with this header, whatever stands in the file: its own may be damaged.
  static Result<std::shared_ptr<const PackReader>> open_as(Files& files, const KeyRing& keys,
                                                           const std::string& repository,
                                                           const PackHeader& header);

  [[nodiscard]] const PackId& id() const { return header_.pack; }
  [[nodiscard]] ChunkKind kind() const { return header_.kind; }
  [[nodiscard]] std::uint64_t size_bytes() const { return size_; }
  [[nodiscard]] const std::vector<Record>& records() const { return records_; }
  // Whether the file has no name any more: prune removed it. Errors: io.
  [[nodiscard]] Result<bool> is_removed() const;
  // The decoded record in a slot; `base` is the decoded base of a delta, else empty.
  // Errors: corrupt, io.
  Result<Bytes> read(std::uint32_t slot, ByteView base) const override;
  // The bytes of a slot as they were stored, proven but still encoded. Errors: as read().
  Result<Bytes> read_stored(std::uint32_t slot) const;

 private:
  PackReader(Files& files, Fd fd, PackHeader header, SecretBytes key)
      : files_(files), fd_(std::move(fd)), header_(header), key_(std::move(key)) {}
  static Result<std::shared_ptr<const PackReader>> open_file(Files& files, const KeyRing& keys,
                                                             const std::string& path, Fd fd,
                                                             std::uint64_t size,
                                                             const PackHeader& header);
  Result<Bytes> read_sealed(std::uint64_t offset, std::uint64_t sealed_size, char piece) const;
  Result<void> read_footer();
  Result<void> check(std::uint32_t slot) const;

  Files& files_;
  Fd fd_;
  PackHeader header_;
  SecretBytes key_;
  std::uint64_t size_ = 0;
  std::vector<Record> records_;
};

}  // namespace bygone::store
