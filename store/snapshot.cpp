// SPDX-License-Identifier: Apache-2.0
#include "store/snapshot.h"

#include <map>

#include "store/base/codec.h"
#include "store/fields.h"
#include "store/format.h"
#include "store/page.h"

namespace bygone::store {
namespace {

// Field tags (FORMAT.md section 8.2). A reader must understand fields with the critical bit.
constexpr std::uint16_t kCritical = kCriticalField;
constexpr const char* kWhat = "a snapshot record";
enum Field : std::uint16_t {
  kSource = kCritical | 1,
  kKind = kCritical | 2,
  kName = kCritical | 3,
  kHostId = kCritical | 4,
  kHost = 5,
  kDisplayName = kCritical | 6,
  kInstant = kCritical | 7,
  kListedName = kCritical | 8,
  kZone = kCritical | 9,
  kSequence = kCritical | 10,
  kPrevious = kCritical | 11,
  kVolumes = kCritical | 12,
  kConsistency = 13,
  kWindow = 14,
  kSkew = 15,
  kPartial = kCritical | 16,
  kStarted = 17,
  kFinished = 18,
  kCounts = 19,
  kProgram = 20,
  kTags = 21,
  kExtra = 22,
  kGroup = 23,
  kImage = 24,
  kFailed = 25,
};
constexpr std::uint16_t kLastField = kFailed;
constexpr std::size_t kMaxText = 4096;
constexpr std::size_t kMaxVolumes = 4096;
constexpr std::size_t kMaxTags = 1024;
constexpr std::size_t kMaxMembers = 4096;
constexpr std::size_t kMaxDigests = 1024;
constexpr std::size_t kMaxFailed = 1024;

// A root entry is kept in the form of a page that holds it as its only entry.
Bytes encode_root(const Entry& root) {
  PageBuilder builder([](const ChunkId&) { return false; });
  builder.add_directory_leaf({&root, 1});
  return builder.finish();
}

Result<Entry> decode_root(ByteView data) {
  const Page page =
      TRY(Page::parse(ChunkId{}, std::make_shared<const Bytes>(data.begin(), data.end())));
  std::optional<Entry> root;
  TRY(page.directory_leaf(0, 0, [&](Entry&& entry) {
    root = std::move(entry);
    return false;
  }));
  if (!root) return Error{Code::corrupt, 0, "a volume without a root"};
  return std::move(*root);
}

Bytes encode_volumes(const std::vector<Volume>& volumes) {
  Writer w;
  w.varint(volumes.size());
  for (const Volume& volume : volumes) {
    w.string(volume.name);
    w.string(volume.destination);
    w.string(volume.origin);
    w.u8(static_cast<std::uint8_t>(volume.kind));
    w.string(encode_root(volume.root));
  }
  return w.take();
}

Result<std::vector<Volume>> decode_volumes(Reader& r) {
  std::vector<Volume> volumes(TRY(r.varint_at_most(kMaxVolumes)));
  for (Volume& volume : volumes) {
    volume.name = as_text(TRY(r.string(kMaxText)));
    volume.destination = as_text(TRY(r.string(kMaxText)));
    volume.origin = as_text(TRY(r.string(kMaxText)));
    const std::uint8_t kind = TRY(r.u8());
    if (kind < 1 || kind > 5) return Error{Code::corrupt, 0, "a volume of unknown kind"};
    volume.kind = static_cast<VolumeKind>(kind);
    volume.root = TRY(decode_root(TRY(r.string(kMaxXattrSet))));
  }
  return volumes;
}

void write_strings(Writer& w, const std::vector<std::string>& strings) {
  w.varint(strings.size());
  for (const std::string& each : strings) w.string(each);
}

Result<std::vector<std::string>> read_strings(Reader& r, std::size_t limit) {
  std::vector<std::string> strings(TRY(r.varint_at_most(limit)));
  for (std::string& each : strings) each = as_text(TRY(r.string(kMaxText)));
  return strings;
}

Result<void> decode_group(Snapshot& s, Reader& r) {
  s.group = as_text(TRY(r.string(kMaxText)));
  s.run = TRY(r.id<RunId>());
  s.members = TRY(read_strings(r, kMaxMembers));
  if (s.run.is_zero() || s.group.empty()) {
    return Error{Code::corrupt, 0, "a group without a name or a run"};
  }
  return {};
}

Bytes encode_group(const Snapshot& s) {
  Writer w;
  w.string(s.group);
  w.bytes(s.run.bytes);
  write_strings(w, s.members);
  return w.take();
}

Result<void> decode_image(Snapshot& s, Reader& r) {
  s.image = as_text(TRY(r.string(kMaxText)));
  s.image_id = as_text(TRY(r.string(kMaxText)));
  s.image_digests = TRY(read_strings(r, kMaxDigests));
  return {};
}

Bytes encode_image(const Snapshot& s) {
  Writer w;
  w.string(s.image);
  w.string(s.image_id);
  write_strings(w, s.image_digests);
  return w.take();
}

Result<void> decode_field(Snapshot& s, std::uint16_t tag, ByteView value) {
  Reader r(value);
  const auto text = [&](std::string& out) -> Result<void> {
    out = as_text(TRY(r.bytes(r.remaining())));
    return {};
  };
  const auto number = [&](auto& out) -> Result<void> {
    out = static_cast<std::remove_reference_t<decltype(out)>>(TRY(r.svarint()));
    return {};
  };
  const auto small = [&](std::uint8_t limit) -> Result<std::uint8_t> {
    const std::uint8_t v = TRY(r.u8());
    if (v < 1 || v > limit) return Error{Code::corrupt, 0, "a field out of range"};
    return v;
  };
  switch (tag) {
    case kSource:
      s.source = TRY(r.id<SourceId>());
      break;
    case kKind:
      s.kind = static_cast<SourceKind>(TRY(small(3)));
      break;
    case kName:
      TRY(text(s.name));
      break;
    case kHostId:
      TRY(text(s.host_id));
      break;
    case kHost:
      TRY(text(s.host));
      break;
    case kDisplayName:
      TRY(text(s.display_name));
      break;
    case kInstant:
      TRY(number(s.instant));
      break;
    case kListedName:
      TRY(text(s.listed_name));
      break;
    case kZone:
      TRY(text(s.zone));
      break;
    case kSequence:
      TRY(number(s.sequence));
      break;
    case kPrevious:
      s.previous = TRY(r.id<SnapshotId>());
      break;
    case kVolumes:
      s.volumes = TRY(decode_volumes(r));
      break;
    case kConsistency:
      s.consistency = static_cast<Consistency>(TRY(small(6)));
      break;
    case kWindow:
      TRY(number(s.window));
      break;
    case kSkew:
      TRY(number(s.skew));
      break;
    case kPartial:
      s.partial = TRY(r.u8())
      != 0;
      break;
    case kStarted:
      TRY(number(s.started));
      break;
    case kFinished:
      TRY(number(s.finished));
      break;
    case kCounts:
      s.files = TRY(r.varint());
      s.folders = TRY(r.varint());
      s.bytes = TRY(r.varint());
      s.added_bytes = TRY(r.varint());
      s.errors = TRY(r.varint());
      break;
    case kProgram:
      TRY(text(s.program));
      break;
    case kTags:
      s.tags = TRY(read_strings(r, kMaxTags));
      break;
    case kExtra:
      s.extra = TRY(decode_root(TRY(r.bytes(r.remaining()))));
      break;
    case kGroup:
      TRY(decode_group(s, r));
      break;
    case kImage:
      TRY(decode_image(s, r));
      break;
    case kFailed:
      s.failed = TRY(read_strings(r, kMaxFailed));
      break;
    default:
      return keep_unknown(s.unknown_fields, tag, value, kLastField, kWhat);
  }
  return r.finish();
}

}  // namespace

Bytes encode_snapshot(const Snapshot& s) {
  FieldWriter f;
  const auto byte = [](std::uint8_t v) { return Bytes{v}; };
  f.put(kSource, Bytes(s.source.bytes.begin(), s.source.bytes.end()));
  f.put(kKind, byte(static_cast<std::uint8_t>(s.kind)));
  f.text(kName, s.name);
  f.text(kHostId, s.host_id);
  f.text(kHost, s.host);
  f.text(kDisplayName, s.display_name);
  f.number(kInstant, s.instant);
  f.text(kListedName, s.listed_name);
  f.text(kZone, s.zone);
  f.number(kSequence, static_cast<std::int64_t>(s.sequence));
  if (!s.previous.is_zero()) {
    f.put(kPrevious, Bytes(s.previous.bytes.begin(), s.previous.bytes.end()));
  }
  f.put(kVolumes, encode_volumes(s.volumes));
  f.put(kConsistency, byte(static_cast<std::uint8_t>(s.consistency)));
  f.number(kWindow, s.window);
  f.number(kSkew, s.skew);
  if (s.partial) f.put(kPartial, byte(1));
  f.number(kStarted, s.started);
  f.number(kFinished, s.finished);
  Writer counts;
  for (const std::uint64_t n : {s.files, s.folders, s.bytes, s.added_bytes, s.errors}) {
    counts.varint(n);
  }
  f.put(kCounts, counts.take());
  f.text(kProgram, s.program);
  const auto strings = [&](Field field, const std::vector<std::string>& list) {
    if (list.empty()) return;
    Writer w;
    write_strings(w, list);
    f.put(field, w.take());
  };
  strings(kTags, s.tags);
  if (s.extra) f.put(kExtra, encode_root(*s.extra));
  if (!s.group.empty()) f.put(kGroup, encode_group(s));
  if (!s.image.empty() || !s.image_id.empty()) f.put(kImage, encode_image(s));
  strings(kFailed, s.failed);
  for (const auto& [tag, value] : s.unknown_fields) f.put(tag, value);
  return f.finish();
}

Result<Snapshot> decode_snapshot(ByteView data) {
  Snapshot s;
  TRY(read_fields(data, kWhat,
                  [&](std::uint16_t tag, ByteView value) { return decode_field(s, tag, value); }));
  if (s.source.is_zero() || s.name.empty() || s.display_name.empty() || s.listed_name.empty()) {
    return Error{Code::corrupt, 0, "a snapshot record lacks a field"};
  }
  return s;
}

std::vector<const Snapshot*> newest_of_sources(const std::vector<Snapshot>& snapshots) {
  std::map<SourceId, const Snapshot*> newest;
  for (const Snapshot& snapshot : snapshots) {
    const Snapshot*& at = newest[snapshot.source];
    if (at == nullptr || snapshot.sequence > at->sequence) at = &snapshot;
  }
  std::vector<const Snapshot*> list;
  list.reserve(newest.size());
  for (const auto& [source, snapshot] : newest) list.push_back(snapshot);
  return list;
}

const char* to_text(Consistency consistency) {
  switch (consistency) {
    case Consistency::live:
      return "live";
    case Consistency::freeze:
      return "freeze";
    case Consistency::stop:
      return "stop";
    case Consistency::snapshot:
      return "snapshot";
    case Consistency::native:
      return "native";
    case Consistency::idle:
      return "idle";
  }
  return "unknown";
}

const char* to_text(SourceKind kind) {
  switch (kind) {
    case SourceKind::container:
      return "container";
    case SourceKind::volume:
      return "volume";
    case SourceKind::folder:
      return "folder";
  }
  return "unknown";
}

const char* to_text(VolumeKind kind) {
  switch (kind) {
    case VolumeKind::named:
      return "named";
    case VolumeKind::anonymous:
      return "anonymous";
    case VolumeKind::bind:
      return "bind";
    case VolumeKind::folder:
      return "folder";
    case VolumeKind::layer:
      return "layer";
  }
  return "unknown";
}

}  // namespace bygone::store
