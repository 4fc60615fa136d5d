// SPDX-License-Identifier: Apache-2.0
#include "store/keys.h"

#include "store/base/codec.h"
#include "store/format.h"

namespace bygone::store {
namespace {

constexpr std::size_t kSaltBytes = 16;

Error damaged_slot(const std::string& name) {
  return Error{Code::corrupt, 0, "key slot " + name + " is damaged"};
}

Bytes object_associated(const RepositoryId& repository, ObjectKind kind,
                        std::string_view file_name) {
  Writer w;
  w.bytes(repository.view());
  w.u8(static_cast<std::uint8_t>(kind));
  w.bytes(as_bytes(file_name));
  return w.take();
}

Result<SecretBytes> wrapping_key(const Secret& secret, ByteView salt, const Argon2Limits& limits) {
  if (secret.kind == Secret::Kind::key_file) return hash_key_file(secret.bytes, salt);
  return stretch(secret.bytes, salt, limits);
}

}  // namespace

KeyRing::KeyRing(const RepositoryId& repository, SecretBytes root,
                 std::map<std::uint32_t, SecretBytes> masters)
    : repository_(repository),
      root_(std::move(root)),
      masters_(std::move(masters)),
      chunk_key_(derive(root_, kSubkeyChunkIds)),
      name_key_(derive(root_, kSubkeyNames, 16)),
      inode_key_(derive(root_, kSubkeyInodes, 16)),
      tag_key_(derive(root_, kSubkeyTags)),
      config_key_(derive(root_, kSubkeyConfig)),
      snapshot_id_key_(derive(root_, kSubkeySnapshotIds)),
      gear_(std::make_unique<std::array<std::uint64_t, 256>>()) {
  for (const auto& [number, master] : masters_) {
    epochs_.emplace(number, Epoch{.data = derive(master, kSubkeyDataPacks),
                                  .page = derive(master, kSubkeyPagePacks),
                                  .snapshot = derive(master, kSubkeySnapshots),
                                  .note = derive(master, kSubkeyNotes),
                                  .list = derive(master, kSubkeyLists)});
  }
  SecretBytes words(256 * 8);
  expand(derive(root_, kSubkeyChunker), words.mutable_view());
  for (std::size_t i = 0; i < 256; ++i) {
    std::uint64_t word = 0;
    for (std::size_t b = 0; b < 8; ++b) word |= std::uint64_t{words.view()[8 * i + b]} << (8 * b);
    (*gear_)[i] = word;
  }
}

std::unique_ptr<KeyRing> KeyRing::generate(const RepositoryId& repository) {
  std::map<std::uint32_t, SecretBytes> masters;
  masters.emplace(1, SecretBytes::random(kKeyBytes));
  return std::unique_ptr<KeyRing>(
      new KeyRing(repository, SecretBytes::random(kKeyBytes), std::move(masters)));
}

Result<Bytes> KeyRing::wrap(const Secret& secret, const std::string& slot_name,
                            const Argon2Limits& limits) const {
  std::array<std::uint8_t, kSaltBytes> salt{};
  Nonce nonce{};
  fill_random(salt);
  fill_random(nonce);
  Writer head;
  head.bytes(as_bytes(kSlotMagic));
  head.u8(static_cast<std::uint8_t>(secret.kind));
  head.bytes(salt);
  head.u32(limits.operations);
  head.u64(limits.memory_bytes);
  head.bytes(nonce);

  SecretBytes plain(kKeyBytes + 2 + masters_.size() * (4 + kKeyBytes));
  std::uint8_t* at = plain.mutable_view().data();
  const auto put = [&at](ByteView bytes) { at = std::copy(bytes.begin(), bytes.end(), at); };
  const auto put_number = [&put](std::uint64_t v, std::size_t n) {
    std::array<std::uint8_t, 8> raw{};
    for (std::size_t i = 0; i < n; ++i) raw[i] = static_cast<std::uint8_t>(v >> (8 * i));
    put(ByteView(raw).first(n));
  };
  put(root_.view());
  put_number(masters_.size(), 2);
  for (const auto& [number, master] : masters_) {
    put_number(number, 4);
    put(master.view());
  }

  const SecretBytes key = TRY(wrapping_key(secret, salt, limits));
  Bytes associated(repository_.bytes.begin(), repository_.bytes.end());
  associated.insert(associated.end(), slot_name.begin(), slot_name.end());
  associated.insert(associated.end(), head.buffer().begin(), head.buffer().end());
  Bytes slot = head.take();
  const std::size_t begin = slot.size();
  slot.resize(begin + plain.size() + kTagBytes);
  seal(key, nonce, associated, plain.view(), MutableByteView(slot).subspan(begin));
  return slot;
}

Result<std::unique_ptr<KeyRing>> KeyRing::unwrap(const RepositoryId& repository,
                                                 const Secret& secret, const std::string& slot_name,
                                                 ByteView slot) {
  Reader r(slot);
  auto magic = r.bytes(8);
  if (!magic || as_text(*magic) != kSlotMagic) return damaged_slot(slot_name);
  const std::uint8_t kind = TRY(r.u8());
  const ByteView salt = TRY(r.bytes(kSaltBytes));
  const Argon2Limits limits {
    .operations = TRY(r.u32())
    , .memory_bytes = TRY(r.u64())
  };
  const ByteView nonce_bytes = TRY(r.bytes(kNonceBytes));
  const std::size_t head_size = slot.size() - r.remaining();
  const ByteView sealed = TRY(r.bytes(r.remaining()));
  if (kind > 1) return Error{Code::unsupported, 0, "key slot " + slot_name + " is of a newer kind"};
  if (kind != static_cast<std::uint8_t>(secret.kind)) {
    return Error{Code::denied, 0, "key slot " + slot_name + " is for another kind of secret"};
  }
  if (limits.operations > kMaxArgonOperations || limits.memory_bytes > kMaxArgonMemory ||
      sealed.size() < kTagBytes + kKeyBytes + 2) {
    return damaged_slot(slot_name);
  }
  const SecretBytes key = TRY(wrapping_key(secret, salt, limits));
  Bytes associated(repository.bytes.begin(), repository.bytes.end());
  associated.insert(associated.end(), slot_name.begin(), slot_name.end());
  associated.insert(associated.end(), slot.begin(),
                    slot.begin() + static_cast<std::ptrdiff_t>(head_size));
  Nonce nonce{};
  std::copy(nonce_bytes.begin(), nonce_bytes.end(), nonce.begin());
  SecretBytes plain(sealed.size() - kTagBytes);
  if (!unseal(key, nonce, associated, sealed, plain.mutable_view())) {
    return Error{Code::denied, 0, "key slot " + slot_name + " does not open with this secret"};
  }

  Reader content(plain.view());
  SecretBytes root = SecretBytes::copy_of(TRY(content.bytes(kKeyBytes)));
  const std::uint16_t count = TRY(content.u16());
  if (count == 0 || count > kMaxEpochs) return damaged_slot(slot_name);
  std::map<std::uint32_t, SecretBytes> masters;
  for (std::uint16_t i = 0; i < count; ++i) {
    const std::uint32_t number = TRY(content.u32());
    masters.emplace(number, SecretBytes::copy_of(TRY(content.bytes(kKeyBytes))));
  }
  TRY(content.finish());
  return std::unique_ptr<KeyRing>(new KeyRing(repository, std::move(root), std::move(masters)));
}

ChunkId KeyRing::chunk_id(ChunkKind kind, ByteView bytes) const {
  ChunkId id;
  keyed_hash(chunk_key_, kind == ChunkKind::data ? "bygone.data" : "bygone.page", {bytes},
             id.bytes);
  return id;
}

std::array<std::uint8_t, 16> KeyRing::name_tag(std::string_view what, ByteView data) const {
  std::array<std::uint8_t, 16> tag{};
  keyed_hash(tag_key_, what, {data}, tag);
  return tag;
}

std::array<std::uint8_t, 32> KeyRing::config_mac(ByteView config) const {
  std::array<std::uint8_t, 32> mac{};
  keyed_hash(config_key_, "bygone.config", {config}, mac);
  return mac;
}

SnapshotId KeyRing::snapshot_id(ByteView encoded) const {
  SnapshotId id;
  keyed_hash(snapshot_id_key_, "bygone.snapshot", {encoded}, id.bytes);
  return id;
}

NoteId KeyRing::note_id(ByteView encoded) const {
  NoteId id;
  keyed_hash(snapshot_id_key_, "bygone.note", {encoded}, id.bytes);
  return id;
}

Result<SecretBytes> KeyRing::pack_key(ChunkKind kind, std::uint32_t epoch,
                                      const PackId& pack) const {
  const auto found = epochs_.find(epoch);
  if (found == epochs_.end()) {
    return Error{Code::denied, 0,
                 "pack " + pack.hex() + " needs key epoch " + std::to_string(epoch) +
                     ", which this key slot does not hold"};
  }
  SecretBytes key(kKeyBytes);
  keyed_hash(kind == ChunkKind::data ? found->second.data : found->second.page, "bygone.pack",
             {pack.view()}, key.mutable_view());
  return key;
}

const SecretBytes* KeyRing::object_key(ObjectKind kind, std::uint32_t epoch) const {
  const auto found = epochs_.find(epoch);
  if (found == epochs_.end()) return nullptr;
  switch (kind) {
    case ObjectKind::snapshot:
      return &found->second.snapshot;
    case ObjectKind::note:
      return &found->second.note;
    case ObjectKind::list:
      return &found->second.list;
  }
  return nullptr;
}

Bytes KeyRing::seal_object(ObjectKind kind, std::string_view file_name, ByteView content) const {
  Nonce nonce{};
  fill_random(nonce);
  Writer plain;
  plain.u32(static_cast<std::uint32_t>(content.size()));
  plain.bytes(content);
  plain.zeros((kObjectPad - (plain.size() + kTagBytes) % kObjectPad) % kObjectPad);
  Writer out;
  out.u32(newest_epoch());
  out.bytes(nonce);
  const std::size_t begin = out.size();
  Bytes sealed = out.take();
  sealed.resize(begin + plain.size() + kTagBytes);
  seal(*object_key(kind, newest_epoch()), nonce, object_associated(repository_, kind, file_name),
       plain.buffer(), MutableByteView(sealed).subspan(begin));
  return sealed;
}

Result<Bytes> KeyRing::unseal_object(ObjectKind kind, std::string_view file_name,
                                     ByteView sealed) const {
  const std::string label = "sealed object " + std::string(file_name);
  Reader r(sealed);
  const std::uint32_t epoch = TRY(r.u32());
  const ByteView nonce_bytes = TRY(r.bytes(kNonceBytes));
  const ByteView body = TRY(r.bytes(r.remaining()));
  const SecretBytes* key = object_key(kind, epoch);
  if (key == nullptr) {
    return Error{Code::corrupt, 0, label + " names an unknown key epoch"};
  }
  if (body.size() < kTagBytes + 4) return Error{Code::corrupt, 0, label + " is cut off"};
  Nonce nonce{};
  std::copy(nonce_bytes.begin(), nonce_bytes.end(), nonce.begin());
  Bytes plain(body.size() - kTagBytes);
  if (!unseal(*key, nonce, object_associated(repository_, kind, file_name), body, plain)) {
    return Error{Code::corrupt, 0, label + " does not prove itself: it was damaged or replaced"};
  }
  Reader content(plain);
  const std::uint32_t size = TRY(content.u32());
  const ByteView bytes = TRY(content.bytes(size));
  return Bytes(bytes.begin(), bytes.end());
}

}  // namespace bygone::store
