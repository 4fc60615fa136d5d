// SPDX-License-Identifier: Apache-2.0
#include "store/pack_reader.h"

#include <fcntl.h>

#include "store/base/codec.h"
#include "store/pack_writer.h"

namespace bygone::store {

Result<std::shared_ptr<const PackReader>> PackReader::open(Files& files, const KeyRing& keys,
                                                           const std::string& repository,
                                                           const PackId& pack) {
  const std::string path = pack_path(repository, pack);
  Fd fd = TRY(files.open(path, O_RDONLY, 0));
  const FileInfo info = TRY(files.info(fd));
  const auto damaged = [&](const std::string& what) {
    return Error{Code::corrupt, 0, "pack " + path + ": " + what};
  };
  if (info.size < kPackHeaderBytes + kSealedTrailerBytes) return damaged("cut off");
  Bytes head(kPackHeaderBytes);
  TRY(files.read_at(fd, head, 0));
  auto header = decode_pack_header(head);
  if (!header) return std::move(header).error().with("pack " + path);
  if (header->pack != pack || header->repository != keys.repository()) {
    return damaged("belongs elsewhere: the id in it is another one");
  }
  return open_file(files, keys, path, std::move(fd), info.size, *header);
}

Result<std::shared_ptr<const PackReader>> PackReader::open_as(Files& files, const KeyRing& keys,
                                                              const std::string& repository,
                                                              const PackHeader& header) {
  const std::string path = pack_path(repository, header.pack);
  Fd fd = TRY(files.open(path, O_RDONLY, 0));
  const std::uint64_t size = TRY(files.info(fd))
  .size;
  if (size < kPackHeaderBytes + kSealedTrailerBytes) {
    return Error{Code::corrupt, 0, "pack " + path + ": cut off"};
  }
  return open_file(files, keys, path, std::move(fd), size, header);
}

Result<std::shared_ptr<const PackReader>> PackReader::open_file(Files& files, const KeyRing& keys,
                                                                const std::string& path, Fd fd,
                                                                std::uint64_t size,
                                                                const PackHeader& header) {
  SecretBytes key = TRY(keys.pack_key(header.kind, header.epoch, header.pack));
  std::shared_ptr<PackReader> reader(new PackReader(files, std::move(fd), header, std::move(key)));
  reader->size_ = size;
  auto footer = reader->read_footer();
  if (!footer) return std::move(footer).error().with("pack " + path);
  return std::shared_ptr<const PackReader>(std::move(reader));
}

Result<bool> PackReader::is_removed() const {
  return TRY(files_.info(fd_))
  .links == 0;
}

Result<Bytes> PackReader::read_sealed(std::uint64_t offset, std::uint64_t sealed_size,
                                      char piece) const {
  Bytes sealed(sealed_size);
  if (TRY(files_.read_at(fd_, sealed, offset)) != sealed_size) {
    return Error{Code::corrupt, 0, "cut off"};
  }
  Bytes plain(sealed_size - kTagBytes);
  if (!unseal(key_, offset_nonce(offset), pack_associated(header_, piece), sealed, plain)) {
    return Error{Code::corrupt, 0, piece == 't' ? "trailer damaged" : "footer damaged"};
  }
  return plain;
}

Result<void> PackReader::read_footer() {
  const Bytes plain_trailer =
      TRY(read_sealed(size_ - kSealedTrailerBytes, kSealedTrailerBytes, 't'));
  const PackTrailer trailer = TRY(decode_trailer(plain_trailer));
  const std::uint64_t limit = size_ - kSealedTrailerBytes;
  if (trailer.footer_offset > limit || trailer.footer_size > limit - trailer.footer_offset) {
    return Error{Code::corrupt, 0, "a footer outside the pack"};
  }
  constexpr std::size_t kSectionHead = 8 + kTagBytes;
  std::uint64_t at = trailer.footer_offset;
  const std::uint64_t end = at + trailer.footer_size;
  bool found = false;
  while (at < end) {
    if (end - at < kSectionHead) return Error{Code::corrupt, 0, "footer damaged"};
    const Bytes head = TRY(read_sealed(at, kSectionHead, 's'));
    Reader r(head);
    const std::uint16_t tag = TRY(r.u16());
    TRY(r.u16());
    const std::uint64_t size = TRY(r.u32())
    +kTagBytes;
    if (size > end - at - kSectionHead) return Error{Code::corrupt, 0, "footer damaged"};
    if (tag == kSectionRecords) {
      const Bytes table = TRY(read_sealed(at + kSectionHead, size, 'c'));
      records_ = TRY(decode_record_table(table, trailer.footer_offset));
      found = true;
    }
    at += kSectionHead + size;
  }
  if (!found || records_.size() != trailer.records) {
    return Error{Code::corrupt, 0, "a footer without its record table"};
  }
  return {};
}

Result<void> PackReader::check(std::uint32_t slot) const {
  if (slot < records_.size()) return {};
  return Error{Code::corrupt, 0,
               "pack " + header_.pack.hex() + " has no slot " + std::to_string(slot)};
}

Result<Bytes> PackReader::read(std::uint32_t slot, ByteView base) const {
  TRY(check(slot));
  return read_record(files_, fd_, key_, header_, records_[slot], base);
}

Result<Bytes> PackReader::read_stored(std::uint32_t slot) const {
  TRY(check(slot));
  return store::read_stored(files_, fd_, key_, header_, records_[slot]);
}

}  // namespace bygone::store
