// SPDX-License-Identifier: Apache-2.0
//
// LMDB in C++: environment, read and write transactions, plain keys and values. The only includer
// of <lmdb.h>; no policy. Rules for 0.9.24 (no WRITEMAP, no NOSYNC, no DUPSORT, NOTLS) are built
// in. Env: any thread; a transaction: one thread at a time. Views die with their transaction.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/result.h"

struct MDB_env;
struct MDB_txn;

namespace bygone::store::lmdb {

enum class Table : unsigned { chunks = 0, packs = 1, snapshots = 2, meta = 3 };
inline constexpr unsigned kTables = 4;

class Env;

class ReadTxn {
 public:
  ReadTxn(ReadTxn&&) noexcept;
  ReadTxn& operator=(ReadTxn&&) = delete;
  ~ReadTxn();
  // Errors: not an error when the key is absent; corrupt or io otherwise.
  Result<std::optional<ByteView>> get(Table table, ByteView key) const;
  // Calls `visit` with every key and value in key order until it returns false.
  Result<void> scan(Table table, const std::function<bool(ByteView, ByteView)>& visit) const;
  Result<std::uint64_t> count(Table table) const;

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
  Result<void> put(Table table, ByteView key, ByteView value);
  // Not an error when the key is absent.
  Result<void> remove(Table table, ByteView key);
  Result<void> clear(Table table);
  Result<void> commit();

 private:
  friend class Env;
  WriteTxn(Env* env, MDB_txn* txn) : env_(env), txn_(txn) {}
  Env* env_;
  MDB_txn* txn_;
};

enum class Access { read_write, read_only };

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
  explicit Env(MDB_env* env) : env_(env) {}
  void give_back(MDB_txn* txn);

  MDB_env* env_;
  unsigned handles_[kTables] = {};
  std::mutex mutex_;
  std::vector<MDB_txn*> idle_;  // reset read transactions: a renew costs 11 ns, a begin 56
};

}  // namespace bygone::store::lmdb
