// SPDX-License-Identifier: Apache-2.0
#include "store/pack_writer.h"

#include <fcntl.h>

#include "store/base/codec.h"
#include "store/compress.h"
#include "store/temp_file.h"

namespace bygone::store {
namespace {

constexpr std::uint64_t kWritebackStep = 4u << 20;

}  // namespace

Result<std::unique_ptr<PackWriter>> PackWriter::create(Files& files, const KeyRing& keys,
                                                       const std::string& repository,
                                                       ChunkKind kind) {
  const PackHeader header{.kind = kind,
                          .epoch = keys.newest_epoch(),
                          .repository = keys.repository(),
                          .pack = random_id<PackId>()};
  SecretBytes key = TRY(keys.pack_key(kind, header.epoch, header.pack));
  std::unique_ptr<PackWriter> writer(new PackWriter(files, repository, header, std::move(key)));
  auto temp = TRY(TempFile::create(files, repository + "/tmp", "pack-" + header.pack.hex()));
  writer->tmp_path_ = temp.path();
  writer->fd_ = std::make_shared<const Fd>(temp.release());
  TRY(files.write_at(*writer->fd_, encode_pack_header(header), 0));
  return writer;
}

PackWriter::~PackWriter() {
  if (!finished_ && fd_) {
    ignore(files_.remove(tmp_path_), "the next session cleans tmp/");
  }
}

std::uint64_t PackWriter::size_bytes() const {
  const std::lock_guard lock(mutex_);
  return end_;
}

std::uint32_t PackWriter::reserve(Record& record) {
  const std::lock_guard lock(mutex_);
  record.offset = end_;
  end_ = align_record(end_ + record.pack_bytes());
  records_.push_back(record);
  return static_cast<std::uint32_t>(records_.size() - 1);
}

Record PackWriter::record(std::uint32_t slot) const {
  const std::lock_guard lock(mutex_);
  return records_[slot];
}

Result<void> PackWriter::no_failure() const {
  const std::lock_guard lock(mutex_);
  return failure_ ? Result<void>(*failure_) : Result<void>();
}

Result<void> PackWriter::keep_failure(Result<void> result) {
  if (result) return result;
  const std::lock_guard lock(mutex_);
  if (!failure_) failure_ = result.error();
  return result;
}

Result<void> PackWriter::write(const Record& record, ByteView stored) {
  TRY(no_failure());
  return keep_failure(write_record(record, stored));
}

Result<void> PackWriter::write_record(const Record& record, ByteView stored) {
  const auto head = encode_head(record);
  Bytes sealed(record.pack_bytes());
  const MutableByteView view(sealed);
  seal(key_, offset_nonce(record.offset), pack_associated(header_, 'h'), head,
       view.first(kSealedHeadBytes));
  seal(key_, offset_nonce(record.offset + kSealedHeadBytes), pack_associated(header_, 'b', head),
       stored, view.subspan(kSealedHeadBytes));
  TRY(files_.write_at(*fd_, sealed, record.offset));

  // Begin writeback as we go, so that the fdatasync at the end finds little to do. A hint: where
  // it falls between records written side by side does not matter.
  std::uint64_t from = 0;
  {
    const std::lock_guard lock(mutex_);
    if (record.offset < writeback_ + kWritebackStep) return {};
    from = std::exchange(writeback_, record.offset);
  }
  files_.start_writeback(*fd_, from, record.offset - from);
  return {};
}

Result<Bytes> read_stored(Files& files, const Fd& fd, const SecretBytes& key,
                          const PackHeader& header, const Record& record) {
  Bytes sealed(record.pack_bytes());
  const std::string name = "chunk " + record.id.hex() + " in pack " + header.pack.hex();
  auto got = files.read_at(fd, sealed, record.offset);
  if (!got) return std::move(got).error().with(name);
  const auto damaged = [&](const char* what) { return Error{Code::corrupt, 0, name + " " + what}; };
  if (*got != sealed.size()) return damaged("is cut off");
  std::array<std::uint8_t, kRecordHeadBytes> head{};
  const ByteView view(sealed);
  if (!unseal(key, offset_nonce(record.offset), pack_associated(header, 'h'),
              view.first(kSealedHeadBytes), head)) {
    return damaged("is damaged (head)");
  }
  Record found = TRY(decode_head(head));
  found.offset = record.offset;
  if (found != record) return damaged("is not what the pack's footer says");
  Bytes stored(record.stored_size);
  if (!unseal(key, offset_nonce(record.offset + kSealedHeadBytes),
              pack_associated(header, 'b', head), view.subspan(kSealedHeadBytes), stored)) {
    return damaged("is damaged (body)");
  }
  return stored;
}

Result<Bytes> read_record(Files& files, const Fd& fd, const SecretBytes& key,
                          const PackHeader& header, const Record& record, ByteView base) {
  Bytes stored = TRY(read_stored(files, fd, key, header, record));
  if (record.codec == kCodecRaw) return stored;
  auto raw = decompress(record.codec, stored, record.raw_size, base);
  if (!raw) {
    return Error{
        Code::corrupt, 0,
        "chunk " + record.id.hex() + " in pack " + header.pack.hex() + " does not decompress"};
  }
  return raw;
}

Result<Bytes> PackWriter::read(std::uint32_t slot, ByteView base) const {
  std::shared_ptr<const Fd> fd;
  {
    const std::lock_guard lock(mutex_);
    fd = fd_;
  }
  if (!fd) {
    const std::string path = pack_path(repository_, header_.pack);
    fd = std::make_shared<const Fd>(TRY(files_.open(path, O_RDONLY, 0)));
  }
  return read_record(files_, *fd, key_, header_, record(slot), base);
}

Result<void> PackWriter::write_sealed(std::uint64_t offset, char piece, ByteView plain) {
  Bytes sealed(plain.size() + kTagBytes);
  seal(key_, offset_nonce(offset), pack_associated(header_, piece), plain, sealed);
  return files_.write_at(*fd_, sealed, offset);
}

Result<void> PackWriter::finish() {
  TRY(no_failure());
  return keep_failure(write_end());
}

Result<void> PackWriter::write_end() {
  const Bytes table = encode_record_table(records_);
  Writer section;
  section.u16(kSectionRecords);
  section.u16(0);
  section.u32(static_cast<std::uint32_t>(table.size()));
  const std::uint64_t footer = end_;
  const std::uint64_t content = footer + section.size() + kTagBytes;
  const std::uint64_t footer_end = content + table.size() + kTagBytes;
  TRY(write_sealed(footer, 's', section.buffer()));
  TRY(write_sealed(content, 'c', table));

  const std::uint64_t size =
      std::max(padded_size(footer_end + kSealedTrailerBytes), footer_end + kSealedTrailerBytes);
  const std::uint64_t trailer = size - kSealedTrailerBytes;
  Bytes padding(trailer - footer_end);
  fill_random(padding);
  TRY(files_.write_at(*fd_, padding, footer_end));
  TRY(write_sealed(trailer, 't',
                   encode_trailer({.footer_offset = footer,
                                   .footer_size = footer_end - footer,
                                   .records = static_cast<std::uint32_t>(records_.size())})));
  TRY(files_.sync_data(*fd_));
  TRY(files_.rename(tmp_path_, pack_path(repository_, header_.pack)));
  finished_ = true;
  const std::lock_guard lock(mutex_);
  fd_.reset();
  return {};
}

}  // namespace bygone::store
