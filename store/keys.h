// SPDX-License-Identifier: Apache-2.0
//
// The keys of a repository and the slots that wrap them. FORMAT.md sections 3 and 4. A KeyRing is
// immutable once open; callable from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/clock.h"
#include "store/base/result.h"
#include "store/crypto.h"
#include "store/tree_reader.h"

namespace bygone::store {

// Small sealed objects, each kind under its own key and associated data.
enum class ObjectKind : std::uint8_t { snapshot = 3, note = 4, list = 5 };

// What people tell key slots apart by.
struct SlotLabel {
  Nanoseconds created = 0;
  std::string text;  // at most kMaxLabelBytes
  friend bool operator==(const SlotLabel&, const SlotLabel&) = default;
};

// What a slot tells without its secret. Not proven until it was opened.
struct SlotHead {
  Secret::Kind kind = Secret::Kind::passphrase;
  Argon2Limits limits;
  std::uint32_t newest_epoch = 0;
};

class KeyRing {
 public:
  // Fresh keys for a new repository, epoch 1.
  static std::unique_ptr<KeyRing> generate(const RepositoryId& repository);
  // These keys and those of one more epoch, which seals from now on. Errors: invalid when there
  // are kMaxEpochs already.
  Result<std::unique_ptr<KeyRing>> with_next_epoch() const;

  // Encodes a slot file that wraps all keys under `secret`. Errors: io when Argon2 has no memory;
  // invalid for a label that is too long.
  Result<Bytes> wrap(const Secret& secret, const std::string& slot_name, const SlotLabel& label,
                     const Argon2Limits& limits = {}) const;
  // Errors: corrupt when it is no slot or asks for absurd limits; unsupported for a newer kind.
  static Result<SlotHead> read_head(const std::string& slot_name, ByteView slot);
  // The label, readable with the keys of any slot, of whatever kind that one is. It vouches for the
  // whole slot, whose secret is not needed for that; one that was made before labels did vouches
  // for itself alone. Errors: corrupt.
  Result<SlotLabel> label(const std::string& slot_name, ByteView slot) const;
  // Opens one slot. Errors: denied when `secret` does not open it; corrupt; unsupported.
  static Result<std::unique_ptr<KeyRing>> unwrap(const RepositoryId& repository,
                                                 const Secret& secret, const std::string& slot_name,
                                                 ByteView slot);

  [[nodiscard]] const RepositoryId& repository() const { return repository_; }
  [[nodiscard]] std::uint32_t newest_epoch() const { return epochs_.rbegin()->first; }

  [[nodiscard]] ChunkId chunk_id(ChunkKind kind, ByteView bytes) const;
  // 256 secret words of the Gear hash.
  [[nodiscard]] const std::array<std::uint64_t, 256>& gear_table() const { return *gear_; }
  [[nodiscard]] std::uint64_t name_hash(ByteView name) const { return siphash(name_key_, name); }
  // For st_ino in the mount: SipHash-2-4 under the inode subkey, all 64 bits.
  [[nodiscard]] std::uint64_t inode_hash(ByteView data) const { return siphash(inode_key_, data); }
  // 16 bytes that name something (a lock, a volume) without showing it.
  [[nodiscard]] std::array<std::uint8_t, 16> name_tag(std::string_view what, ByteView data) const;
  [[nodiscard]] std::array<std::uint8_t, 32> config_mac(ByteView config) const;
  [[nodiscard]] SnapshotId snapshot_id(ByteView encoded) const;
  [[nodiscard]] NoteId note_id(ByteView encoded) const;

  // Whoever opens a repository says here how to learn the newest epoch that a key slot names now:
  // keys may be rotated while this ring is in use. Before other threads see it.
  void ask_slots(std::function<std::uint32_t()> newest_epoch) {
    newest_in_slots_ = std::move(newest_epoch);
  }

  // The sealing key of one pack. Errors: as those of unseal_object() for an epoch that this ring
  // lacks.
  Result<SecretBytes> pack_key(ChunkKind kind, std::uint32_t epoch, const PackId& pack) const;

  // Epoch, random nonce, sealed and padded content. `file_name` is bound to it.
  [[nodiscard]] Bytes seal_object(ObjectKind kind, std::string_view file_name,
                                  ByteView content) const;
  // Errors: denied when it is sealed under an epoch that began after these keys were read, as far
  // as a key slot names one (all that are possible, when nobody said how to ask): it is not
  // damaged; corrupt when it does not prove itself under that kind and name.
  Result<Bytes> unseal_object(ObjectKind kind, std::string_view file_name, ByteView sealed) const;

 private:
  struct Epoch {
    SecretBytes data{kKeyBytes}, page{kKeyBytes}, snapshot{kKeyBytes}, note{kKeyBytes},
        list{kKeyBytes};
  };
  KeyRing(const RepositoryId& repository, SecretBytes root,
          std::map<std::uint32_t, SecretBytes> masters);
  [[nodiscard]] SecretBytes encode() const;
  [[nodiscard]] const SecretBytes* object_key(ObjectKind kind, std::uint32_t epoch) const;
  [[nodiscard]] Error unknown_epoch(const std::string& what, std::uint32_t epoch) const;

  RepositoryId repository_;
  SecretBytes root_;
  std::map<std::uint32_t, SecretBytes> masters_;
  std::map<std::uint32_t, Epoch> epochs_;
  SecretBytes chunk_key_, name_key_, inode_key_, tag_key_, config_key_, snapshot_id_key_,
      label_key_;
  std::unique_ptr<std::array<std::uint64_t, 256>> gear_;
  std::function<std::uint32_t()> newest_in_slots_;
};

// Whether an error of the store says that something is whole, but sealed with a newer key than this
// program was opened with. Nobody may take that for damage, or for nothing there.
[[nodiscard]] bool needs_newer_key(const Error& error);

}  // namespace bygone::store
