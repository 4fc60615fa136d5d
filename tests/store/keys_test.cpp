// SPDX-License-Identifier: Apache-2.0
#include "store/keys.h"

#include <set>

#include <gtest/gtest.h>

#include "store/base/codec.h"
#include "store/format.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"

namespace bygone::store {
namespace {

using test::value_of;

const Argon2Limits kCheap{.operations = 1, .memory_bytes = 8192};
const SlotLabel kLabel{.created = 1710565020 * kSecond, .text = "laptop"};

class Keys : public testing::Test {
 protected:
  RepositoryId repository_ = random_id<RepositoryId>();
  std::unique_ptr<KeyRing> ring_ = KeyRing::generate(repository_);
};

TEST_F(Keys, OpenWithTheSecretThatWrappedThem) {
  for (const Secret& secret : {test::passphrase("correct horse"), test::key_file("bytes")}) {
    const Bytes slot = value_of(ring_->wrap(secret, "slot", kLabel, kCheap));
    EXPECT_LE(slot.size(), kMaxSlotBytes);
    const auto opened = value_of(KeyRing::unwrap(repository_, secret, "slot", slot));
    const Bytes data = test::noise(1000, 1);
    EXPECT_EQ(opened->chunk_id(ChunkKind::data, data), ring_->chunk_id(ChunkKind::data, data));
    EXPECT_EQ(opened->gear_table(), ring_->gear_table());
    EXPECT_EQ(opened->name_hash(data), ring_->name_hash(data));
    EXPECT_EQ(opened->inode_hash(data), ring_->inode_hash(data));
    EXPECT_EQ(opened->config_mac(data), ring_->config_mac(data));
    const Bytes sealed = ring_->seal_object(ObjectKind::note, "n", data);
    EXPECT_EQ(value_of(opened->unseal_object(ObjectKind::note, "n", sealed)), data);
  }
}

TEST_F(Keys, AreDeniedToEveryOtherSecretNameAndRepository) {
  const Secret right = test::passphrase("correct horse");
  const Bytes slot = value_of(ring_->wrap(right, "slot", kLabel, kCheap));
  EXPECT_CODE(Code::denied,
              KeyRing::unwrap(repository_, test::passphrase("correct hors"), "slot", slot));
  EXPECT_CODE(Code::denied, KeyRing::unwrap(repository_, test::passphrase(""), "slot", slot));
  EXPECT_CODE(Code::denied,
              KeyRing::unwrap(repository_, test::key_file("correct horse"), "slot", slot));
  EXPECT_CODE(Code::denied, KeyRing::unwrap(repository_, right, "other", slot));
  EXPECT_CODE(Code::denied, KeyRing::unwrap(random_id<RepositoryId>(), right, "slot", slot));
}

TEST_F(Keys, OpenNoSlotInWhichAnyBitWasFlippedOrThatWasCut) {
  const Secret secret = test::key_file();
  const Bytes slot = value_of(ring_->wrap(secret, "slot", kLabel));
  const std::size_t label = slot.size() - kNonceBytes - kLabelPlainBytes - kTagBytes;
  for (std::size_t i = 0; i < slot.size(); ++i) {
    Bytes damaged = slot;
    damaged[i] ^= 0x40;
    // A label is for people: it costs nobody the keys.
    EXPECT_EQ(KeyRing::unwrap(repository_, secret, "slot", damaged).ok(), i >= label) << i;
    // And it vouches for the rest, to whoever has no secret that opens this slot.
    EXPECT_CODE(Code::corrupt, ring_->label("slot", damaged)) << i;
  }
  for (std::size_t size = 0; size < slot.size(); ++size) {
    EXPECT_FALSE(KeyRing::unwrap(repository_, secret, "slot", ByteView(slot).first(size)).ok());
  }
  Bytes longer = slot;
  longer.push_back(0);
  EXPECT_FALSE(KeyRing::unwrap(repository_, secret, "slot", longer).ok());
}

TEST_F(Keys, ShowLabelAndHeadWithTheKeysOfAnySlot) {
  const Bytes slot = value_of(ring_->wrap(test::passphrase("x"), "slot", kLabel, kCheap));
  EXPECT_EQ(value_of(ring_->label("slot", slot)), kLabel);
  EXPECT_CODE(Code::corrupt, ring_->label("other", slot));
  EXPECT_CODE(Code::corrupt, KeyRing::generate(repository_)->label("slot", slot));
  const SlotHead head = value_of(KeyRing::read_head("slot", slot));
  EXPECT_EQ(head.kind, Secret::Kind::passphrase);
  EXPECT_EQ(head.limits.memory_bytes, kCheap.memory_bytes);
  EXPECT_EQ(head.newest_epoch, 1u);
  const SlotLabel longest{.created = 0, .text = std::string(kMaxLabelBytes, 'x')};
  const Bytes full = value_of(ring_->wrap(test::key_file(), "slot", longest));
  EXPECT_EQ(value_of(ring_->label("slot", full)), longest);
  EXPECT_EQ(full.size(), slot.size());
  const SlotLabel longer{.created = 0, .text = std::string(kMaxLabelBytes + 1, 'x')};
  EXPECT_CODE(Code::invalid, ring_->wrap(test::key_file(), "slot", longer));
}

TEST_F(Keys, OfTheNextEpochOpenWhatBothEpochsSealedAndNameChunksAsBefore) {
  const auto next = value_of(ring_->with_next_epoch());
  EXPECT_EQ(next->newest_epoch(), 2u);
  const Bytes data = test::noise(1000, 1);
  EXPECT_EQ(next->chunk_id(ChunkKind::data, data), ring_->chunk_id(ChunkKind::data, data));
  const Bytes before = ring_->seal_object(ObjectKind::note, "n", data);
  const Bytes after = next->seal_object(ObjectKind::note, "n", data);
  EXPECT_EQ(value_of(next->unseal_object(ObjectKind::note, "n", before)), data);
  EXPECT_EQ(value_of(next->unseal_object(ObjectKind::note, "n", after)), data);
  const PackId pack = random_id<PackId>();
  EXPECT_CODE(Code::denied, ring_->unseal_object(ObjectKind::note, "n", after));
  EXPECT_CODE(Code::denied, ring_->pack_key(ChunkKind::data, 2, pack));
  // An epoch of which no slot knows is damage.
  ring_->ask_slots([] { return 1u; });
  EXPECT_CODE(Code::corrupt, ring_->unseal_object(ObjectKind::note, "n", after));
  EXPECT_CODE(Code::corrupt, ring_->pack_key(ChunkKind::data, 2, pack));
  EXPECT_NE(to_hex(value_of(next->pack_key(ChunkKind::data, 1, pack)).view()),
            to_hex(value_of(next->pack_key(ChunkKind::data, 2, pack)).view()));
}

TEST_F(Keys, FitIntoASlotUntilTheLimitOfEpochs) {
  auto ring = KeyRing::generate(repository_);
  for (std::size_t epoch = 2; epoch <= kMaxEpochs; ++epoch)
    ring = value_of(ring->with_next_epoch());
  EXPECT_CODE(Code::invalid, ring->with_next_epoch());
  const Bytes slot = value_of(ring->wrap(test::key_file(), "slot", kLabel));
  EXPECT_LE(slot.size(), kMaxSlotBytes);
  const auto opened = value_of(KeyRing::unwrap(repository_, test::key_file(), "slot", slot));
  EXPECT_EQ(opened->newest_epoch(), kMaxEpochs);
}

// The limits are read before they are authenticated: a forged slot must not ask for 1 TiB.
TEST_F(Keys, RefuseAbsurdArgonLimitsBeforeTheyCostAnything) {
  const Secret secret = test::passphrase("correct horse");
  const Bytes slot = value_of(ring_->wrap(secret, "slot", kLabel, kCheap));
  constexpr std::size_t kOperations = 8 + 1 + 16;
  constexpr std::size_t kMemory = kOperations + 4;
  struct Case {
    const char* name;
    std::size_t at;
    std::uint8_t byte;
  };
  for (const Case& c :
       {Case{"1 TiB", kMemory + 5, 1}, Case{"2^63 bytes", kMemory + 7, 0x80},
        Case{"2^31 passes", kOperations + 3, 0x80}, Case{"17 passes", kOperations, 17}}) {
    Bytes absurd = slot;
    absurd[c.at] = c.byte;
    EXPECT_CODE(Code::corrupt, KeyRing::unwrap(repository_, secret, "slot", absurd)) << c.name;
  }
}

TEST_F(Keys, GiveEveryPackAndKindAKeyOfItsOwn) {
  std::set<std::string> seen;
  const PackId packs[] = {random_id<PackId>(), random_id<PackId>()};
  for (const ChunkKind kind : {ChunkKind::data, ChunkKind::page}) {
    for (const PackId& pack : packs) {
      EXPECT_TRUE(seen.insert(to_hex(value_of(ring_->pack_key(kind, 1, pack)).view())).second);
    }
  }
  EXPECT_CODE(Code::denied, ring_->pack_key(ChunkKind::data, 2, packs[0]));
}

TEST_F(Keys, NameTheSameBytesDifferentlyAsDataAndAsPage) {
  const Bytes bytes = test::noise(100, 1);
  EXPECT_NE(ring_->chunk_id(ChunkKind::data, bytes), ring_->chunk_id(ChunkKind::page, bytes));
  EXPECT_NE(ring_->chunk_id(ChunkKind::data, bytes),
            KeyRing::generate(repository_)->chunk_id(ChunkKind::data, bytes));
}

TEST_F(Keys, UnsealAnObjectOnlyAsTheKindAndUnderTheNameItHas) {
  const Bytes content = test::prose(300, 1);
  const Bytes sealed = ring_->seal_object(ObjectKind::snapshot, "name", content);
  EXPECT_EQ((sealed.size() - 4 - kNonceBytes) % kObjectPad, 0u);
  EXPECT_EQ(value_of(ring_->unseal_object(ObjectKind::snapshot, "name", sealed)), content);
  EXPECT_CODE(Code::corrupt, ring_->unseal_object(ObjectKind::note, "name", sealed));
  EXPECT_CODE(Code::corrupt, ring_->unseal_object(ObjectKind::list, "name", sealed));
  EXPECT_CODE(Code::corrupt, ring_->unseal_object(ObjectKind::snapshot, "nam", sealed));
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    Bytes damaged = sealed;
    damaged[i] ^= 1;
    EXPECT_CODE(Code::corrupt, ring_->unseal_object(ObjectKind::snapshot, "name", damaged)) << i;
  }
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_CODE(Code::corrupt,
                ring_->unseal_object(ObjectKind::snapshot, "name", ByteView(sealed).first(size)));
  }
}

TEST_F(Keys, HideTheLengthOfAnObjectBehindItsPadding) {
  const std::size_t empty = ring_->seal_object(ObjectKind::note, "n", {}).size();
  EXPECT_EQ(ring_->seal_object(ObjectKind::note, "n", test::noise(200, 1)).size(), empty);
  EXPECT_GT(ring_->seal_object(ObjectKind::note, "n", test::noise(300, 1)).size(), empty);
}

}  // namespace
}  // namespace bygone::store
