// SPDX-License-Identifier: Apache-2.0
//
// Writes one pack: records at reserved offsets, then footer, padding and trailer, then makes it
// durable under its name. Records may be added from several threads at once; finish() when all
// have returned. A pack that fails or is dropped stays in tmp/ under no name that counts, and its
// id is never used again: after the first error every write() and finish() fails with it.
// FORMAT.md section 6.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "store/base/files.h"
#include "store/record.h"

namespace bygone::store {

class PackWriter final : public RecordReader {
 public:
  // Opens a file in `tmp/` under an exclusive flock. `repository` is the repository's folder.
  static Result<std::unique_ptr<PackWriter>> create(Files& files, const KeyRing& keys,
                                                    const std::string& repository, ChunkKind kind);
  ~PackWriter() override;
  PackWriter(const PackWriter&) = delete;
  PackWriter& operator=(const PackWriter&) = delete;

  [[nodiscard]] const PackId& id() const { return header_.pack; }
  [[nodiscard]] ChunkKind kind() const { return header_.kind; }
  // Bytes reserved so far.
  [[nodiscard]] std::uint64_t size_bytes() const;

  // Reserves a place for a record whose sizes are final; sets `record.offset`, returns its slot.
  std::uint32_t reserve(Record& record);
  // Seals `stored` and writes it at the reserved place. Errors: io, no_space; the pack is lost.
  Result<void> write(const Record& record, ByteView stored);
  // The decoded record of a slot that was written, before or after finish(), which closes the file:
  // a long session has many finished packs. `base`: decoded base of a delta, else empty.
  Result<Bytes> read(std::uint32_t slot, ByteView base) const override;
  [[nodiscard]] Record record(std::uint32_t slot) const;

  // Footer, padding, trailer, fdatasync, rename into its bucket. The bucket folder is not synced:
  // the session does that once before it commits. Errors: as write().
  Result<void> finish();
  // After finish(): the records in slot order.
  [[nodiscard]] const std::vector<Record>& records() const { return records_; }

 private:
  PackWriter(Files& files, std::string repository, PackHeader header, SecretBytes key)
      : files_(files), repository_(std::move(repository)), header_(header), key_(std::move(key)) {}
  Result<void> write_record(const Record& record, ByteView stored);
  Result<void> write_sealed(std::uint64_t offset, char piece, ByteView plain);
  Result<void> write_end();
  // What the first error was, if there was one; keeps that of `result` when it is the first.
  Result<void> no_failure() const;
  Result<void> keep_failure(Result<void> result);

  Files& files_;
  std::string repository_;
  PackHeader header_;
  SecretBytes key_;
  std::string tmp_path_;
  std::shared_ptr<const Fd> fd_;  // read() may outlive finish(); guarded by mutex_ there
  mutable std::mutex mutex_;
  std::vector<Record> records_;
  std::uint64_t end_ = kPackHeaderBytes;
  std::uint64_t writeback_ = 0;
  std::optional<Error> failure_;  // guarded by mutex_
  bool finished_ = false;
};

// Reads and proves one record at its offset: its bytes as they were stored, still encoded.
// Errors: corrupt, io.
[[nodiscard]] Result<Bytes> read_stored(Files& files, const Fd& fd, const SecretBytes& key,
                                        const PackHeader& header, const Record& record);
// Reads and proves one record at its offset; decodes it. Shared with PackReader.
// Errors: corrupt, io.
[[nodiscard]] Result<Bytes> read_record(Files& files, const Fd& fd, const SecretBytes& key,
                                        const PackHeader& header, const Record& record,
                                        ByteView base);

}  // namespace bygone::store
