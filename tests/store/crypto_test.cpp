// SPDX-License-Identifier: Apache-2.0
#include "store/crypto.h"

#include <set>

#include <gtest/gtest.h>

#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"

namespace bygone::store {
namespace {

SecretBytes fixed_key(std::uint8_t fill, std::size_t size = kKeyBytes) {
  SecretBytes key(size);
  std::fill(key.mutable_view().begin(), key.mutable_view().end(), fill);
  return key;
}

TEST(Crypto, UnsealsOnlyWhatWasSealedUnderTheSameKeyNonceAndContext) {
  const SecretBytes key = fixed_key(1);
  const Nonce nonce = offset_nonce(4096);
  const Bytes plain = test::prose(1000, 1);
  const Bytes context = {1, 2, 3};
  Bytes sealed(plain.size() + kTagBytes);
  seal(key, nonce, context, plain, sealed);
  Bytes out(plain.size());
  ASSERT_TRUE(unseal(key, nonce, context, sealed, out));
  EXPECT_EQ(out, plain);
  EXPECT_FALSE(unseal(fixed_key(2), nonce, context, sealed, out));
  EXPECT_FALSE(unseal(key, offset_nonce(4097), context, sealed, out));
  EXPECT_FALSE(unseal(key, nonce, Bytes{1, 2, 4}, sealed, out));
  EXPECT_FALSE(unseal(key, nonce, Bytes{1, 2}, sealed, out));
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    Bytes damaged = sealed;
    damaged[i] ^= 0x10;
    EXPECT_FALSE(unseal(key, nonce, context, damaged, out)) << i;
  }
  Bytes none;
  EXPECT_FALSE(unseal(key, nonce, context, ByteView(sealed).first(kTagBytes - 1), none));
}

TEST(Crypto, SeparatesKeyedHashesByKeyPersonalAndContent) {
  std::set<std::string> seen;
  const SecretBytes keys[] = {fixed_key(1), fixed_key(2)};
  for (const SecretBytes& key : keys) {
    for (const char* personal : {"bygone.data", "bygone.page"}) {
      for (const char* content : {"", "a", "ab"}) {
        std::array<std::uint8_t, 32> out{};
        keyed_hash(key, personal, {as_bytes(content)}, out);
        EXPECT_TRUE(seen.insert(to_hex(out)).second);
      }
    }
  }
  std::array<std::uint8_t, 32> whole{};
  std::array<std::uint8_t, 32> parts{};
  keyed_hash(keys[0], "p", {as_bytes("abcd")}, whole);
  keyed_hash(keys[0], "p", {as_bytes("ab"), as_bytes("cd")}, parts);
  EXPECT_EQ(whole, parts);
}

TEST(Crypto, FollowsTheReferenceVectorOfSipHash) {
  SecretBytes key(16);
  Bytes input;
  for (std::uint8_t i = 0; i < 16; ++i) key.mutable_view()[i] = i;
  for (std::uint8_t i = 0; i < 15; ++i) input.push_back(i);
  EXPECT_EQ(siphash(key, input), 0xa129ca6149be45e5u);  // Aumasson and Bernstein, appendix A
}

TEST(Crypto, MakesNoncesOfOffsetsThatDifferForEveryOffset) {
  const Nonce nonce = offset_nonce(0x0102030405060708);
  EXPECT_EQ(to_hex(nonce), "0807060504030201" + std::string(32, '0'));
}

TEST(Crypto, DerivesAndExpandsTheSameFromTheSameKey) {
  EXPECT_EQ(to_hex(derive(fixed_key(7), 1).view()), to_hex(derive(fixed_key(7), 1).view()));
  EXPECT_NE(to_hex(derive(fixed_key(7), 1).view()), to_hex(derive(fixed_key(7), 2).view()));
  EXPECT_EQ(derive(fixed_key(7), 1, 16).size(), 16u);
  Bytes a(100), b(100);
  expand(fixed_key(7), a);
  expand(fixed_key(7), b);
  EXPECT_EQ(a, b);
}

TEST(Crypto, StretchesAPassphraseBySaltAndLimits) {
  const SecretBytes words = SecretBytes::copy_of(as_bytes("correct horse"));
  const Argon2Limits cheap{.operations = 1, .memory_bytes = 8192};
  const Bytes salt(16, 1);
  const Bytes other_salt(16, 2);
  const auto once = test::value_of(stretch(words, salt, cheap));
  EXPECT_EQ(to_hex(once.view()), to_hex(test::value_of(stretch(words, salt, cheap)).view()));
  EXPECT_NE(to_hex(once.view()), to_hex(test::value_of(stretch(words, other_salt, cheap)).view()));
  EXPECT_CODE(Code::io, stretch(words, salt, {.operations = 0, .memory_bytes = 8192}));
}

TEST(Crypto, TakesKeyFilesOfAnyLength) {
  std::set<std::string> seen;
  const Bytes salt(16, 1);
  for (const std::size_t size : {0u, 1u, 32u, 64u, 65u, 5000u}) {
    const auto key = hash_key_file(SecretBytes::copy_of(test::noise(size, 9)), salt);
    EXPECT_EQ(key.size(), kKeyBytes);
    EXPECT_TRUE(seen.insert(to_hex(key.view())).second);
  }
}

TEST(Crypto, WipesSecretsOnRequestAndMovesThem) {
  SecretBytes secret = SecretBytes::copy_of(as_bytes("secret"));
  SecretBytes moved = std::move(secret);
  EXPECT_EQ(as_text(moved.view()), "secret");
  wipe(moved.mutable_view());
  EXPECT_EQ(to_hex(moved.view()), "000000000000");
}

}  // namespace
}  // namespace bygone::store
