// SPDX-License-Identifier: Apache-2.0
#include "store/index.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <unordered_set>

#include <fcntl.h>
#include <unistd.h>

#include "store/base/codec.h"
#include "store/base/log.h"
#include "store/lmdb.h"

namespace bygone::store {
namespace {

using lmdb::Table;

constexpr std::uint32_t kSchema = 1;
constexpr std::string_view kSchemaKey = "schema";
constexpr std::string_view kNextPackKey = "next_pack";
constexpr const char* kSuspect = "/suspect";

// Rows are little-endian but for the pack number as a key: LMDB sorts keys by their bytes.
std::array<std::uint8_t, 4> number_key(std::uint32_t number) {
  return {static_cast<std::uint8_t>(number >> 24), static_cast<std::uint8_t>(number >> 16),
          static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
}

std::uint32_t key_number(ByteView key) {
  return std::uint32_t{key[0]} << 24 | std::uint32_t{key[1]} << 16 | std::uint32_t{key[2]} << 8 |
         key[3];
}

ByteView chunk_key(const ChunkId& id) { return id.view().first(16); }

Bytes u32_bytes(std::uint32_t v) {
  Writer w;
  w.u32(v);
  return w.take();
}

// The path of the suspect mark, for the signal handler: set once, then only read.
std::array<char, 4096> g_suspect_path{};
std::atomic<bool> g_index_open{false};
constexpr std::array kCrashes{SIGSEGV, SIGBUS, SIGABRT};
std::array<struct sigaction, kCrashes.size()> g_before{};

void on_crash(int signal) {
  if (g_index_open.load()) {
    const int fd = ::open(g_suspect_path.data(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) ::close(fd);
    static constexpr char kText[] =
        "bygone: stopped by a fault, perhaps in a damaged index; it is rebuilt at the next "
        "start\n";
    const ssize_t written = ::write(STDERR_FILENO, kText, sizeof kText - 1);
    static_cast<void>(written);
  }
  // Whoever watched before us (a sanitizer, the system) has the last word.
  for (std::size_t i = 0; i < kCrashes.size(); ++i) {
    if (kCrashes[i] == signal) ::sigaction(signal, &g_before[i], nullptr);
  }
  ::raise(signal);
}

Result<void> check_schema(lmdb::Env& env) {
  {
    const lmdb::ReadTxn txn = TRY(env.read());
    const auto found = TRY(txn.get(Table::meta, as_bytes(kSchemaKey)));
    if (found) {
      Reader r(*found);
      if (TRY(r.u32()) == kSchema) return {};
      return Error{Code::corrupt, 0, "index: written by another version of bygone"};
    }
  }
  lmdb::WriteTxn txn = TRY(env.write());
  TRY(txn.put(Table::meta, as_bytes(kSchemaKey), u32_bytes(kSchema)));
  return txn.commit();
}

Result<std::unique_ptr<lmdb::Env>> open_env(const std::string& folder) {
  auto env = TRY(lmdb::Env::open(folder, lmdb::Access::read_write));
  TRY(check_schema(*env));
  return env;
}

}  // namespace

void watch_for_index_crashes() {
  struct sigaction action {};
  action.sa_handler = on_crash;
  action.sa_flags = SA_ONSTACK;
  for (std::size_t i = 0; i < kCrashes.size(); ++i) {
    ::sigaction(kCrashes[i], &action, &g_before[i]);
  }
}

Result<void> Index::open_in(const std::string& folder) {
  folder_ = folder;
  auto made = files_->make_directory(folder);
  if (!made && made.error().code != Code::exists) return made;
  if (::access(folder.c_str(), W_OK | X_OK) != 0) return os_error(errno, "index: " + folder);
  const auto data = files_->info(folder + "/data.mdb");
  fresh_ = !data || data->size == 0;
  bool rebuild = files_->info(folder + kSuspect).ok();
  if (rebuild) log::warning("index " + folder + " is suspect after a crash: rebuilding it");
  if (!rebuild) {
    auto env = open_env(folder);
    if (env) {
      env_ = std::move(env).value();
      return {};
    }
    if (env.error().code != Code::corrupt) return std::move(env).error();
    log::warning(env.error().message + ": rebuilding it from the packs");
  }
  for (const char* name : {"/data.mdb", "/lock.mdb"}) {
    auto removed = files_->remove(folder + name);
    if (!removed && removed.error().code != Code::not_found) return removed;
  }
  env_ = TRY(open_env(folder));
  fresh_ = true;
  if (rebuild) ignore(files_->remove(folder + kSuspect), "it is rebuilt once more, no harm");
  return {};
}

Result<std::unique_ptr<Index>> Index::open(Files& files, const std::string& folder,
                                           const std::string& fallback) {
  std::unique_ptr<Index> index(new Index());
  index->files_ = &files;
  if (auto opened = index->open_in(folder); !opened) {
    log::info(opened.error().message + ": using a private index in " + fallback);
    for (std::size_t slash = fallback.find('/', 1); slash != std::string::npos;
         slash = fallback.find('/', slash + 1)) {
      ignore(files.make_directory(fallback.substr(0, slash)), "it may exist; the last one counts");
    }
    TRY(index->open_in(fallback));
  }
  const std::string suspect = index->folder_ + kSuspect;
  if (suspect.size() < g_suspect_path.size() && !g_index_open.load()) {
    std::copy(suspect.begin(), suspect.end(), g_suspect_path.begin());
    g_suspect_path[suspect.size()] = '\0';
    g_index_open.store(true);
  }
  return index;
}

void Index::mark_suspect() {
  ignore(files_->open(folder_ + kSuspect, O_WRONLY | O_CREAT, 0600),
         "the index is a cache: a bad one costs time only");
}

Index::~Index() { g_index_open.store(false); }

Result<std::optional<PackId>> Index::pack_of(std::uint32_t number) {
  {
    const std::shared_lock lock(mutex_);
    const auto found = pack_numbers_.find(number);
    if (found != pack_numbers_.end()) return std::optional<PackId>(found->second);
  }
  const lmdb::ReadTxn txn = TRY(env_->read());
  const auto value = TRY(txn.get(Table::packs, number_key(number)));
  if (!value || value->size() != PackId::kSize) return std::optional<PackId>();
  const PackId pack = PackId::from(*value);
  const std::unique_lock lock(mutex_);
  pack_numbers_.emplace(number, pack);
  return std::optional<PackId>(pack);
}

Result<std::optional<Location>> Index::find(const ChunkId& id) {
  std::uint32_t number = 0;
  Location location;
  {
    const lmdb::ReadTxn txn = TRY(env_->read());
    const auto value = TRY(txn.get(Table::chunks, chunk_key(id)));
    if (!value || value->size() != 8) return std::optional<Location>();
    Reader r(*value);
    number = TRY(r.u32());
    location.slot = TRY(r.u32());
  }
  const auto pack = TRY(pack_of(number));
  if (!pack) return std::optional<Location>();
  location.pack = *pack;
  return std::optional<Location>(location);
}

Result<void> Index::insert(const std::vector<PackContents>& packs) {
  struct Row {
    std::array<std::uint8_t, 16> key;
    std::uint32_t number;
    std::uint32_t slot;
  };
  lmdb::WriteTxn txn = TRY(env_->write());
  std::uint32_t next = 0;
  if (const auto value = TRY(txn.get(Table::meta, as_bytes(kNextPackKey)))) {
    Reader r(*value);
    next = TRY(r.u32());
  }
  std::vector<Row> rows;
  for (const PackContents& pack : packs) {
    TRY(txn.put(Table::packs, number_key(next), pack.pack.view()));
    for (std::size_t slot = 0; slot < pack.chunks.size(); ++slot) {
      Row row{.key = {}, .number = next, .slot = static_cast<std::uint32_t>(slot)};
      std::copy_n(pack.chunks[slot].bytes.begin(), 16, row.key.begin());
      rows.push_back(row);
    }
    ++next;
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.key < b.key; });
  for (const Row& row : rows) {
    Writer w;
    w.u32(row.number);
    w.u32(row.slot);
    TRY(txn.put(Table::chunks, row.key, w.buffer()));
  }
  TRY(txn.put(Table::meta, as_bytes(kNextPackKey), u32_bytes(next)));
  return txn.commit();
}

Result<std::vector<PackId>> Index::packs() {
  const lmdb::ReadTxn txn = TRY(env_->read());
  std::vector<PackId> packs;
  TRY(txn.scan(Table::packs, [&](ByteView, ByteView value) {
    if (value.size() == PackId::kSize) packs.push_back(PackId::from(value));
    return true;
  }));
  return packs;
}

// A pack may have several numbers: it was inserted more than once.
Result<std::unordered_map<std::uint32_t, PackId>> Index::numbers_of(
    const std::vector<PackId>& packs) {
  const std::unordered_set<PackId, IdHash> wanted(packs.begin(), packs.end());
  std::unordered_map<std::uint32_t, PackId> numbers;
  const lmdb::ReadTxn txn = TRY(env_->read());
  TRY(txn.scan(Table::packs, [&](ByteView key, ByteView value) {
    if (key.size() == 4 && value.size() == PackId::kSize && wanted.contains(PackId::from(value))) {
      numbers.emplace(key_number(key), PackId::from(value));
    }
    return true;
  }));
  return numbers;
}

Result<void> Index::remove_packs(const std::vector<PackId>& packs) {
  std::vector<PackContents> contents;
  contents.reserve(packs.size());
  for (const PackId& pack : packs) contents.push_back({.pack = pack, .chunks = {}});
  return remove(contents);
}

Result<void> Index::remove(const std::vector<PackContents>& packs) {
  std::vector<PackId> ids;
  std::vector<ChunkId> chunks;
  for (const PackContents& pack : packs) {
    ids.push_back(pack.pack);
    chunks.insert(chunks.end(), pack.chunks.begin(), pack.chunks.end());
  }
  std::sort(chunks.begin(), chunks.end());
  const auto numbers = TRY(numbers_of(ids));
  lmdb::WriteTxn txn = TRY(env_->write());
  for (const ChunkId& chunk : chunks) {
    const auto value = TRY(txn.get(Table::chunks, chunk_key(chunk)));
    if (!value || value->size() != 8) continue;
    Reader r(*value);
    if (numbers.contains(TRY(r.u32()))) TRY(txn.remove(Table::chunks, chunk_key(chunk)));
  }
  for (const auto& [number, pack] : numbers) TRY(txn.remove(Table::packs, number_key(number)));
  TRY(txn.commit());
  const std::unique_lock lock(mutex_);
  for (const auto& [number, pack] : numbers) pack_numbers_.erase(number);
  return {};
}

Result<void> Index::clear() {
  lmdb::WriteTxn txn = TRY(env_->write());
  TRY(txn.clear(Table::chunks));
  TRY(txn.clear(Table::packs));
  TRY(txn.clear(Table::snapshots));
  TRY(txn.commit());
  const std::unique_lock lock(mutex_);
  pack_numbers_.clear();
  return {};
}

Result<std::uint64_t> Index::chunk_count() {
  const lmdb::ReadTxn txn = TRY(env_->read());
  return txn.count(Table::chunks);
}

Result<std::optional<Bytes>> Index::snapshot(const SnapshotId& id) {
  const lmdb::ReadTxn txn = TRY(env_->read());
  const auto value = TRY(txn.get(Table::snapshots, id.view()));
  if (!value) return std::optional<Bytes>();
  return std::optional<Bytes>(Bytes(value->begin(), value->end()));
}

Result<void> Index::keep_snapshot(const SnapshotId& id, ByteView sealed) {
  lmdb::WriteTxn txn = TRY(env_->write());
  TRY(txn.put(Table::snapshots, id.view(), sealed));
  return txn.commit();
}

}  // namespace bygone::store
