// SPDX-License-Identifier: Apache-2.0
#include "store/crypto.h"

#include <new>

#include <sodium.h>
#include <sys/resource.h>

namespace bygone::store {

void SecretBytes::Free::operator()(std::uint8_t* p) const { sodium_free(p); }

namespace {

// A passphrase is read before any repository is opened, and sodium_malloc aborts before
// sodium_init: so whoever comes first initialises.
bool is_ready() {
  static const bool ready = sodium_init() >= 0;
  return ready;
}

}  // namespace

SecretBytes::SecretBytes(std::size_t size)
    : data_(is_ready() ? static_cast<std::uint8_t*>(sodium_malloc(size)) : nullptr), size_(size) {
  if (!data_) throw std::bad_alloc();
  wipe(mutable_view());
}

SecretBytes SecretBytes::copy_of(ByteView bytes) {
  SecretBytes secret(bytes.size());
  std::copy(bytes.begin(), bytes.end(), secret.data_.get());
  return secret;
}

SecretBytes SecretBytes::random(std::size_t size) {
  SecretBytes secret(size);
  fill_random(secret.mutable_view());
  return secret;
}

Result<void> init_crypto() {
  if (!is_ready()) return Error{Code::io, 0, "the system gives no random bytes"};
  return {};
}

void fill_random(MutableByteView out) {
  if (!out.empty()) randombytes_buf(out.data(), out.size());
}

void keyed_hash(const SecretBytes& key, std::string_view personal,
                std::initializer_list<ByteView> parts, MutableByteView out) {
  std::array<std::uint8_t, crypto_generichash_blake2b_PERSONALBYTES> person{};
  CHECK(personal.size() <= person.size());
  std::copy(personal.begin(), personal.end(), person.begin());
  crypto_generichash_blake2b_state state;
  CHECK(crypto_generichash_blake2b_init_salt_personal(&state, key.view().data(), key.size(),
                                                      out.size(), nullptr, person.data()) == 0);
  for (const ByteView part : parts) {
    crypto_generichash_blake2b_update(&state, part.data(), part.size());
  }
  crypto_generichash_blake2b_final(&state, out.data(), out.size());
}

std::uint64_t siphash(const SecretBytes& key, ByteView data) {
  std::array<std::uint8_t, crypto_shorthash_BYTES> out{};
  CHECK(key.size() == crypto_shorthash_KEYBYTES);
  crypto_shorthash(out.data(), data.data(), data.size(), key.view().data());
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < out.size(); ++i) value |= std::uint64_t{out[i]} << (8 * i);
  return value;
}

SecretBytes derive(const SecretBytes& master, std::uint64_t number, std::size_t size) {
  static_assert(kKeyBytes == crypto_kdf_KEYBYTES);
  CHECK(master.size() == kKeyBytes);
  SecretBytes out(size);
  CHECK(crypto_kdf_derive_from_key(out.mutable_view().data(), size, number, "bygone01",
                                   master.view().data()) == 0);
  return out;
}

void expand(const SecretBytes& seed, MutableByteView out) {
  CHECK(seed.size() == randombytes_SEEDBYTES);
  randombytes_buf_deterministic(out.data(), out.size(), seed.view().data());
}

Nonce offset_nonce(std::uint64_t offset) {
  Nonce nonce{};
  for (std::size_t i = 0; i < 8; ++i) nonce[i] = static_cast<std::uint8_t>(offset >> (8 * i));
  return nonce;
}

void seal(const SecretBytes& key, const Nonce& nonce, ByteView associated, ByteView plain,
          MutableByteView out) {
  static_assert(kTagBytes == crypto_aead_xchacha20poly1305_ietf_ABYTES);
  static_assert(kNonceBytes == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
  CHECK(out.size() == plain.size() + kTagBytes && key.size() == kKeyBytes);
  crypto_aead_xchacha20poly1305_ietf_encrypt(out.data(), nullptr, plain.data(), plain.size(),
                                             associated.data(), associated.size(), nullptr,
                                             nonce.data(), key.view().data());
}

bool unseal(const SecretBytes& key, const Nonce& nonce, ByteView associated, ByteView sealed,
            MutableByteView out) {
  CHECK(key.size() == kKeyBytes);
  if (sealed.size() < kTagBytes) return false;
  CHECK(out.size() == sealed.size() - kTagBytes);
  return crypto_aead_xchacha20poly1305_ietf_decrypt(
             out.data(), nullptr, nullptr, sealed.data(), sealed.size(), associated.data(),
             associated.size(), nonce.data(), key.view().data()) == 0;
}

Result<SecretBytes> stretch(const SecretBytes& passphrase, ByteView salt16,
                            const Argon2Limits& limits) {
  CHECK(salt16.size() == crypto_pwhash_SALTBYTES);
  SecretBytes out(kKeyBytes);
  if (crypto_pwhash(out.mutable_view().data(), kKeyBytes,
                    reinterpret_cast<const char*>(passphrase.view().data()), passphrase.size(),
                    salt16.data(), limits.operations, limits.memory_bytes,
                    crypto_pwhash_ALG_ARGON2ID13) != 0) {
    return Error{Code::io, 0, "not enough memory to derive the key from the passphrase"};
  }
  return out;
}

SecretBytes hash_key_file(const SecretBytes& contents, ByteView salt16) {
  // The contents are hashed unkeyed first: a BLAKE2b key holds 64 bytes, a key file any number.
  SecretBytes digest(kKeyBytes);
  crypto_generichash_blake2b(digest.mutable_view().data(), kKeyBytes, contents.view().data(),
                             contents.size(), nullptr, 0);
  SecretBytes out(kKeyBytes);
  keyed_hash(digest, "bygone.keyfile", {salt16}, out.mutable_view());
  return out;
}

void wipe(MutableByteView bytes) { sodium_memzero(bytes.data(), bytes.size()); }

void forbid_core_dumps() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
}

}  // namespace bygone::store
