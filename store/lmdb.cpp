// SPDX-License-Identifier: Apache-2.0
#include "store/lmdb.h"

#include <cerrno>

#include <lmdb.h>
#include <sys/stat.h>

#include "store/base/stall.h"

namespace bygone::store::lmdb {
namespace {

// Address space only; the file is as large as its data. 64 GiB hold a billion chunks, and
// what merging them leaves behind.
constexpr std::size_t kMapBytes = std::size_t{64} << 30;
constexpr unsigned kMaxReaders = 1024;
constexpr std::size_t kMaxIdle = 32;
constexpr const char* kNames[] = {"packs", "snapshots", "meta"};

std::string name_of(unsigned table) {
  constexpr auto kFirst = static_cast<unsigned>(Table::first_run);
  return table < kFirst ? kNames[table] : "run-" + std::to_string(table - kFirst);
}

Error lmdb_error(int rc, const char* what) {
  const std::string text = std::string("index: ") + what + ": " + mdb_strerror(rc);
  switch (rc) {
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
    case MDB_BAD_TXN:
    case MDB_BAD_DBI:
    case MDB_BAD_VALSIZE:
    case MDB_KEYEXIST:
    case MDB_NOTFOUND:
      return Error{Code::corrupt, 0, text};
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case MDB_READERS_FULL:
      return Error{Code::unavailable, 0, text};
    default:
      return rc > 0 ? os_error(rc, std::string("index: ") + what) : Error{Code::io, 0, text};
  }
}

MDB_val to_val(ByteView bytes) { return {bytes.size(), const_cast<std::uint8_t*>(bytes.data())}; }
ByteView from_val(const MDB_val& val) {
  return {static_cast<const std::uint8_t*>(val.mv_data), val.mv_size};
}

Result<std::optional<ByteView>> get_from(MDB_txn* txn, unsigned handle, ByteView key) {
  MDB_val k = to_val(key);
  MDB_val v{};
  const int rc = mdb_get(txn, handle, &k, &v);
  if (rc == MDB_NOTFOUND) return std::optional<ByteView>();
  if (rc != 0) return lmdb_error(rc, "looking up");
  return std::optional<ByteView>(from_val(v));
}

Result<MDB_cursor*> open_cursor(MDB_txn* txn, unsigned handle) {
  MDB_cursor* cursor = nullptr;
  const int rc = mdb_cursor_open(txn, handle, &cursor);
  if (rc != 0) return lmdb_error(rc, "scanning");
  return cursor;
}

Result<void> put_into(MDB_txn* txn, unsigned handle, ByteView key, ByteView value, unsigned flags) {
  MDB_val k = to_val(key);
  MDB_val v = to_val(value);
  const int rc = mdb_put(txn, handle, &k, &v, flags);
  if (rc != 0) return lmdb_error(rc, "writing");
  return {};
}

}  // namespace

Result<std::unique_ptr<Env>> Env::open(const std::string& folder, Access access) {
  std::unique_ptr<Env> env(new Env(folder, access));
  TRY(env->start());
  return env;
}

Result<void> Env::start() {
  int rc = mdb_env_create(&env_);
  if (rc != 0) return lmdb_error(rc, "starting");
  mdb_env_set_maxdbs(env_, kTables);
  mdb_env_set_mapsize(env_, kMapBytes);
  mdb_env_set_maxreaders(env_, kMaxReaders);
  const unsigned mode = access_ == Access::read_only ? MDB_RDONLY : 0;
  rc = mdb_env_open(env_, folder_.c_str(), MDB_NOTLS | MDB_NORDAHEAD | mode, 0600);
  if (rc != 0) return lmdb_error(rc, ("opening " + folder_).c_str());
  // A file that was cut off would raise SIGBUS at the first page behind its end.
  MDB_envinfo info{};
  MDB_stat stat{};
  struct stat file {};
  mdb_env_info(env_, &info);
  mdb_env_stat(env_, &stat);
  int handle = -1;
  mdb_env_get_fd(env_, &handle);
  if (::fstat(handle, &file) != 0) return os_error(errno, "index: looking at " + folder_);
  if (static_cast<std::uint64_t>(file.st_size) / stat.ms_psize <= info.me_last_pgno) {
    return Error{Code::corrupt, 0, "index: " + folder_ + " is cut off"};
  }
  int dead = 0;
  mdb_reader_check(env_, &dead);

  MDB_txn* txn = nullptr;
  rc = mdb_txn_begin(env_, nullptr, mode, &txn);
  if (rc != 0) return lmdb_error(rc, "beginning");
  for (unsigned i = 0; i < kTables && rc == 0; ++i) {
    rc = mdb_dbi_open(txn, name_of(i).c_str(), access_ == Access::read_only ? 0 : MDB_CREATE,
                      &handles_[i]);
  }
  if (rc != 0) {
    mdb_txn_abort(txn);
    return lmdb_error(rc, "opening a table");
  }
  rc = mdb_txn_commit(txn);
  if (rc != 0) return lmdb_error(rc, "committing");
  return {};
}

void Env::stop() {
  for (MDB_txn* txn : idle_) mdb_txn_abort(txn);
  idle_.clear();
  if (env_ != nullptr) mdb_env_close(std::exchange(env_, nullptr));
}

Env::~Env() { stop(); }

Result<MDB_txn*> Env::begin(unsigned flags) {
  for (bool is_new = false;; is_new = true) {
    {
      const std::lock_guard lock(mutex_);
      if (env_ == nullptr) {
        if (auto started = start(); !started) {
          stop();
          return std::move(started).error();
        }
      }
      ++active_;
    }
    MDB_txn* txn = nullptr;
    const int rc = mdb_txn_begin(env_, nullptr, flags, &txn);
    if (rc == 0) return txn;
    const std::lock_guard lock(mutex_);
    --active_;
    if (rc != MDB_PANIC || active_ > 0 || is_new) return lmdb_error(rc, "beginning");
    stop();
  }
}

Result<ReadTxn> Env::read() {
  MDB_txn* txn = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      txn = idle_.back();
      idle_.pop_back();
      ++active_;
    }
  }
  if (txn != nullptr) {
    if (mdb_txn_renew(txn) == 0) return ReadTxn(this, txn);
    mdb_txn_abort(txn);  // its slot is lost: a fresh one will do
    ended();
  }
  return ReadTxn(this, TRY(begin(MDB_RDONLY)));
}

void Env::give_back(MDB_txn* txn) {
  mdb_txn_reset(txn);
  const std::lock_guard lock(mutex_);
  --active_;
  if (idle_.size() < kMaxIdle) {
    idle_.push_back(txn);
  } else {
    mdb_txn_abort(txn);
  }
}

void Env::ended() {
  const std::lock_guard lock(mutex_);
  --active_;
}

Result<WriteTxn> Env::write() { return WriteTxn(this, TRY(begin(0))); }

ReadTxn::ReadTxn(ReadTxn&& other) noexcept
    : env_(other.env_), txn_(std::exchange(other.txn_, nullptr)) {}

ReadTxn::~ReadTxn() {
  if (txn_ != nullptr) env_->give_back(txn_);
}

Result<std::optional<ByteView>> ReadTxn::get(Table table, ByteView key) const {
  return get_from(txn_, env_->handles_[static_cast<unsigned>(table)], key);
}

Result<Cursor> ReadTxn::cursor(Table table) const {
  MDB_cursor* cursor = TRY(open_cursor(txn_, env_->handles_[static_cast<unsigned>(table)]));
  return Cursor(cursor);
}

Cursor& Cursor::operator=(Cursor&& other) noexcept {
  std::swap(cursor_, other.cursor_);
  return *this;
}

Cursor::~Cursor() {
  if (cursor_ != nullptr) mdb_cursor_close(cursor_);
}

Result<std::optional<std::pair<ByteView, ByteView>>> Cursor::next() {
  using Item = std::pair<ByteView, ByteView>;
  MDB_val k{};
  MDB_val v{};
  const int rc = mdb_cursor_get(cursor_, &k, &v, MDB_NEXT);
  if (rc == MDB_NOTFOUND) return std::optional<Item>();
  if (rc != 0) return lmdb_error(rc, "scanning");
  return std::optional<Item>(Item(from_val(k), from_val(v)));
}

WriteTxn::WriteTxn(WriteTxn&& other) noexcept
    : env_(other.env_), txn_(std::exchange(other.txn_, nullptr)) {}

WriteTxn::~WriteTxn() {
  if (txn_ == nullptr) return;
  mdb_txn_abort(txn_);
  env_->ended();
}

Result<std::optional<ByteView>> WriteTxn::get(Table table, ByteView key) const {
  return get_from(txn_, env_->handles_[static_cast<unsigned>(table)], key);
}

Result<Cursor> WriteTxn::cursor(Table table) const {
  MDB_cursor* cursor = TRY(open_cursor(txn_, env_->handles_[static_cast<unsigned>(table)]));
  return Cursor(cursor);
}

Result<void> WriteTxn::put(Table table, ByteView key, ByteView value) {
  return put_into(txn_, env_->handles_[static_cast<unsigned>(table)], key, value, 0);
}

Result<void> WriteTxn::append(Table table, ByteView key, ByteView value) {
  return put_into(txn_, env_->handles_[static_cast<unsigned>(table)], key, value, MDB_APPEND);
}

Result<void> WriteTxn::remove(Table table, ByteView key) {
  MDB_val k = to_val(key);
  const int rc = mdb_del(txn_, env_->handles_[static_cast<unsigned>(table)], &k, nullptr);
  if (rc != 0 && rc != MDB_NOTFOUND) return lmdb_error(rc, "removing");
  return {};
}

Result<void> WriteTxn::clear(Table table) {
  const int rc = mdb_drop(txn_, env_->handles_[static_cast<unsigned>(table)], 0);
  if (rc != 0) return lmdb_error(rc, "clearing");
  return {};
}

std::uint64_t WriteTxn::id() const { return mdb_txn_id(txn_); }

Result<void> WriteTxn::commit() {
  const DiskWait waiting;
  const int rc = mdb_txn_commit(std::exchange(txn_, nullptr));
  env_->ended();
  if (rc != 0) return lmdb_error(rc, "committing");
  return {};
}

}  // namespace bygone::store::lmdb
