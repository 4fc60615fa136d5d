// SPDX-License-Identifier: Apache-2.0
//
// LMDB in C++: environment, read and write transactions, plain keys and values. The only includer
// of <lmdb.h>; no policy. Rules for 0.9.24 (no WRITEMAP, no NOSYNC, no DUPSORT, NOTLS) are built
// in. Env: any thread; a transaction: one thread at a time. Views die with their transaction.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/result.h"

struct MDB_cursor;
struct MDB_env;
struct MDB_txn;

namespace bygone::store::lmdb {

// Beside the named tables there are kRuns that go by number: run_table(0) and so on.
enum class Table : unsigned { packs = 0, snapshots = 1, meta = 2, first_run = 3 };
inline constexpr unsigned kRuns = 64;
inline constexpr unsigned kTables = static_cast<unsigned>(Table::first_run) + kRuns;
[[nodiscard]] constexpr Table run_table(unsigned run) {
  return static_cast<Table>(static_cast<unsigned>(Table::first_run) + run);
}

class Env;

// Goes over a table in the order of its keys. Must be gone before its transaction ends.
class Cursor {
 public:
  Cursor(Cursor&& other) noexcept : cursor_(std::exchange(other.cursor_, nullptr)) {}
  Cursor& operator=(Cursor&& other) noexcept;
  ~Cursor();
  // The next key and value; nothing behind the last one. Valid until the transaction writes.
  Result<std::optional<std::pair<ByteView, ByteView>>> next();

 private:
  friend class ReadTxn;
  friend class WriteTxn;
  explicit Cursor(MDB_cursor* cursor) : cursor_(cursor) {}
  MDB_cursor* cursor_;
};

class ReadTxn {
 public:
  ReadTxn(ReadTxn&&) noexcept;
  ReadTxn& operator=(ReadTxn&&) = delete;
  ~ReadTxn();
  // Errors: not an error when the key is absent; corrupt or io otherwise.
  Result<std::optional<ByteView>> get(Table table, ByteView key) const;
  Result<Cursor> cursor(Table table) const;

 private:
  friend class Env;
  ReadTxn(Env* env, MDB_txn* txn) : env_(env), txn_(txn) {}
  Env* env_;
  MDB_txn* txn_;
};

class WriteTxn {
 public:
  WriteTxn(WriteTxn&&) noexcept;
  WriteTxn& operator=(WriteTxn&&) = delete;
  ~WriteTxn();  // aborts unless committed
  Result<std::optional<ByteView>> get(Table table, ByteView key) const;
  Result<Cursor> cursor(Table table) const;
  Result<void> put(Table table, ByteView key, ByteView value);
  // Puts a key behind all others of its table, into full pages. Errors: corrupt when it does not
  // belong there.
  Result<void> append(Table table, ByteView key, ByteView value);
  // Not an error when the key is absent.
  Result<void> remove(Table table, ByteView key);
  Result<void> clear(Table table);
  Result<void> commit();
  // The number of this transaction: once it is committed, no other one has it.
  [[nodiscard]] std::uint64_t id() const;

 private:
  friend class Env;
  WriteTxn(Env* env, MDB_txn* txn) : env_(env), txn_(txn) {}
  Env* env_;
  MDB_txn* txn_;
};

enum class Access { read_write, read_only };

// LMDB gives an environment up when the root of a commit could not be written, be it that a disk
// was full for a moment. It is then opened anew, once no transaction is left: until then beginning
// one is an error.
class Env {
 public:
  // Opens (read_write: creates) the environment in `folder`, which must exist, and its tables.
  // Errors: corrupt when the file is not LMDB's; denied, io.
  static Result<std::unique_ptr<Env>> open(const std::string& folder, Access access);
  ~Env();

  Result<ReadTxn> read();
  // Waits for another process's writer.
  Result<WriteTxn> write();

 private:
  friend class ReadTxn;
  friend class WriteTxn;
  Env(std::string folder, Access access) : folder_(std::move(folder)), access_(access) {}
  Result<void> start();
  void stop();
  Result<MDB_txn*> begin(unsigned flags);
  void give_back(MDB_txn* txn);
  void ended();

  std::string folder_;
  Access access_;
  MDB_env* env_ = nullptr;  // changes, as the handles do, while nothing is active
  unsigned handles_[kTables] = {};
  std::mutex mutex_;
  std::size_t active_ = 0;      // transactions; this and what follows is guarded by mutex_
  std::vector<MDB_txn*> idle_;  // reset read transactions: a renew costs 11 ns, a begin 56
};

}  // namespace bygone::store::lmdb
