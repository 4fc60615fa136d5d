// SPDX-License-Identifier: Apache-2.0
//
// The format on disk, held fast: files that the first version wrote and every later one must read,
// and encodings that must come out byte for byte. BYGONE_ACCEPT=1 writes them anew; a change of
// them is a change of FORMAT.md.
//
// Where they come from: `slot` was made once by KeyRing::wrap and gives all others their keys;
// `repository/` by the backup below, its empty folders, reserve and index left out; everything
// else by the encoder that the test names, from the values in it.
#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include "store/base/codec.h"
#include "store/chunk_store.h"
#include "store/chunker.h"
#include "store/condemned.h"
#include "store/config.h"
#include "store/gone_records.h"
#include "store/notes.h"
#include "store/pack_writer.h"
#include "store/page.h"
#include "store/patch.h"
#include "store/verify.h"
#include "tests/support/damage.h"
#include "tests/support/delta_pack.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::MemoryTree;
using test::value_of;

const std::string kGolden = BYGONE_GOLDEN;

bool accepting() { return std::getenv("BYGONE_ACCEPT") != nullptr; }

void expect_golden(const std::string& name, ByteView bytes) {
  const std::string path = kGolden + "/" + name;
  if (accepting()) test::write_whole(path, bytes);
  EXPECT_EQ(to_hex(test::read_whole(path)), to_hex(bytes)) << name;
}

template <class IdType>
IdType counted(std::uint8_t first) {
  IdType id;
  for (std::uint8_t& byte : id.bytes) byte = first++;
  return id;
}

const RepositoryId kRepository = counted<RepositoryId>(0x10);

std::unique_ptr<KeyRing> fixed_keys() {
  const std::string path = kGolden + "/slot";
  if (accepting() && !filesystem::exists(path)) {
    const auto ring = KeyRing::generate(kRepository);
    test::write_whole(
        path, value_of(ring->wrap(test::key_file(), "slot",
                                  {.created = 1710565020 * kSecond, .text = "made by init"})));
  }
  return value_of(KeyRing::unwrap(kRepository, test::key_file(), "slot", test::read_whole(path)));
}

TEST(Golden, SlotTellsItsHeadAndLabel) {
  const auto keys = fixed_keys();
  const Bytes slot = test::read_whole(kGolden + "/slot");
  const SlotHead head = value_of(KeyRing::read_head("slot", slot));
  EXPECT_EQ(head.kind, Secret::Kind::key_file);
  EXPECT_EQ(head.newest_epoch, 1u);
  EXPECT_EQ(value_of(keys->label("slot", slot)),
            (SlotLabel{.created = 1710565020 * kSecond, .text = "made by init"}));
}

// The label of `slot` says nothing about the rest; that of `slot-vouched`, made once of the same
// keys by KeyRing::wrap, does.
TEST(Golden, ASlotWhoseLabelVouchesForIt) {
  const std::string path = kGolden + "/slot-vouched";
  const SlotLabel label{.created = 1710565020 * kSecond, .text = "in the safe"};
  const auto keys = fixed_keys();
  if (accepting() && !filesystem::exists(path)) {
    test::write_whole(path, value_of(keys->wrap(test::key_file(), "slot", label)));
  }
  Bytes slot = test::read_whole(path);
  EXPECT_OK(KeyRing::unwrap(kRepository, test::key_file(), "slot", slot));
  EXPECT_EQ(value_of(keys->label("slot", slot)), label);
  slot[80] ^= 1;
  EXPECT_CODE(Code::corrupt, keys->label("slot", slot));
  Bytes old = test::read_whole(kGolden + "/slot");
  old[80] ^= 1;
  EXPECT_OK(keys->label("slot", old));
}

TEST(Golden, KeysDeriveTheSameIdsHashesAndTable) {
  const auto keys = fixed_keys();
  const Bytes bytes = test::noise(1000, 1);
  Writer w;
  w.bytes(keys->chunk_id(ChunkKind::data, bytes).view());
  w.bytes(keys->chunk_id(ChunkKind::page, bytes).view());
  w.u64(keys->name_hash(as_bytes("a name")));
  w.u64(keys->inode_hash(as_bytes("an inode")));
  w.bytes(keys->name_tag("bygone.volume", as_bytes("x")));
  w.bytes(keys->config_mac(bytes));
  w.bytes(keys->snapshot_id(bytes).view());
  for (const ChunkKind kind : {ChunkKind::data, ChunkKind::page}) {
    w.bytes(value_of(keys->pack_key(kind, 1, counted<PackId>(1))).view());
  }
  for (const std::uint64_t word : keys->gear_table()) w.u64(word);
  expect_golden("keys", w.buffer());
}

TEST(Golden, Config) {
  const auto keys = fixed_keys();
  const Config config{.repository = kRepository, .created = 1'710'000'000 * kSecond};
  const Bytes bytes = encode_config(config, *keys);
  expect_golden("config", bytes);
  EXPECT_EQ(value_of(decode_config(bytes)), config);
  EXPECT_OK(prove_config(bytes, *keys));
}

TEST(Golden, PackHeaderRecordHeadTableAndTrailer) {
  const PackHeader header{.kind = ChunkKind::page,
                          .epoch = 2,
                          .repository = kRepository,
                          .pack = counted<PackId>(0x40)};
  expect_golden("pack-header", encode_pack_header(header));
  Record plain{.id = counted<ChunkId>(0x80), .volume_tag = 0x1122334455667788, .offset = 128};
  plain.raw_size = 262'144;
  plain.stored_size = 100'000;
  plain.codec = kCodecZstd;
  Record delta = plain;
  delta.id = counted<ChunkId>(0xa0);
  delta.base = plain.id;
  delta.depth = 2;
  delta.n = 300;
  delta.stored_size = 400;
  delta.offset = align_record(plain.offset + plain.pack_bytes());
  expect_golden("record-head-plain", encode_head(plain));
  expect_golden("record-head-delta", encode_head(delta));
  expect_golden("record-table", encode_record_table({plain, delta}));
  expect_golden("pack-trailer",
                encode_trailer({.footer_offset = 1 << 20, .footer_size = 777, .records = 2}));
}

TEST(Golden, SealsRecordsTheSameWay) {
  // The only sealing whose nonce is no random one: piece by piece from key, offset and context.
  const auto keys = fixed_keys();
  const PackHeader header{
      .kind = ChunkKind::data, .epoch = 1, .repository = kRepository, .pack = counted<PackId>(1)};
  const SecretBytes key = value_of(keys->pack_key(header.kind, 1, header.pack));
  Record record{.id = counted<ChunkId>(0x80), .raw_size = 5, .stored_size = 5};
  const auto head = encode_head(record);
  Bytes sealed(kSealedHeadBytes + 5 + kTagBytes);
  const MutableByteView view(sealed);
  seal(key, offset_nonce(128), pack_associated(header, 'h'), head, view.first(kSealedHeadBytes));
  seal(key, offset_nonce(128 + kSealedHeadBytes), pack_associated(header, 'b', head),
       as_bytes("hello"), view.subspan(kSealedHeadBytes));
  expect_golden("sealed-record", sealed);
}

TEST(Golden, RunsOfAPatch) {
  Writer writer;
  encode_runs({{.begin = 0, .end = 64}, {.begin = 64'000, .end = 96'000}}, 262'100, writer);
  encode_runs({{.begin = 262'080, .end = 262'100}}, 262'100, writer);
  encode_runs({}, 262'100, writer);
  expect_golden("patch-runs", writer.buffer());
}

TEST(Golden, Page) {
  PageBuilder builder([](const ChunkId& id) { return id == counted<ChunkId>(0xff); });
  Entry file{.name = "file", .flags = kRacy, .mode = 04755, .uid = 1000, .gid = 4294967294};
  file.mtime = {.seconds = -1, .nanoseconds = 999'999'999};
  file.ctime = {.seconds = 1'710'000'000, .nanoseconds = 1};
  file.inode = 123'456;
  file.links = 2;
  file.content = Entry::Content::extents;
  file.extents = {{.length = 5000, .offset = 100, .chunk = counted<ChunkId>(1)},
                  {.kind = Extent::Kind::hole, .length = 1u << 20, .chunk = {}},
                  {.kind = Extent::Kind::zero, .length = 65'536, .chunk = {}}};
  file.size = 5000 + (1u << 20) + 65'536;
  file.xattrs = {{"user.x", {1, 2, 3}}};
  Entry inlined{.name = "inline", .size = 3};
  inlined.content = Entry::Content::inline_bytes;
  inlined.inline_bytes = {'a', 'b', 'c'};
  Entry link{.name = "link", .type = FileType::symlink, .size = 6, .target = "target"};
  Entry device{.name = "null", .type = FileType::char_device, .mode = 0666};
  device.device = 0x103;
  Entry below{.name = "sub", .type = FileType::directory, .mode = 0755};
  below.content = Entry::Content::directory;
  below.node = {counted<ChunkId>(0xff), 0};
  below.entries = 1;
  below.subtree_files = 2;
  below.subtree_bytes = 300;
  below.xattr_node = NodeRef{counted<ChunkId>(2), 9};
  builder.add_directory_leaf({});
  builder.add_directory_leaf(std::vector<Entry>{file, inlined, link, device, below});
  const DirectoryChild children[] = {{"file", {counted<ChunkId>(0xff), 1}, 5},
                                     {"t", {counted<ChunkId>(3), 300}, 70'000}};
  builder.add_directory_index(children);
  builder.add_extent_leaf(file.extents);
  const ExtentChild runs[] = {{{counted<ChunkId>(0xff), 3}, 1u << 24}};
  builder.add_extent_index(runs);
  builder.add_xattr_set(file.xattrs);
  expect_golden("page", builder.finish());
}

TEST(Golden, SnapshotRecord) {
  Snapshot s;
  s.source = counted<SourceId>(1);
  s.kind = SourceKind::container;
  s.name = s.display_name = "db";
  s.host_id = "ENGINE";
  s.host = "host";
  s.instant = 1'710'000'000 * kSecond;
  s.listed_name = "2024-03-09T16:00";
  s.zone = "Europe/Berlin";
  s.sequence = 2;
  s.previous = counted<SnapshotId>(0x30);
  Entry root{.type = FileType::directory, .mode = 0700, .content = Entry::Content::directory};
  root.node = {counted<ChunkId>(5), 7};
  s.volumes = {{"pgdata", "/data", "pgdata", VolumeKind::named, root},
               {"@layer", "@layer", "/upper", VolumeKind::layer, root}};
  s.consistency = Consistency::freeze;
  s.window = 55'000'000;
  s.skew = 1000;
  s.partial = true;
  s.started = s.instant;
  s.finished = s.instant + 5 * kSecond;
  s.files = 10;
  s.folders = 2;
  s.bytes = 1u << 30;
  s.added_bytes = 12'345;
  s.errors = 1;
  s.program = "bygone 0.1.0";
  s.tags = {"nightly"};
  s.extra = root;
  s.group = "shop";
  s.run = counted<RunId>(0x50);
  s.members = {"db", "web"};
  s.image = "postgres:15";
  s.image_id = "sha256:0123";
  s.image_digests = {"postgres@sha256:4567"};
  s.failed = {"dump postgres.sql: exit code 1"};
  s.unknown_fields = {{100, {9}}};
  const Bytes bytes = encode_snapshot(s);
  expect_golden("snapshot-record", bytes);
  EXPECT_EQ(value_of(decode_snapshot(bytes)), s);
}

TEST(Golden, Note) {
  Note note{.subject = Subject::of(counted<SnapshotId>(0x30)), .key = "pin"};
  note.value = {'1'};
  note.counter = 300;
  note.time = 1'710'000'000 * kSecond;
  note.unknown_fields = {{100, {9}}};
  const Bytes bytes = encode_note(note);
  expect_golden("note", bytes);
  expect_golden("note-id", fixed_keys()->note_id(bytes).view());
  EXPECT_EQ(value_of(decode_note(bytes)), note);
}

TEST(Golden, GoneList) {
  const GoneList list{.up_to = 300,
                      .records = {{120, counted<SnapshotId>(0x40)},
                                  {301, counted<SnapshotId>(0x50)},
                                  {301, counted<SnapshotId>(0x60)}}};
  const Bytes bytes = encode_gone_list(list);
  expect_golden("gone-list", bytes);
  EXPECT_EQ(value_of(decode_gone_list(bytes)), list);
}

TEST(Golden, CondemnedList) {
  const CondemnedList list{300, {counted<PackId>(1), counted<PackId>(2)}};
  const Bytes bytes = encode_condemned(list);
  expect_golden("condemned-list", bytes);
  EXPECT_EQ(value_of(decode_condemned(bytes)), list);
}

TEST(Golden, CutsOfTheFixedTable) {
  const auto keys = fixed_keys();
  const Bytes data = test::noise(16u << 20, 7);
  Writer w;
  for (std::size_t at = 0; at < data.size();) {
    const std::size_t size = next_cut(keys->gear_table(), ByteView(data).subspan(at), at);
    w.varint(size);
    at += size;
  }
  expect_golden("cuts", w.buffer());
}

MemoryTree golden_tree() {
  MemoryTree tree = {{"empty", {}},
                     {"folder/empty/", {}},
                     {"folder/inline", test::prose(60, 1)},
                     {"folder/text", test::prose(20'000, 2)},
                     {"noise", test::noise(3000, 3)},
                     {"several", test::prose(300'000, 4)}};
  for (int i = 0; i < 40; ++i) tree["many/" + std::to_string(i)] = test::prose(20, 5);
  return tree;
}

Bytes golden_delta() {
  Bytes next = test::noise(3000, 3);
  next[1000] ^= 0xff;
  return next;
}

Bytes golden_patch() {
  Bytes next = test::prose(20'000, 2);
  next[5000] ^= 0xff;
  next.back() ^= 0xff;
  return next;
}

MemoryTree second_golden_tree() {
  MemoryTree tree = golden_tree();
  tree["noise"] = golden_delta();
  tree["folder/text"] = golden_patch();
  return tree;
}

// Two snapshots, the second with a delta of each form, without what git cannot or need not keep.
void write_golden_repository() {
  const test::TempFolder folder;
  {
    const auto repository = test::new_repository(folder / "repo");
    value_of(test::back_up(*repository, golden_tree()));
    test::write_pack(
        *repository,
        {{.raw = golden_delta(), .base = test::noise(3000, 3), .depth = 1},
         {.raw = golden_patch(), .base = test::prose(20'000, 2), .depth = 1, .patch = true}});
    value_of(
        test::back_up(*repository, second_golden_tree(), {.instant = 1'710'003'600 * kSecond}));
  }
  filesystem::remove_all(kGolden + "/repository");
  for (const auto& each : filesystem::recursive_directory_iterator(folder / "repo")) {
    const auto relative = filesystem::relative(each.path(), folder / "repo");
    const std::string first = relative.begin()->string();
    if (!each.is_regular_file() || first == "index" || first == "reserve" || first == "locks") {
      continue;
    }
    const filesystem::path to = kGolden + "/repository/" + relative.string();
    filesystem::create_directories(to.parent_path());
    filesystem::copy_file(each.path(), to);
  }
}

TEST(Golden, ARepositoryOfTheFirstVersionReadsAsItDid) {
  if (accepting()) write_golden_repository();
  const test::TempFolder folder;
  value_of(Repository::create(folder / "repo", test::key_file()));
  for (const char* replaced : {"config", "config-copy", "keys"}) {
    filesystem::remove_all(folder / ("repo/" + std::string(replaced)));
  }
  filesystem::copy(kGolden + "/repository", folder / "repo", filesystem::copy_options::recursive);
  const auto repository = test::reopen(folder / "repo");
  const auto snapshots = value_of(repository->snapshots());
  ASSERT_EQ(snapshots.size(), 2u);
  EXPECT_EQ(value_of(test::read_back(*repository, snapshots[0])), golden_tree());
  const MemoryTree second = second_golden_tree();
  EXPECT_EQ(value_of(test::read_back(*repository, snapshots[1])), second);
  EXPECT_EQ(snapshots[0].listed_name, "2024-03-09T16:00");
  EXPECT_EQ(snapshots[1].listed_name, "2024-03-09T17:00");
  EXPECT_EQ(snapshots[1].previous, snapshots[0].id);
  const std::atomic<bool> cancel{false};
  const auto report = value_of(verify(*repository, {.read_data_percent = 100}, {}, cancel));
  EXPECT_TRUE(report.damage.empty()) << report.damage.front();
  // And it can be written to: the next backup finds everything there.
  const Snapshot third =
      value_of(test::back_up(*repository, second, {.instant = 1'710'007'200 * kSecond}));
  EXPECT_EQ(third.added_bytes, 0u);
}

}  // namespace
}  // namespace bygone::store
