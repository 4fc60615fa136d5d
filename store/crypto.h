// SPDX-License-Identifier: Apache-2.0
//
// Primitives: keyed hashes, authenticated encryption, key derivation, random bytes. The only
// includer of <sodium.h>. Keys live in guarded memory, cannot be copied or printed and are wiped.
// Callable from any thread. FORMAT.md section 3.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "store/base/bytes.h"
#include "store/base/result.h"

namespace bygone::store {

// A secret of fixed length in guarded memory. Move-only.
class SecretBytes {
 public:
  explicit SecretBytes(std::size_t size);  // zeros
  static SecretBytes copy_of(ByteView bytes);
  static SecretBytes random(std::size_t size);
  SecretBytes(SecretBytes&&) noexcept = default;
  SecretBytes& operator=(SecretBytes&&) noexcept = default;

  [[nodiscard]] ByteView view() const { return {data_.get(), size_}; }
  [[nodiscard]] MutableByteView mutable_view() { return {data_.get(), size_}; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::uint8_t* p) const;
  };
  std::unique_ptr<std::uint8_t, Free> data_;
  std::size_t size_;
};

// What a person or a service unlocks a repository with.
struct Secret {
  enum class Kind { passphrase, key_file };
  Kind kind = Kind::passphrase;
  SecretBytes bytes{0};  // the passphrase, or the contents of the key file
};

inline constexpr std::size_t kKeyBytes = 32;
inline constexpr std::size_t kTagBytes = 16;    // Poly1305
inline constexpr std::size_t kNonceBytes = 24;  // XChaCha20

// Call once before anything else here; Errors: io when the machine has no randomness.
Result<void> init_crypto();

void fill_random(MutableByteView out);
template <class IdType>
[[nodiscard]] IdType random_id() {
  IdType id;
  fill_random(id.bytes);
  return id;
}

// Keyed BLAKE2b of `parts` in order; `personal` (at most 16 bytes) separates uses. Fills `out`
// (16 to 64 bytes).
void keyed_hash(const SecretBytes& key, std::string_view personal,
                std::initializer_list<ByteView> parts, MutableByteView out);
// SipHash-2-4 under a 16-byte key.
[[nodiscard]] std::uint64_t siphash(const SecretBytes& key, ByteView data);
// crypto_kdf with context "bygone01": a subkey of `size` bytes (16 to 64).
[[nodiscard]] SecretBytes derive(const SecretBytes& master, std::uint64_t number,
                                 std::size_t size = kKeyBytes);
// `size` bytes of a deterministic stream from a 32-byte seed. Secret material: the caller wipes.
void expand(const SecretBytes& seed, MutableByteView out);

using Nonce = std::array<std::uint8_t, kNonceBytes>;
// The nonce of a piece of a pack: its byte offset, little-endian, then zeros.
[[nodiscard]] Nonce offset_nonce(std::uint64_t offset);

// XChaCha20-Poly1305. `out` is plain.size() + kTagBytes long; it may not overlap `plain`.
void seal(const SecretBytes& key, const Nonce& nonce, ByteView associated, ByteView plain,
          MutableByteView out);
// The reverse; false when anything was changed. `out` is sealed.size() - kTagBytes long.
[[nodiscard]] bool unseal(const SecretBytes& key, const Nonce& nonce, ByteView associated,
                          ByteView sealed, MutableByteView out);

struct Argon2Limits {
  std::uint32_t operations = 2;
  std::uint64_t memory_bytes = 64u << 20;
};
// Argon2id. Errors: io when the memory is not there.
Result<SecretBytes> stretch(const SecretBytes& passphrase, ByteView salt16,
                            const Argon2Limits& limits);
// For key files: full entropy is assumed, one keyed hash suffices.
[[nodiscard]] SecretBytes hash_key_file(const SecretBytes& contents, ByteView salt16);

void wipe(MutableByteView bytes);
// No core dumps of this process: they would hold keys.
void forbid_core_dumps();

}  // namespace bygone::store
