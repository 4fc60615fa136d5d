// SPDX-License-Identifier: Apache-2.0
#include "tests/scale/hollow_packs.h"

#include <chrono>
#include <fstream>
#include <stdexcept>

#include <fcntl.h>

#include "store/base/codec.h"
#include "tests/support/expect.h"

namespace bygone::test {
namespace {

// splitmix64: a bijection, so that no two numbers share an id.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

std::uint64_t bytes_written() {
  std::ifstream io("/proc/self/io");
  std::string name;
  std::uint64_t value = 0;
  while (io >> name >> value) {
    if (name == "wchar:") return value;
  }
  throw std::runtime_error("/proc/self/io does not tell what was written");
}

// The bytes of one pack apart from its records.
class PackFile {
 public:
  PackFile(store::Repository& repository, const store::PackHeader& header)
      : files_(repository.files()),
        header_(header),
        key_(value_of(repository.keys().pack_key(header.kind, header.epoch, header.pack))),
        fd_(value_of(files_.open(store::pack_path(repository.path(), header.pack),
                                 O_RDWR | O_CREAT | O_EXCL, 0600))) {
    value_of(files_.write_at(fd_, encode_pack_header(header), 0));
  }

  void write_sealed(std::uint64_t offset, char piece, ByteView plain) {
    Bytes sealed(plain.size() + store::kTagBytes);
    seal(key_, store::offset_nonce(offset), pack_associated(header_, piece), plain, sealed);
    value_of(files_.write_at(fd_, sealed, offset));
  }

 private:
  Files& files_;
  store::PackHeader header_;
  store::SecretBytes key_;
  Fd fd_;
};

}  // namespace

ChunkId synthetic_id(std::uint64_t number) {
  Writer w;
  for (std::uint64_t part = 0; part < 4; ++part) w.u64(mix(number * 4 + part));
  return ChunkId::from(w.buffer());
}

IndexCost& IndexCost::operator+=(const IndexCost& other) {
  rows += other.rows;
  commits += other.commits;
  bytes += other.bytes;
  seconds += other.seconds;
  return *this;
}

double IndexCost::bytes_a_row() const {
  return rows == 0 ? 0 : static_cast<double>(bytes) / static_cast<double>(rows);
}

IndexCost insert_measured(store::Index& index, const std::vector<store::PackContents>& packs) {
  IndexCost cost{.commits = 1};
  for (const store::PackContents& pack : packs) cost.rows += pack.chunks.size();
  const std::uint64_t before = bytes_written();
  const auto begin = std::chrono::steady_clock::now();
  value_of(index.insert(packs));
  cost.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  cost.bytes = bytes_written() - before;
  return cost;
}

void HollowPacks::add(store::Record record) {
  record.offset = end_;
  end_ = store::align_record(end_ + record.pack_bytes());
  open_.push_back(std::move(record));
  if (end_ < store::kPackTarget) return;
  close_pack();
  if (waiting_rows_ >= kBatch) insert();
}

void HollowPacks::close_pack() {
  if (open_.empty()) return;
  const store::PackHeader header{.kind = store::ChunkKind::data,
                                 .epoch = repository_.keys().newest_epoch(),
                                 .repository = repository_.id(),
                                 .pack = store::random_id<PackId>()};
  PackFile file(repository_, header);
  const Bytes table = encode_record_table(open_);
  Writer section;
  section.u16(store::kSectionRecords);
  section.u16(0);
  section.u32(static_cast<std::uint32_t>(table.size()));
  const std::uint64_t content = end_ + section.size() + store::kTagBytes;
  const std::uint64_t footer_end = content + table.size() + store::kTagBytes;
  file.write_sealed(end_, 's', section.buffer());
  file.write_sealed(content, 'c', table);
  const std::uint64_t whole = footer_end + store::kSealedTrailerBytes;
  const std::uint64_t size = std::max(store::padded_size(whole), whole);
  file.write_sealed(size - store::kSealedTrailerBytes, 't',
                    store::encode_trailer({.footer_offset = end_,
                                           .footer_size = footer_end - end_,
                                           .records = static_cast<std::uint32_t>(open_.size())}));
  store::PackContents contents{.pack = header.pack, .chunks = {}};
  for (const store::Record& record : open_) contents.chunks.push_back(record.id);
  waiting_rows_ += open_.size();
  waiting_.push_back(std::move(contents));
  ++packs_;
  open_.clear();
  end_ = store::kPackHeaderBytes;
}

void HollowPacks::insert() {
  if (waiting_.empty()) return;
  cost_ += insert_measured(repository_.index(), waiting_);
  waiting_.clear();
  waiting_rows_ = 0;
}

void HollowPacks::flush() {
  close_pack();
  insert();
}

}  // namespace bygone::test
