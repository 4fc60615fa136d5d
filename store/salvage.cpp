// SPDX-License-Identifier: Apache-2.0
#include "store/salvage.h"

#include <cerrno>

#include <fcntl.h>

#include "store/compress.h"
#include "store/pack_reader.h"

namespace bygone::store {
namespace {

constexpr std::size_t kWindow = std::size_t{4} << 20;
constexpr std::size_t kSector = 4096;
constexpr std::size_t kSealedSectionHead = 8 + kTagBytes;

// A sector that the disk cannot read is damage like any other.
bool is_unreadable(const Error& error) { return error.errnum == EIO; }

// The bytes of a file by offset, read a window at a time. What the disk cannot read is zeros.
class Window {
 public:
  Window(Files& files, const Fd& fd) : files_(files), fd_(fd) {}

  // `size` bytes at `offset`, fewer at the end of the file. Valid until the next call.
  Result<ByteView> at(std::uint64_t offset, std::size_t size) {
    if (offset < begin_ || offset + size > begin_ + bytes_.size()) {
      TRY(load(offset));
    }
    const auto all = ByteView(bytes_).subspan(std::min(offset - begin_, bytes_.size()));
    return all.first(std::min(size, all.size()));
  }

 private:
  Result<void> load(std::uint64_t offset) {
    bytes_.resize(window_);
    begin_ = offset / kSector * kSector;
    auto got = files_.read_at(fd_, bytes_, begin_);
    if (!got && is_unreadable(got.error()) && window_ == kWindow) {
      window_ = 2 * kSector;  // find out which sectors; what is asked for may straddle two
      return load(offset);
    }
    if (!got && is_unreadable(got.error())) {
      bytes_.assign(window_, 0);
      for (const std::uint64_t half : {std::uint64_t{0}, std::uint64_t{kSector}}) {
        const MutableByteView sector = MutableByteView(bytes_).subspan(half, kSector);
        const auto part = files_.read_at(fd_, sector, begin_ + half);
        if (!part && !is_unreadable(part.error())) return part.error();
      }
      return {};
    }
    bytes_.resize(TRY(std::move(got)));
    return {};
  }

  Files& files_;
  const Fd& fd_;
  std::size_t window_ = kWindow;
  Bytes bytes_;
  std::uint64_t begin_ = 0;
};

// What the header may have said: what it says now, and then all that it could have.
std::vector<PackHeader> candidates(const Result<PackHeader>& found, const KeyRing& keys,
                                   const PackId& pack) {
  std::vector<PackHeader> list;
  if (found && found->pack == pack && found->repository == keys.repository()) {
    list.push_back(*found);
  }
  for (std::uint32_t epoch = keys.newest_epoch(); epoch >= 1; --epoch) {
    for (const ChunkKind kind : {ChunkKind::data, ChunkKind::page}) {
      if (!list.empty() && list.front().kind == kind && list.front().epoch == epoch) continue;
      list.push_back({.kind = kind, .epoch = epoch, .repository = keys.repository(), .pack = pack});
    }
  }
  return list;
}

}  // namespace

Result<std::unique_ptr<Salvage>> Salvage::open(Files& files, const KeyRing& keys,
                                               const std::string& repository, const PackId& pack) {
  const std::string path = pack_path(repository, pack);
  Fd fd = TRY(files.open(path, O_RDONLY, 0));
  std::unique_ptr<Salvage> salvage(new Salvage(files, keys, std::move(fd)));
  salvage->size_ = TRY(files.info(salvage->fd_))
  .size;
  Bytes clear(kPackHeaderBytes);
  const auto got = files.read_at(salvage->fd_, clear, 0);
  if (!got && !is_unreadable(got.error())) return got.error();
  clear.resize(got ? *got : 0);
  const auto header = decode_pack_header(clear);
  const auto all = candidates(header, keys, pack);
  for (const PackHeader& each : all) {
    if (!TRY(salvage->read_by_footer(repository, each))) continue;
    salvage->complete_ = true;
    const bool as_written = header && *header == each;
    if (!as_written) salvage->fault_ = "its header is damaged";
    return salvage;
  }
  salvage->fault_ = "its footer cannot be read";
  for (const PackHeader& each : all) {
    if (TRY(salvage->walk_heads(each))) return salvage;
  }
  if (!header && header.error().code == Code::unsupported) {
    return Error(header.error()).with("pack " + path);
  }
  if (header && header->pack == pack && header->repository == keys.repository()) {
    const auto key = keys.pack_key(header->kind, header->epoch, pack);
    if (!key && needs_newer_key(key.error())) return key.error();
  }
  salvage->fault_ = "nothing in it can be read";
  return salvage;
}

Result<bool> Salvage::read_by_footer(const std::string& repository, const PackHeader& header) {
  auto key = keys_.pack_key(header.kind, header.epoch, header.pack);
  if (!key) return false;  // no such epoch
  auto reader = PackReader::open_as(files_, keys_, repository, header);
  if (!reader) {
    if (reader.error().code == Code::corrupt || is_unreadable(reader.error())) return false;
    return std::move(reader).error();
  }
  header_ = header;
  key_ = std::move(*key);
  records_ = (*reader)->records();
  return true;
}

// Record by record, and past damage by trial at every place where one may begin.
Result<bool> Salvage::walk_heads(const PackHeader& header) {
  auto key = keys_.pack_key(header.kind, header.epoch, header.pack);
  if (!key) return false;
  Window window(files_, fd_);
  const Bytes associated = pack_associated(header, 'h');
  std::array<std::uint8_t, kRecordHeadBytes> plain{};
  std::vector<Record> found;
  bool gaps = false;
  std::uint64_t at = kPackHeaderBytes;
  std::uint64_t end = at;  // of the last record
  while (at + kSealedHeadBytes <= size_) {
    const ByteView sealed = TRY(window.at(at, kSealedHeadBytes));
    if (sealed.size() < kSealedHeadBytes) break;
    if (unseal(*key, offset_nonce(at), associated, sealed, plain)) {
      auto record = decode_head(plain);
      if (record && record->pack_bytes() <= size_ - at) {
        record->offset = at;
        gaps = gaps || at != end;
        at = end = align_record(at + record->pack_bytes());
        found.push_back(*record);
        continue;
      }
    }
    at += kRecordAlign;
  }
  if (found.empty()) return false;
  complete_ = !gaps && is_section_head(end, *key, header);
  header_ = header;
  key_ = std::move(*key);
  records_ = std::move(found);
  return true;
}

bool Salvage::is_section_head(std::uint64_t offset, const SecretBytes& key,
                              const PackHeader& header) const {
  Bytes sealed(kSealedSectionHead);
  const auto got = files_.read_at(fd_, sealed, offset);
  if (!got || *got != sealed.size()) return false;
  std::array<std::uint8_t, kSealedSectionHead - kTagBytes> plain{};
  return unseal(key, offset_nonce(offset), pack_associated(header, 's'), sealed, plain);
}

Result<bool> Salvage::head_is_sound(const Record& record) const {
  Bytes sealed(kSealedHeadBytes);
  const auto got = files_.read_at(fd_, sealed, record.offset);
  if (!got && !is_unreadable(got.error())) return got.error();
  if (!got || *got != sealed.size()) return false;
  std::array<std::uint8_t, kRecordHeadBytes> plain{};
  return unseal(key_, offset_nonce(record.offset), pack_associated(header_, 'h'), sealed, plain) &&
         plain == encode_head(record);
}

Result<Bytes> Salvage::read_stored(const Record& record) const {
  Bytes sealed(std::size_t{record.stored_size} + kTagBytes);
  const std::uint64_t at = record.offset + kSealedHeadBytes;
  const auto damaged = [&](const char* what) {
    return Error{Code::corrupt, 0,
                 "chunk " + record.id.hex() + " in pack " + header_.pack.hex() + " " + what};
  };
  if (TRY(files_.read_at(fd_, sealed, at)) != sealed.size()) return damaged("is cut off");
  Bytes stored(record.stored_size);
  // The head that the body is bound to is known, even where its own bytes are damaged.
  if (!unseal(key_, offset_nonce(at), pack_associated(header_, 'b', encode_head(record)), sealed,
              stored)) {
    return damaged("is damaged (body)");
  }
  return stored;
}

Result<Bytes> Salvage::decode(const Record& record, ByteView stored, ByteView base) const {
  const auto damaged = [&](const char* what) {
    return Error{Code::corrupt, 0,
                 "chunk " + record.id.hex() + " in pack " + header_.pack.hex() + " " + what};
  };
  Bytes raw;
  if (record.codec == kCodecRaw) {
    raw.assign(stored.begin(), stored.end());
  } else {
    auto decoded = decompress(record.codec, stored, record.raw_size, base);
    if (!decoded) return damaged("does not decompress");
    raw = std::move(*decoded);
  }
  if (keys_.chunk_id(header_.kind, raw) != record.id) {
    return damaged("decodes to other bytes than its id names");
  }
  return raw;
}

}  // namespace bygone::store
