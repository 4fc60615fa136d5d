// SPDX-License-Identifier: Apache-2.0
#include "store/keys.h"

#include <fmt/core.h>

#include "store/base/codec.h"
#include "store/format.h"

namespace bygone::store {
namespace {

constexpr std::size_t kSaltBytes = 16;

Error damaged_slot(const std::string& name) {
  return Error{Code::corrupt, 0, "key slot " + name + " is damaged"};
}

constexpr std::size_t kSealedLabelBytes = kNonceBytes + kLabelPlainBytes + kTagBytes;

// Of the root key and the master keys of so many epochs, sealed.
constexpr std::size_t wrapped_size(std::size_t epochs) {
  return kKeyBytes + 2 + epochs * (4 + kKeyBytes) + kTagBytes;
}

// What the head of a slot says, and where its parts lie.
struct SlotParts {
  SlotHead head;
  ByteView salt, nonce, clear, wrapped;
};

Result<SlotParts> split_slot(const std::string& name, ByteView slot) {
  const auto split = [&]() -> Result<SlotParts> {
    Reader r(slot);
    if (as_text(TRY(r.bytes(8))) != kSlotMagic) return damaged_slot(name);
    SlotParts parts;
    const std::uint8_t kind = TRY(r.u8());
    if (kind > 1) return Error{Code::unsupported, 0, "key slot " + name + " is of a newer kind"};
    parts.head.kind = static_cast<Secret::Kind>(kind);
    parts.salt = TRY(r.bytes(kSaltBytes));
    parts.head.limits.operations = TRY(r.u32());
    parts.head.limits.memory_bytes = TRY(r.u64());
    parts.head.newest_epoch = TRY(r.u32());
    parts.nonce = TRY(r.bytes(kNonceBytes));
    const std::uint16_t wrapped = TRY(r.u16());
    parts.clear = slot.first(slot.size() - r.remaining());
    parts.wrapped = TRY(r.bytes(wrapped));
    TRY(r.bytes(kSealedLabelBytes));
    TRY(r.finish());
    return parts;
  };
  auto parts = split();
  if (!parts && parts.error().code == Code::unsupported) return parts;
  // A bit that flipped in the epoch is noticed without the secret: a slot holds every epoch.
  if (!parts || parts->head.limits.operations > kMaxArgonOperations ||
      parts->head.limits.memory_bytes > kMaxArgonMemory || parts->head.newest_epoch == 0 ||
      parts->head.newest_epoch > kMaxEpochs ||
      parts->wrapped.size() != wrapped_size(parts->head.newest_epoch)) {
    return damaged_slot(name);
  }
  return parts;
}

Bytes slot_associated(const RepositoryId& repository, const std::string& slot_name, ByteView more) {
  Writer w;
  w.bytes(repository.view());
  w.bytes(as_bytes(slot_name));
  w.bytes(more);
  return w.take();
}

Nonce nonce_of(ByteView bytes) {
  Nonce nonce{};
  std::copy(bytes.begin(), bytes.end(), nonce.begin());
  return nonce;
}

// The label vouches for all that stands before it; those of old vouch for themselves alone.
Bytes label_associated(const RepositoryId& repository, const std::string& slot_name,
                       ByteView before) {
  Writer w;
  w.bytes(as_bytes("label"));
  w.bytes(before);
  return slot_associated(repository, slot_name, w.buffer());
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
      label_key_(derive(root_, kSubkeySlotLabels)),
      gear_(std::make_unique<std::array<std::uint64_t, 256>>()) {
  for (const auto& [number, master] : masters_) {
    epochs_.emplace(number, Epoch{.data = derive(master, kSubkeyDataPacks),
                                  .page = derive(master, kSubkeyPagePacks),
                                  .snapshot = derive(master, kSubkeySnapshots),
                                  .note = derive(master, kSubkeyNotes),
                                  .list = derive(master, kSubkeyLists)});
  }
  SecretBytes words(std::size_t{256} * 8);
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

Result<std::unique_ptr<KeyRing>> KeyRing::with_next_epoch() const {
  if (masters_.size() >= kMaxEpochs) {
    return Error{
        Code::invalid, 0,
        fmt::format("these keys were rotated {} times, which is the limit", kMaxEpochs - 1)};
  }
  std::map<std::uint32_t, SecretBytes> masters;
  for (const auto& [number, master] : masters_) {
    masters.emplace(number, SecretBytes::copy_of(master.view()));
  }
  masters.emplace(newest_epoch() + 1, SecretBytes::random(kKeyBytes));
  return std::unique_ptr<KeyRing>(
      new KeyRing(repository_, SecretBytes::copy_of(root_.view()), std::move(masters)));
}

// The root key and the master key of every epoch, as a slot wraps them.
SecretBytes KeyRing::encode() const {
  SecretBytes plain(wrapped_size(masters_.size()) - kTagBytes);
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
  return plain;
}

Result<Bytes> KeyRing::wrap(const Secret& secret, const std::string& slot_name,
                            const SlotLabel& label, const Argon2Limits& limits) const {
  if (label.text.size() > kMaxLabelBytes) {
    return Error{
        Code::invalid, 0,
        fmt::format("a label has at most {} bytes, not {}", kMaxLabelBytes, label.text.size())};
  }
  const SecretBytes plain = encode();
  std::array<std::uint8_t, kSaltBytes> salt{};
  Nonce nonce{};
  fill_random(salt);
  fill_random(nonce);
  Writer out;
  out.bytes(as_bytes(kSlotMagic));
  out.u8(static_cast<std::uint8_t>(secret.kind));
  out.bytes(salt);
  out.u32(limits.operations);
  out.u64(limits.memory_bytes);
  out.u32(newest_epoch());
  out.bytes(nonce);
  out.u16(static_cast<std::uint16_t>(plain.size() + kTagBytes));
  const SecretBytes key = TRY(wrapping_key(secret, salt, limits));
  Bytes wrapped(plain.size() + kTagBytes);
  seal(key, nonce, slot_associated(repository_, slot_name, out.buffer()), plain.view(), wrapped);
  out.bytes(wrapped);

  Writer text;
  text.u64(static_cast<std::uint64_t>(label.created));
  text.u8(static_cast<std::uint8_t>(label.text.size()));
  text.bytes(as_bytes(label.text));
  text.zeros(kLabelPlainBytes - text.size());
  fill_random(nonce);
  const Bytes associated = label_associated(repository_, slot_name, out.buffer());
  out.bytes(nonce);
  Bytes sealed(kLabelPlainBytes + kTagBytes);
  seal(label_key_, nonce, associated, text.buffer(), sealed);
  out.bytes(sealed);
  return out.take();
}

Result<SlotHead> KeyRing::read_head(const std::string& slot_name, ByteView slot) {
  return TRY(split_slot(slot_name, slot))
  .head;
}

Result<SlotLabel> KeyRing::label(const std::string& slot_name, ByteView slot) const {
  const auto open = [&]() -> Result<Bytes> {
    const Error damaged{Code::corrupt, 0,
                        "key slot " + slot_name + " is damaged, if only its label"};
    if (slot.size() < kSealedLabelBytes) return damaged;
    const ByteView before = slot.first(slot.size() - kSealedLabelBytes);
    const Nonce nonce = nonce_of(slot.subspan(before.size(), kNonceBytes));
    const ByteView sealed = slot.subspan(before.size() + kNonceBytes);
    Bytes plain(kLabelPlainBytes);
    for (const ByteView vouched : {before, ByteView()}) {
      const Bytes associated = label_associated(repository_, slot_name, vouched);
      if (unseal(label_key_, nonce, associated, sealed, plain)) return plain;
    }
    return damaged;
  };
  const Bytes plain = TRY(open());
  Reader r(plain);
  SlotLabel label;
  label.created = static_cast<Nanoseconds>(TRY(r.u64()));
  label.text = std::string(as_text(TRY(r.bytes(TRY(r.u8())))));
  return label;
}

Result<std::unique_ptr<KeyRing>> KeyRing::unwrap(const RepositoryId& repository,
                                                 const Secret& secret, const std::string& slot_name,
                                                 ByteView slot) {
  const SlotParts parts = TRY(split_slot(slot_name, slot));
  if (parts.head.kind != secret.kind) {
    return Error{Code::denied, 0, "key slot " + slot_name + " is for another kind of secret"};
  }
  const SecretBytes key = TRY(wrapping_key(secret, parts.salt, parts.head.limits));
  SecretBytes plain(parts.wrapped.size() - kTagBytes);
  if (!unseal(key, nonce_of(parts.nonce), slot_associated(repository, slot_name, parts.clear),
              parts.wrapped, plain.mutable_view())) {
    return Error{Code::denied, 0, "key slot " + slot_name + " does not open with this secret"};
  }
  Reader content(plain.view());
  SecretBytes root = SecretBytes::copy_of(TRY(content.bytes(kKeyBytes)));
  const std::uint16_t count = TRY(content.u16());
  if (count != parts.head.newest_epoch) return damaged_slot(slot_name);
  std::map<std::uint32_t, SecretBytes> masters;
  for (std::uint16_t i = 0; i < count; ++i) {
    const std::uint32_t number = TRY(content.u32());
    masters.emplace(number, SecretBytes::copy_of(TRY(content.bytes(kKeyBytes))));
  }
  TRY(content.finish());
  if (masters.size() != count || masters.begin()->first != 1 || masters.rbegin()->first != count) {
    return damaged_slot(slot_name);
  }
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
  if (found == epochs_.end()) return unknown_epoch("pack " + pack.hex(), epoch);
  SecretBytes key(kKeyBytes);
  keyed_hash(kind == ChunkKind::data ? found->second.data : found->second.page, "bygone.pack",
             {pack.view()}, key.mutable_view());
  return key;
}

// Slots are made before anything is sealed under their epoch. So an epoch that none of them names
// is a bit that flipped, or a forgery.
Error KeyRing::unknown_epoch(const std::string& what, std::uint32_t epoch) const {
  const bool may_be = epoch > newest_epoch() && epoch <= kMaxEpochs;
  if (may_be && (!newest_in_slots_ || epoch <= newest_in_slots_())) {
    return Error{
        Code::denied, 0,
        fmt::format("{} is sealed with a newer key (epoch {}) than this program was opened "
                    "with; hint: start it again, with a secret that the last bygone key "
                    "rotate kept",
                    what, epoch)};
  }
  return Error{Code::corrupt, 0,
               what + " names a key epoch that never was: it was damaged or replaced"};
}

bool needs_newer_key(const Error& error) {
  // With an errno it was the file system that refused.
  return error.code == Code::denied && error.errnum == 0;
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
  if (key == nullptr) return unknown_epoch(label, epoch);
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
