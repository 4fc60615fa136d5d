// SPDX-License-Identifier: Apache-2.0
#include "store/repository.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <tuple>

#include <fcntl.h>
#include <pwd.h>
#include <unistd.h>

#include "store/base/log.h"
#include "store/chunk_store.h"
#include "store/config.h"
#include "store/format.h"
#include "store/index.h"
#include "store/locks.h"
#include "store/slots.h"
#include "store/temp_file.h"

namespace bygone::store {
namespace {

std::string user_cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/') {
    return cache;
  }
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home != '/') {
    const passwd* user = ::getpwuid(::getuid());
    home = user != nullptr ? user->pw_dir : "/";
  }
  return std::string(home) + "/.cache";
}

constexpr const char* kFolders[] = {"keys",      "packs",   "snapshots", "notes",
                                    "trash",     "damaged", "condemned", "locks",
                                    "locks/gen", "tmp",     "index",     "locks/source"};

Result<void> make_layout(Files& files, const std::string& path) {
  const auto make = [&](const std::string& folder) -> Result<void> {
    auto made = files.make_directory(path + "/" + folder);
    if (made || made.error().code != Code::exists) return made;
    return expect_folder(files, path + "/" + folder);  // of an init that was interrupted
  };
  for (const char* folder : kFolders) TRY(make(folder));
  for (unsigned bucket = 0; bucket < 256; ++bucket) {
    const std::uint8_t byte = static_cast<std::uint8_t>(bucket);
    TRY(make("packs/" + to_hex({&byte, 1})));
  }
  TRY(files.sync_directory(path + "/packs"));
  TRY(files.sync_directory(path + "/locks"));
  const Fd reserve = TRY(open_plain(files, path + "/reserve", O_RDWR | O_CREAT, 0600));
  TRY(files.allocate(reserve, kReserveBytes));
  return files.sync_data(reserve);
}

// Links in place of our folders would have files elsewhere taken for ours, and removed. The index
// is a cache, and LMDB's.
Result<void> expect_layout(Files& files, const std::string& path) {
  for (const char* folder : kFolders) {
    if (std::string_view(folder) == "index") continue;
    auto real = expect_folder(files, path + "/" + folder);
    if (!real && real.error().code != Code::not_found) return real;
  }
  return {};
}

// Whether it is what an init that was interrupted left: a layout without config that holds no pack
// and no snapshot, so that its keys open nothing.
Result<bool> is_unfinished(Files& files, const std::string& path) {
  static const std::set<std::string> kOurs{std::begin(kFolders), std::end(kFolders)};
  for (const std::string& name : TRY(files.list(path))) {
    if (name != "reserve" && name != kConfigCopy && !kOurs.contains(name)) return false;
    if (name == "snapshots" && !TRY(files.list(path + "/snapshots")).empty()) return false;
    if (name != "packs") continue;
    for (const std::string& bucket : TRY(files.list(path + "/packs"))) {
      if (!TRY(files.list(path + "/packs/" + bucket)).empty()) return false;
    }
  }
  return true;
}

Result<void> clear_unfinished(Files& files, const std::string& path) {
  for (const char* folder : {"/keys", "/tmp"}) {
    for (const std::string& name : TRY(files.list(path + folder))) {
      TRY(files.remove(path + folder + "/" + name));
    }
  }
  auto removed = files.remove(path + "/" + kConfigCopy);
  if (!removed && removed.error().code != Code::not_found) return removed;
  return {};
}

// Nothing, or what an init that was interrupted left.
Result<void> expect_room(Files& files, const std::string& path) {
  auto names = files.list(path);
  if (!names) return std::move(names).error().with("creating repository");
  if (std::find(names->begin(), names->end(), kConfigFile) != names->end()) {
    return Error{Code::exists, 0, "there is a repository at " + printable(path) + " already"};
  }
  if (TRY(is_unfinished(files, path))) return {};
  return Error{Code::exists, 0,
               "creating repository " + printable(path) +
                   ": the folder is not empty; hint: name a new or an empty folder"};
}

Error no_repository(const std::string& path) {
  return Error{Code::not_found, 0,
               "there is no repository at " + printable(path) +
                   "; hint: bygone init makes one, BYGONE_REPOSITORY or --repo names another"};
}

// A copy alone is a repository that lost its configuration, or an init that was interrupted.
Result<bool> is_repository(Files& files, const std::string& path) {
  for (const char* name : {kConfigFile, kConfigCopy}) {
    const auto info = files.info(path + "/" + name);
    if (info) return std::string_view(name) == kConfigFile || !TRY(is_unfinished(files, path));
    if (info.error().code != Code::not_found && info.error().errnum != ENOTDIR) return info.error();
  }
  return false;
}

struct OpenedKeys {
  std::unique_ptr<KeyRing> ring;
  std::string slot;
};

constexpr int kSlotListings = 5;

struct SlotFile {
  std::uint32_t epoch;
  std::string name;
  Bytes slot;
};
struct Candidates {
  std::vector<SlotFile> slots;
  std::string damaged;
  bool vanished = false;
};

Result<Candidates> read_slots(Files& files, const std::string& path) {
  Candidates found;
  for (const std::string& name : TRY(files.list(path + "/keys"))) {
    auto slot = read_file(files, path + "/keys/" + name, kMaxSlotBytes);
    if (!slot && slot.error().code == Code::not_found) found.vanished = true;
    auto head = slot ? KeyRing::read_head(name, *slot) : slot.error();
    if (head) {
      found.slots.push_back({head->newest_epoch, name, std::move(*slot)});
    } else {
      found.damaged += "; " + head.error().message;
    }
  }
  return found;
}

// The newest epoch first: a rotation that was interrupted leaves older slots of the same secret.
Result<OpenedKeys> open_keys(Files& files, const std::string& path, const RepositoryId& id,
                             const Secret& secret) {
  Candidates found = TRY(read_slots(files, path));
  // A rotation writes all slots anew, and then removes the old ones: what came in their place is in
  // the next listing.
  for (int listings = 1; found.vanished && listings < kSlotListings; ++listings) {
    found = TRY(read_slots(files, path));
  }
  std::stable_sort(found.slots.begin(), found.slots.end(),
                   [](const SlotFile& a, const SlotFile& b) { return a.epoch > b.epoch; });
  std::size_t whole = 0;
  for (const SlotFile& candidate : found.slots) {
    auto ring = KeyRing::unwrap(id, secret, candidate.name, candidate.slot);
    if (ring) return OpenedKeys{std::move(ring).value(), candidate.name};
    if (ring.error().code == Code::denied) {
      ++whole;
    } else {
      found.damaged += "; " + ring.error().message;
    }
  }
  const char* what = secret.kind == Secret::Kind::passphrase ? "passphrase" : "key file";
  if (whole == 0 && !found.damaged.empty()) {
    return Error{Code::corrupt, 0, "no key slot is readable" + found.damaged};
  }
  if (found.slots.empty()) {
    return Error{Code::corrupt, 0,
                 "there is no key slot in " + printable(path) +
                     "/keys; hint: bygone key import brings back one that was exported"};
  }
  return Error{Code::denied, 0, std::string("no key slot matches this ") + what + found.damaged};
}

struct Opening {
  Bytes config;
  RepositoryId id;
  OpenedKeys keys;
};

Result<Opening> open_with(Files& files, const std::string& path, Bytes raw, const Secret& secret) {
  const Config config = TRY(decode_config(raw));
  OpenedKeys keys = TRY(open_keys(files, path, config.repository, secret));
  TRY(prove_config(raw, *keys.ring));
  return Opening{.config = std::move(raw), .id = config.repository, .keys = std::move(keys)};
}

// By the configuration or, when that is damaged or gone, by its copy. One of a later version is
// neither: it proves itself, and the copy must not open what it forbids.
Result<Opening> open_config(Files& files, const std::string& path, const Secret& secret) {
  constexpr std::uint64_t kLimit = 1u << 16;
  const auto raw = read_file(files, path + "/" + kConfigFile, kLimit);
  auto opened = raw ? open_with(files, path, *raw, secret) : Result<Opening>(raw.error());
  if (opened) return opened;
  auto copy = read_file(files, path + "/" + kConfigCopy, kLimit);
  if (!copy || (raw && *raw == *copy)) return opened;
  auto by_copy = open_with(files, path, std::move(copy).value(), secret);
  if (!by_copy) {
    // A wrong secret is told of whatever else is broken: with the right one the copy opens.
    if (by_copy.error().code == Code::denied) return by_copy;
    Error both = opened.error();
    both.message += "; its copy: " + by_copy.error().message;
    return both;
  }
  if (raw && prove_config(*raw, *by_copy->keys.ring)) return opened;
  log::warning(printable(path) + "/" + kConfigFile + " opens nothing (" + opened.error().message +
               "): its copy is used; hint: bygone repair config config writes it again");
  return by_copy;
}

}  // namespace

Result<void> Repository::create(const std::string& path, const Secret& secret, Files& files) {
  TRY(init_crypto());
  auto made = files.make_directory(path);
  if (!made && made.error().code != Code::exists) {
    return std::move(made).error().with("creating repository");
  }
  if (!made) TRY(expect_room(files, path));
  TRY(make_layout(files, path));
  // Two at once would each remove the other one's keys, and the later config replace the first.
  const Fd lock = TRY(lock_exclusively(files, path + "/locks/prune", "init",
                                       "another init makes a repository at " + printable(path),
                                       "wait until it is done"));
  TRY(expect_room(files, path));
  TRY(clear_unfinished(files, path));
  const Config config{.repository = random_id<RepositoryId>(), .created = system_now()};
  const auto keys = KeyRing::generate(config.repository);
  const std::string slot = random_id<PackId>().hex();
  const Bytes wrapped =
      TRY(keys->wrap(secret, slot, {.created = config.created, .text = "made by init"}));
  const std::string tmp = path + "/tmp";
  TRY(write_durably(files, tmp, path + "/keys", slot, wrapped));
  const Bytes encoded = encode_config(config, *keys);
  TRY(write_synced(files, tmp, path, kConfigCopy, encoded));
  // Last: a folder with a config is a repository.
  TRY(write_durably(files, tmp, path, kConfigFile, encoded));
  return files.sync_directory(parent_folder(path));
}

Result<std::unique_ptr<Repository>> Repository::open(const std::string& path, const Secret& secret,
                                                     const OpenOptions& options) {
  TRY(init_crypto());
  std::unique_ptr<Repository> repository(new Repository());
  repository->path_ = path;
  repository->files_ = options.files != nullptr ? options.files : &system_files();
  Files& files = *repository->files_;
  const auto in_context = [&](Error error) {
    return std::move(error).with("opening repository " + printable(path));
  };
  const auto is_there = is_repository(files, path);
  if (!is_there) return in_context(is_there.error());
  if (!*is_there) return no_repository(path);
  if (auto real = expect_layout(files, path); !real) return in_context(std::move(real).error());
  auto opened = open_config(files, path, secret);
  if (!opened) return in_context(std::move(opened).error());
  repository->id_ = opened->id;
  repository->config_ = std::move(opened->config);
  repository->keys_ = std::move(opened->keys.ring);
  repository->slot_ = std::move(opened->keys.slot);
  repository->keys_->ask_slots([&files, path] {
    const auto newest = newest_slot(files, path);
    // Who cannot tell does not call it damage.
    return newest ? newest->epoch : static_cast<std::uint32_t>(kMaxEpochs);
  });
  const std::string index_dir = options.index_dir.empty() ? path + "/index" : options.index_dir;
  auto index = Index::open(files, index_dir,
                           user_cache_folder() + "/bygone/" + repository->id_.hex() + "/index",
                           options.index_dir.empty() ? path + "/reserve" : "");
  if (!index) return in_context(std::move(index).error());
  repository->index_ = std::move(index).value();
  repository->chunks_ = std::make_unique<ChunkStore>(
      files, *repository->keys_, path, *repository->index_, options.chunk_cache_bytes);
  repository->trees_ = std::make_unique<TreeReader>(*repository->chunks_, options.page_cache_bytes);
  return repository;
}

Repository::~Repository() = default;

Result<void> Repository::add_config_copy() {
  const auto info = files_->info(path_ + "/" + kConfigCopy);
  if (info) return {};
  if (info.error().code != Code::not_found) return info.error();
  return write_durably(*files_, path_ + "/tmp", path_, kConfigCopy, config_);
}

namespace {

Result<std::vector<SnapshotId>> ids_in(Files& files, const std::string& folder) {
  std::vector<SnapshotId> ids;
  for (const std::string& name : TRY(files.list(folder))) {
    if (const auto id = SnapshotId::from_hex_text(name)) ids.push_back(*id);
  }
  return ids;
}

enum class Vanished { leave_out, fail };

// The records of `ids`, in order of time. `vanished`: what becomes of one that is not there any
// more.
Result<std::vector<Snapshot>> read_all(
    const std::vector<SnapshotId>& ids,
    const std::function<Result<Snapshot>(const SnapshotId&)>& read, Vanished vanished,
    std::vector<std::string>* damaged, std::vector<std::string>* locked) {
  std::vector<Snapshot> all;
  for (const SnapshotId& id : ids) {
    auto snapshot = read(id);
    if (snapshot) {
      all.push_back(std::move(snapshot).value());
    } else if (snapshot.error().code == Code::not_found && vanished == Vanished::leave_out) {
      continue;
    } else if (needs_newer_key(snapshot.error())) {
      if (locked == nullptr) return std::move(snapshot).error();
      locked->push_back(snapshot.error().message);
    } else if (damaged != nullptr) {
      damaged->push_back(snapshot.error().message);
    } else {
      return std::move(snapshot).error();
    }
  }
  std::sort(all.begin(), all.end(), [](const Snapshot& a, const Snapshot& b) {
    return std::tie(a.display_name, a.instant, a.sequence, a.id) <
           std::tie(b.display_name, b.instant, b.sequence, b.id);
  });
  return all;
}

}  // namespace

Result<std::vector<SnapshotId>> Repository::snapshot_ids() {
  return ids_in(*files_, path_ + "/snapshots");
}

Result<Snapshot> Repository::snapshot(const SnapshotId& id) {
  const std::string name = id.hex();
  const std::string path = path_ + "/snapshots/" + name;
  const auto kept = index_->snapshot(id);
  if (kept && *kept) {
    // The folder says what is committed; the index only saves reading the file.
    if (auto info = files_->info(path); !info) {
      return std::move(info).error().with("snapshot " + name);
    }
    auto snapshot = unseal_snapshot(id, **kept);
    if (snapshot) return snapshot;  // else the index lies: the file decides
  }
  auto sealed = read_file(*files_, path, kMaxObjectBytes);
  if (!sealed) return std::move(sealed).error().with("snapshot " + name);
  auto snapshot = unseal_snapshot(id, *sealed);
  if (!snapshot) return std::move(snapshot).error().with("snapshot " + path);
  if (auto put = index_->keep_snapshot(id, *sealed); !put) log::info(put.error().message);
  return snapshot;
}

Result<std::vector<Snapshot>> Repository::snapshots(std::vector<std::string>* damaged,
                                                    std::vector<std::string>* locked) {
  return read_all(
      TRY(snapshot_ids()), [this](const SnapshotId& id) { return snapshot(id); },
      Vanished::leave_out, damaged, locked);
}

Result<std::vector<Snapshot>> Repository::all_snapshots() {
  return read_all(
      TRY(snapshot_ids()), [this](const SnapshotId& id) { return snapshot(id); }, Vanished::fail,
      nullptr, nullptr);
}

Result<std::vector<SnapshotId>> Repository::trashed_ids() {
  std::vector<SnapshotId> ids = TRY(ids_in(*files_, path_ + "/trash"));
  // A move that the power interrupted may leave a record in both: then it was not forgotten.
  std::vector<SnapshotId> live = TRY(snapshot_ids());
  std::sort(live.begin(), live.end());
  std::erase_if(
      ids, [&](const SnapshotId& id) { return std::binary_search(live.begin(), live.end(), id); });
  return ids;
}

Result<Snapshot> Repository::trashed_snapshot(const SnapshotId& id) {
  const std::string path = path_ + "/trash/" + id.hex();
  auto sealed = read_file(*files_, path, kMaxObjectBytes);
  if (!sealed) return std::move(sealed).error().with("snapshot " + path);
  auto snapshot = unseal_snapshot(id, *sealed);
  if (!snapshot) return std::move(snapshot).error().with("snapshot " + path);
  return snapshot;
}

Result<std::vector<Snapshot>> Repository::trashed_snapshots(std::vector<std::string>* damaged,
                                                            std::vector<std::string>* locked) {
  return read_all(
      TRY(trashed_ids()), [this](const SnapshotId& id) { return trashed_snapshot(id); },
      Vanished::leave_out, damaged, locked);
}

Result<bool> Repository::has_record(const SnapshotId& id) const {
  // The first folder twice: a record may come back from the trash after the first look.
  for (const char* folder : {"/snapshots/", "/trash/", "/snapshots/"}) {
    const auto info = files_->info(path_ + folder + id.hex());
    if (info) return true;
    if (info.error().code != Code::not_found) return info.error();
  }
  return false;
}

Result<Snapshot> Repository::unseal_snapshot(const SnapshotId& id, ByteView sealed) const {
  const Bytes content = TRY(keys_->unseal_object(ObjectKind::snapshot, id.hex(), sealed));
  if (keys_->snapshot_id(content) != id) {
    return Error{Code::corrupt, 0, "it is not the record that it is named"};
  }
  Snapshot snapshot = TRY(decode_snapshot(content));
  snapshot.id = id;
  return snapshot;
}

}  // namespace bygone::store
