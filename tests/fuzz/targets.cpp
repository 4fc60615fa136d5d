// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/targets.h"

#include <algorithm>

#include "fs/instant.h"
#include "ingest/docker/parse.h"
#include "ingest/judge.h"
#include "ingest/tar.h"
#include "store/compress.h"
#include "store/condemned.h"
#include "store/config.h"
#include "store/format.h"
#include "store/keys.h"
#include "store/notes.h"
#include "store/page.h"
#include "store/patch.h"
#include "store/record.h"
#include "store/snapshot.h"

namespace bygone::test {
namespace {

using namespace store;  // NOLINT(google-build-using-namespace): a table of its decoders

const RepositoryId kRepository{};

const KeyRing& keys() {
  static const auto ring = [] {
    CHECK(init_crypto().ok());
    return KeyRing::generate(kRepository);
  }();
  return *ring;
}

void config(ByteView input) {
  const auto config = decode_config(input);
  if (config) CHECK(!prove_config(input, keys()).ok() || encode_config(*config, keys()).size() > 0);
}

void key_slot(ByteView input) {
  Secret secret{.kind = Secret::Kind::key_file, .bytes = SecretBytes::copy_of(as_bytes("a key"))};
  CHECK(!KeyRing::unwrap(kRepository, secret, "slot", input).ok());
  if (KeyRing::read_head("slot", input).ok()) CHECK(!keys().label("slot", input).ok());
}

// What follows the seal is only ever read from who has the keys, but a bug there would turn one
// bad writer into a repository that nobody can open.
void snapshot(ByteView input) {
  const auto snapshot = decode_snapshot(input);
  if (!snapshot) return;
  const Bytes encoded = encode_snapshot(*snapshot);
  const auto again = decode_snapshot(encoded);
  CHECK(again.ok() && *again == *snapshot && encode_snapshot(*again) == encoded);
}

void note(ByteView input) {
  const auto note = decode_note(input);
  if (!note) return;
  const Bytes encoded = encode_note(*note);
  const auto again = decode_note(encoded);
  CHECK(again.ok() && *again == *note && encode_note(*again) == encoded);
}

void sealed_object(ByteView input) {
  for (const ObjectKind kind : {ObjectKind::snapshot, ObjectKind::note, ObjectKind::list}) {
    CHECK(!keys().unseal_object(kind, "name", input).ok());
  }
}

void page(ByteView input) {
  const auto page =
      Page::parse(ChunkId{}, std::make_shared<const Bytes>(input.begin(), input.end()));
  if (!page) return;
  for (std::uint32_t node = 0; node < page->node_count(); ++node) {
    const auto kind = page->kind(node);
    if (!kind) continue;
    // Asked for as every kind: what one decoder trusts another must not have proven.
    std::string last;
    ignore(page->directory_leaf(node, 0,
                                [&](Entry&& entry) {
                                  last = entry.name;
                                  return true;
                                }),
           "damage is an answer");
    ignore(page->find(node, last), "damage is an answer");
    ignore(page->leaf_entries(node), "damage is an answer");
    ignore(page->directory_index(node), "damage is an answer");
    ignore(page->extent_leaf(node), "damage is an answer");
    ignore(page->extent_index(node), "damage is an answer");
    ignore(page->xattr_set(node), "damage is an answer");
  }
}

void condemned(ByteView input) {
  const auto list = decode_condemned(input);
  if (!list) return;
  const auto again = decode_condemned(encode_condemned(*list));
  CHECK(again.ok() && *again == *list);
}

void record_head(ByteView input) {
  const auto record = decode_head(input);
  if (!record) return;
  const auto again = decode_head(encode_head(*record));
  CHECK(again.ok() && *again == *record);
}

void record_table(ByteView input) {
  const auto records = decode_record_table(input, kMaxPackBytes);
  if (!records) return;
  const auto again = decode_record_table(encode_record_table(*records), kMaxPackBytes);
  CHECK(again.ok() && *again == *records);
}

// The first four bytes say how long base and chunk are.
void patch(ByteView input) {
  Reader reader(input);
  const auto base_size = reader.u16();
  const auto raw_size = reader.u16();
  if (!base_size || !raw_size) return;
  const ByteView stored = input.subspan(4);
  const Bytes base(*base_size, 'b');
  ignore(decompress(kCodecPatch, stored, *raw_size, base), "damage is an answer");
  const auto runs = decode_runs(reader, *base_size, *raw_size);
  if (!runs) return;
  Writer writer;
  encode_runs(*runs, *raw_size, writer);
  CHECK(writer.size() + reader.remaining() == stored.size());
  CHECK(std::equal(writer.buffer().begin(), writer.buffer().end(), stored.begin()));
}

void pack_ends(ByteView input) {
  if (const auto header = decode_pack_header(input); header.ok()) {
    CHECK(encode_pack_header(*header).size() == kPackHeaderBytes);
  }
  ignore(decode_trailer(input), "damage is an answer");
}

void docker_json(ByteView input) {
  const std::string body(as_text(input));
  ignore(docker::parse_info(body), "damage is an answer");
  ignore(docker::parse_containers(body), "damage is an answer");
  ignore(docker::parse_container(body), "damage is an answer");
  ignore(docker::parse_volumes(body), "damage is an answer");
  ignore(docker::parse_volume(body), "damage is an answer");
  CHECK(docker::parse_message(body).size() <= 1000);
}

void instants(ByteView input) {
  const std::string_view text = as_text(input);
  const fs::InstantPoint points[] = {{.listed_name = "2024-03-10T01:30",
                                      .zone = "America/New_York",
                                      .instant = 1710052200 * kSecond,
                                      .id = {}},
                                     {.listed_name = "2024-03-16T05:57",
                                      .zone = "Europe/Berlin",
                                      .instant = 1710565020 * kSecond,
                                      .id = {}}};
  const auto index = fs::resolve_instant(text, points, 1710600000 * kSecond);
  CHECK(!index.ok() || !*index || **index < 2);
  CHECK(fs::is_instant(text) || !index.ok() || *index);
  if (const auto path = fs::parse_snapshot_path(text); path.ok()) {
    CHECK(fs::is_instant(path->instant));
    CHECK(path->path.empty() || path->path.front() != '/');
  }
}

void tar(ByteView input) {
  ingest::TarReader reader([&]() -> Result<ByteView> {
    const ByteView piece = input.first(std::min<std::size_t>(input.size(), 1000));
    input = input.subspan(piece.size());
    return piece;
  });
  bool first = true;
  for (auto entry = reader.next(); entry.ok() && *entry; entry = reader.next(), first = false) {
    const ingest::TarEntry& read = **entry;
    CHECK(first == read.path.empty() || !first);
    CHECK(("/" + read.path + "/").find("/../") == std::string::npos);
    CHECK(read.path.empty() || read.path.front() != '/');
    CHECK(read.entry.name.size() <= kMaxNameBytes && read.entry.mtime.nanoseconds < kSecond);
    if (read.same_as || read.entry.type != FileType::regular) continue;
    std::uint64_t done = 0;
    for (auto block = reader.read(); block.ok() && *block; block = reader.read()) {
      CHECK((*block)->offset >= done);
      done = (*block)->offset + (*block)->data.size();
      CHECK(done <= read.entry.size);
    }
  }
}

void check_problems(const std::vector<ingest::Problem>& problems) {
  for (const ingest::Problem& problem : problems) {
    CHECK(!problem.where.empty() && !problem.what.empty());
    CHECK(problem.where.size() < 2000 && problem.what.size() < 8000);
  }
}

// Whatever the file says, there is an answer for every source.
void config_file(ByteView input) {
  std::vector<ingest::Problem> problems;
  const auto config = ingest::parse_config(as_text(input), "f", "UTC", problems);
  if (!config.ok()) return;
  check_problems(problems);
  ingest::Source source;
  source.kind = SourceKind::container;
  source.name = "db";
  const ingest::Judged judged = ingest::judge(*config, source);
  CHECK(judged.problems.empty() && config->tiers.count(judged.policy.tier) == 1);
}

// Lines of KEY=VALUE, each a label.
void labels(ByteView input) {
  static const ingest::Config config = [] {
    std::vector<ingest::Problem> problems;
    return *ingest::parse_config("tiers: {mine: {keep-last: 1}}", "f", "UTC", problems);
  }();
  ingest::Source source;
  source.name = "db";
  std::string_view text = as_text(input);
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const std::size_t equals = std::min(line.find('='), line.size());
    std::string value(line.substr(std::min(line.size(), equals + 1)));
    std::replace(value.begin(), value.end(), '\x01', '\n');
    source.labels["bygone." + std::string(line.substr(0, equals))] = value;
  }
  for (const SourceKind kind : {SourceKind::container, SourceKind::volume}) {
    source.kind = kind;
    const ingest::Judged judged = ingest::judge(config, source);
    check_problems(judged.problems);
    CHECK(judged.problems.size() <= source.labels.size());
    CHECK(config.tiers.count(judged.policy.tier) == 1);
    CHECK(!judged.policy.pre || !judged.policy.pre->command.empty());
  }
}

}  // namespace

const std::vector<FuzzTarget>& fuzz_targets() {
  static const std::vector<FuzzTarget> targets = {
      {"config", config},
      {"key-slot", key_slot},
      {"snapshot", snapshot},
      {"note", note},
      {"sealed-object", sealed_object},
      {"page", page},
      {"record-head", record_head},
      {"record-table", record_table},
      {"patch", patch},
      {"pack-ends", pack_ends},
      {"docker-json", docker_json},
      {"instants", instants},
      {"condemned", condemned},
      {"tar", tar},
      {"config-file", config_file},
      {"labels", labels},
  };
  return targets;
}

}  // namespace bygone::test
