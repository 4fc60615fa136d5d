// SPDX-License-Identifier: Apache-2.0
#include "store/snapshot.h"

#include <gtest/gtest.h>

#include "store/base/codec.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"

namespace bygone::store {
namespace {

using test::value_of;

Snapshot full_snapshot() {
  Snapshot s;
  s.source = SourceId::from(test::noise(16, 1));
  s.kind = SourceKind::container;
  s.name = "db";
  s.host_id = "ABCD:1234";
  s.host = "höst";
  s.display_name = "db+höst";
  s.instant = 1'710'565'020 * kSecond + 7;
  s.listed_name = "2024-03-16T05:57";
  s.zone = "Europe/Berlin";
  s.sequence = 42;
  s.previous = SnapshotId::from(test::noise(16, 2));
  Entry root{.type = FileType::directory, .mode = 0750, .content = Entry::Content::directory};
  root.node = {ChunkId::from(test::noise(32, 3)), 5};
  root.entries = 3;
  root.xattrs = {{"user.x", {1, 2, 3}}};
  s.volumes = {
      {"pgdata", "/var/lib/postgresql/data", "pgdata", VolumeKind::named, root},
      {"etc-app.conf", "/etc/app.conf", "/srv/app.conf", VolumeKind::bind, Entry{.mode = 0644}}};
  s.consistency = Consistency::freeze;
  s.window = 55'000'000;
  s.skew = -3;
  s.partial = true;
  s.started = 1;
  s.finished = -1;
  s.files = 10;
  s.folders = 2;
  s.bytes = UINT64_MAX;
  s.added_bytes = 1;
  s.errors = 3;
  s.program = "bygone 0.1.0";
  s.tags = {"before-upgrade", ""};
  s.extra = root;
  s.unknown_fields = {{200, {1, 2}}, {300, {}}};
  return s;
}

TEST(SnapshotRecord, GivesEveryFieldBack) {
  const Snapshot snapshot = full_snapshot();
  EXPECT_EQ(value_of(decode_snapshot(encode_snapshot(snapshot))), snapshot);
  Snapshot small;
  small.source = snapshot.source;
  small.name = small.display_name = small.listed_name = "x";
  EXPECT_EQ(value_of(decode_snapshot(encode_snapshot(small))), small);
}

TEST(SnapshotRecord, IsCanonical) {
  const Bytes bytes = encode_snapshot(full_snapshot());
  EXPECT_EQ(encode_snapshot(value_of(decode_snapshot(bytes))), bytes);
}

Bytes with_field(std::uint16_t tag, ByteView value) {
  Writer w;
  w.bytes(encode_snapshot(full_snapshot()));
  w.u16(tag);
  w.string(value);
  return w.take();
}

TEST(SnapshotRecord, KeepsFieldsThatItDoesNotKnow) {
  const Bytes bytes = with_field(0x7000, as_bytes("from the future"));
  const Snapshot snapshot = value_of(decode_snapshot(bytes));
  EXPECT_EQ(snapshot.unknown_fields.back().first, 0x7000);
  EXPECT_EQ(encode_snapshot(snapshot), bytes);
}

TEST(SnapshotRecord, RefusesAnUnknownFieldThatMustBeKnown) {
  EXPECT_CODE(Code::unsupported, decode_snapshot(with_field(0xf000, as_bytes("x"))));
}

// Kept as one that it does not know, it would stand beside the real one when written again.
TEST(SnapshotRecord, RefusesAKnownFieldWithTheOtherCriticalBit) {
  Bytes bytes = encode_snapshot(full_snapshot());
  bytes[1] ^= 0x80;  // the top bit of the first tag
  EXPECT_CODE(Code::corrupt, decode_snapshot(bytes));
}

TEST(SnapshotRecord, RefusesFieldsTwiceOrOutOfOrder) {
  EXPECT_CODE(Code::corrupt, decode_snapshot(with_field(300, {})));
  EXPECT_CODE(Code::corrupt, decode_snapshot(with_field(5, as_bytes("host"))));
}

TEST(SnapshotRecord, RefusesWhatLacksAFieldOrIsCut) {
  EXPECT_CODE(Code::corrupt, decode_snapshot({}));
  const Bytes whole = encode_snapshot(full_snapshot());
  std::size_t accepted = 0;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    // A cut between two fields leaves a shorter record; the seal and its id are against that.
    if (decode_snapshot(ByteView(whole).first(size)).ok()) ++accepted;
  }
  EXPECT_LT(accepted, 20u);
}

TEST(SnapshotRecord, OfRandomOrChangedBytesIsDecodedWithinItsBounds) {
  const Bytes whole = encode_snapshot(full_snapshot());
  for (std::uint64_t seed = 0; seed < 4000; ++seed) {
    SCOPED_TRACE(seed);
    ignore(decode_snapshot(test::noise(seed % 300, seed)), "only that it returns");
    Bytes changed = whole;
    const Bytes random = test::noise(3, seed);
    changed[(random[0] * 256u + random[1]) % changed.size()] = random[2];
    ignore(decode_snapshot(changed), "only that it returns");
  }
}

TEST(SnapshotRecord, RefusesKindsOutOfRange) {
  for (const std::uint16_t tag : {std::uint16_t{0x8002}, std::uint16_t{13}}) {
    for (const std::uint8_t value : {std::uint8_t{0}, std::uint8_t{9}}) {
      Writer w;
      w.u16(tag);
      w.string(Bytes{value});
      EXPECT_CODE(Code::corrupt, decode_snapshot(w.buffer())) << tag;
    }
  }
}

}  // namespace
}  // namespace bygone::store
