// SPDX-License-Identifier: Apache-2.0
// The part of index.h that keeps which snapshots need no look for what they may lack.
#include <algorithm>

#include "store/base/codec.h"
#include "store/index.h"
#include "store/lmdb.h"

namespace bygone::store {
namespace {

using lmdb::Table;

constexpr std::string_view kLossesKey = "losses";
constexpr std::string_view kWholeKey = "whole";  // the source's id follows

Bytes whole_key(const SourceId& source) {
  Bytes key(kWholeKey.begin(), kWholeKey.end());
  key.insert(key.end(), source.bytes.begin(), source.bytes.end());
  return key;
}

Bytes whole_value(const SnapshotId& snapshot, std::uint64_t losses) {
  Writer w;
  w.bytes(snapshot.view());
  w.u64(losses);
  return w.take();
}

template <class Txn>
Result<std::uint64_t> losses_of(const Txn& txn) {
  const auto value = TRY(txn.get(Table::meta, as_bytes(kLossesKey)));
  if (!value) return std::uint64_t{0};
  Reader r(*value);
  return r.u64();
}

}  // namespace

Result<std::uint64_t> Index::count_loss(lmdb::WriteTxn& txn) {
  std::uint64_t losses = TRY(losses_of(txn));
  ++losses;
  Writer w;
  w.u64(losses);
  TRY(txn.put(Table::meta, as_bytes(kLossesKey), w.take()));
  return losses;
}

Result<std::uint64_t> Index::losses() {
  const lmdb::ReadTxn txn = TRY(env_->read());
  return losses_of(txn);
}

// Counted first: whoever dies in between finds them gone once more.
Result<std::uint64_t> Index::lose_packs(const std::vector<PackId>& packs) {
  lmdb::WriteTxn txn = TRY(env_->write());
  const std::uint64_t losses = TRY(count_loss(txn));
  TRY(txn.commit());
  TRY(remove_packs(packs));
  return losses;
}

Result<void> Index::keep_whole(const SourceId& source, const SnapshotId& snapshot,
                               std::uint64_t losses) {
  lmdb::WriteTxn txn = TRY(env_->write());
  TRY(txn.put(Table::meta, whole_key(source), whole_value(snapshot, losses)));
  return txn.commit();
}

Result<bool> Index::is_whole(const SourceId& source, const SnapshotId& snapshot) {
  const lmdb::ReadTxn txn = TRY(env_->read());
  const auto value = TRY(txn.get(Table::meta, whole_key(source)));
  if (!value) return false;
  return std::ranges::equal(*value, whole_value(snapshot, TRY(losses_of(txn))));
}

}  // namespace bygone::store
