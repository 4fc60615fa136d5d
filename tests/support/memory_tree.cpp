// SPDX-License-Identifier: Apache-2.0
#include "tests/support/memory_tree.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <random>

#include "store/chunk_store.h"
#include "store/chunker.h"
#include "store/format.h"
#include "tests/support/expect.h"

namespace bygone::test {

using namespace store;

Bytes noise(std::size_t size, std::uint64_t seed) {
  // splitmix64: the same on every machine, unlike the distributions of <random>.
  Bytes bytes(size);
  std::uint64_t state = seed;
  for (std::size_t i = 0; i < size; i += 8) {
    state += 0x9e3779b97f4a7c15;
    std::uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    z ^= z >> 31;
    std::memcpy(bytes.data() + i, &z, std::min(sizeof z, size - i));
  }
  return bytes;
}

Bytes prose(std::size_t size, std::uint64_t seed) {
  static constexpr std::string_view kWords[] = {"chunk ",  "pack ",  "snapshot ", "page ",
                                                "extent ", "index ", "record ",   "volume\n"};
  Bytes bytes;
  bytes.reserve(size + 16);
  for (const std::uint8_t byte : noise(size / 4 + 8, seed)) {
    const std::string_view word = kWords[byte % 8];
    bytes.insert(bytes.end(), word.begin(), word.end());
    if (bytes.size() >= size) break;
  }
  bytes.resize(size);
  return bytes;
}

Secret key_file(std::string_view contents) {
  return {.kind = Secret::Kind::key_file, .bytes = SecretBytes::copy_of(as_bytes(contents))};
}

Secret passphrase(std::string_view text) {
  return {.kind = Secret::Kind::passphrase, .bytes = SecretBytes::copy_of(as_bytes(text))};
}

namespace {

struct Folder {
  std::map<std::string, Folder> folders;
  std::map<std::string, const Bytes*> files;
};

Folder arrange(const MemoryTree& tree) {
  Folder root;
  for (const auto& [path, content] : tree) {
    Folder* at = &root;
    std::size_t begin = 0;
    for (std::size_t slash = path.find('/'); slash != std::string::npos;
         slash = path.find('/', begin)) {
      at = &at->folders[path.substr(begin, slash - begin)];
      begin = slash + 1;
    }
    if (begin < path.size()) at->files[path.substr(begin)] = &content;
  }
  return root;
}

class Writing {
 public:
  Writing(Session& session, const ClaimedSource& source, Compression compression)
      : session_(session),
        writer_(session.repository().keys(), session),
        trees_(session, 1 << 20),
        compressor_(compression),
        tag_(session.volume_tag(source.id, "")) {}

  Result<Entry> file(const std::string& name, const Bytes& content,
                     const std::optional<Entry>& parent) {
    Entry entry{.name = name, .mode = 0644, .size = content.size()};
    if (content.size() <= kMaxInlineBytes) {
      if (!content.empty()) entry.content = Entry::Content::inline_bytes;
      entry.inline_bytes = content;
      return entry;
    }
    std::vector<Extent> extents;
    std::vector<ChunkId> before;
    if (parent) {
      const auto read =
          trees_.extents(*parent, 0, parent->size, [&](std::uint64_t, const Extent& extent) {
            before.push_back(extent.chunk);
            return true;
          });
      if (!read) before.clear();
    }
    ByteView rest(content);
    while (!rest.empty()) {
      const std::size_t size =
          next_cut(session_.repository().keys().gear_table(), rest, content.size() - rest.size());
      ChunkHint hint;
      if (extents.size() < before.size()) hint.predecessor = before[extents.size()];
      const ChunkId id = TRY(session_.put_data(rest.first(size), tag_, compressor_, hint));
      extents.push_back({.kind = Extent::Kind::data, .length = size, .offset = 0, .chunk = id});
      rest = rest.subspan(size);
    }
    TRY(writer_.add_extents(entry, std::move(extents), nullptr, nullptr));
    return entry;
  }

  Result<Entry> folder(const std::string& name, const Folder& content,
                       const std::optional<Entry>& parent) {
    // A parent that is damaged is none.
    const auto before = [&](const std::string& child) -> std::optional<Entry> {
      if (!parent || !parent->is_directory()) return std::nullopt;
      auto found = trees_.lookup(*parent, child);
      return found.ok() ? std::move(*found) : std::nullopt;
    };
    std::map<std::string, Entry> entries;
    for (const auto& [child, below] : content.folders) {
      entries[child] = TRY(folder(child, below, before(child)));
    }
    for (const auto& [child, bytes] : content.files) {
      entries[child] = TRY(file(child, *bytes, before(child)));
    }
    std::vector<Entry> sorted;
    for (auto& [child, entry] : entries) sorted.push_back(std::move(entry));
    Entry entry{.name = name, .type = FileType::directory, .mode = 0755};
    TRY(writer_.add_directory(entry, sorted));
    return entry;
  }

  Result<void> finish(Entry& root) {
    Entry* const roots[] = {&root};
    return writer_.finish(roots);
  }

 private:
  Session& session_;
  TreeWriter writer_;
  TreeReader trees_;
  Compressor compressor_;
  std::uint64_t tag_;
};

Result<Bytes> read_file(Repository& repository, const Entry& file) {
  if (file.content == Entry::Content::inline_bytes) return file.inline_bytes;
  Bytes content(file.size);
  std::optional<Error> failed;
  const auto copy = [&](std::uint64_t offset, const Extent& extent) {
    if (extent.kind != Extent::Kind::data) return true;
    const auto chunk = repository.chunks().get(ChunkKind::data, extent.chunk);
    if (!chunk) {
      failed = chunk.error();
      return false;
    }
    std::copy_n((*chunk)->begin() + extent.offset, extent.length,
                content.begin() + static_cast<std::ptrdiff_t>(offset));
    return true;
  };
  TRY(repository.trees().extents(file, 0, file.size, copy));
  if (failed) return *failed;
  return content;
}

Result<void> read_folder(Repository& repository, const Entry& folder, const std::string& path,
                         MemoryTree& out) {
  std::vector<Entry> entries;
  TRY(repository.trees().list(folder, 0, [&](const Entry& entry) {
    entries.push_back(entry);
    return true;
  }));
  if (entries.empty() && !path.empty()) out[path] = {};
  for (const Entry& entry : entries) {
    if (entry.is_directory()) {
      TRY(read_folder(repository, entry, path + entry.name + "/", out));
    } else {
      out[path + entry.name] = TRY(read_file(repository, entry));
    }
  }
  return {};
}

}  // namespace

Result<Snapshot> back_up(Session& session, const MemoryTree& tree, const BackUpOptions& options) {
  ClaimedSource source =
      TRY(session.claim(SourceKind::container, "engine", "host", options.source));
  Writing writing(session, source, options.compression);
  std::optional<Entry> parent;
  if (source.parent) parent = source.parent->volumes.at(0).root;
  Entry root = TRY(writing.folder("", arrange(tree), parent));
  TRY(writing.finish(root));
  Snapshot snapshot;
  snapshot.kind = SourceKind::container;
  snapshot.name = options.source;
  snapshot.host_id = "engine";
  snapshot.host = "host";
  snapshot.instant = options.instant;
  snapshot.zone = "UTC";
  snapshot.volumes.push_back({.name = "data",
                              .destination = "/data",
                              .origin = "data",
                              .kind = VolumeKind::named,
                              .root = root});
  snapshot.files = root.subtree_files;
  snapshot.bytes = root.subtree_bytes;
  return session.commit(source, std::move(snapshot));
}

Result<Snapshot> back_up(Repository& repository, const MemoryTree& tree,
                         const BackUpOptions& options) {
  const auto session = TRY(Session::begin(repository, options.compression));
  return back_up(*session, tree, options);
}

Result<MemoryTree> read_back(Repository& repository, const Snapshot& snapshot) {
  MemoryTree out;
  for (const Volume& volume : snapshot.volumes) {
    TRY(read_folder(repository, volume.root, "", out));
  }
  return out;
}

std::string fault_of_trees(Repository& repository, const std::map<SnapshotId, MemoryTree>& trees) {
  const auto snapshots = repository.snapshots();
  if (!snapshots) return snapshots.error().message;
  if (snapshots->size() != trees.size()) return "a snapshot is gone";
  for (const Snapshot& snapshot : *snapshots) {
    const auto tree = read_back(repository, snapshot);
    if (!tree) return tree.error().message;
    if (*tree != trees.at(snapshot.id)) return "another tree than backed up";
  }
  return "";
}

std::unique_ptr<Repository> new_repository(const std::string& path) {
  value_of(Repository::create(path, key_file()));
  return reopen(path);
}

std::unique_ptr<Repository> fixed_repository(const std::string& path) {
  namespace filesystem = std::filesystem;
  const std::string golden = BYGONE_GOLDEN "/repository";
  value_of(Repository::create(path, key_file()));
  filesystem::remove_all(path + "/keys");
  filesystem::copy(golden + "/keys", path + "/keys");
  filesystem::copy_file(golden + "/config", path + "/config",
                        filesystem::copy_options::overwrite_existing);
  filesystem::remove(path + "/config-copy");
  return reopen(path);
}

std::unique_ptr<Repository> reopen(const std::string& path, const std::string& index_dir) {
  return value_of(Repository::open(path, key_file(), {.index_dir = index_dir}));
}

}  // namespace bygone::test
