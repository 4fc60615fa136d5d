// SPDX-License-Identifier: Apache-2.0
#include "store/delta.h"

#include <algorithm>
#include <limits>

#include "store/base/log.h"

namespace bygone::store {
namespace {

std::uint16_t after(std::uint16_t n) {
  return n == std::numeric_limits<std::uint16_t>::max() ? n : static_cast<std::uint16_t>(n + 1);
}

// The decoded records of `chain` from `first` on, each proven by its seal.
Result<std::vector<Bytes>> read_chain(const Chain& chain, std::size_t first) {
  std::vector<Bytes> decoded(chain.size());
  for (std::size_t i = chain.size(); i-- > first;) {
    const Link& link = chain[i];
    const ByteView base = i + 1 < chain.size() ? ByteView(decoded[i + 1]) : ByteView();
    decoded[i] = TRY(link.pack->read(link.slot, base));
  }
  return decoded;
}

}  // namespace

Result<Chain> follow_chain(const ChunkId& id, const FindLink& find) {
  Chain chain;
  ChunkId next = id;
  while (chain.size() <= kMaxDeltaDepth) {
    auto link = TRY(find(next));
    if (!link) return Chain();
    chain.push_back(std::move(*link));
    if (!chain.back().record.base) return chain;
    next = *chain.back().record.base;
  }
  return Chain();
}

std::vector<DeltaPlan> plan_deltas(const ChunkId& id, std::uint64_t volume_tag,
                                   const std::vector<Record>& chain) {
  if (chain.empty() || chain.size() > 3 || chain.back().base) return {};
  for (const Record& record : chain) {
    if (record.id == id || record.volume_tag != volume_tag) return {};
  }
  const Record& plain = chain.back();
  const std::size_t half = plain.stored_size / 2;
  if (chain.size() == 1) return {{.base = 0, .depth = 1, .n = 1, .limit = half}};
  if (chain.size() == 2) return {{.base = 0, .depth = 2, .n = 1, .limit = half}};
  // The deltas on one middle each repeat what changed since it was written: when together they pass
  // twice its size, a new middle is cheaper.
  const Record& middle = chain[1];
  const std::uint16_t n = after(chain[0].n);
  return {{.base = 1,
           .depth = 2,
           .n = n,
           .limit = std::min<std::size_t>(half, std::size_t{2} * middle.stored_size / n)},
          {.base = 2, .depth = 1, .n = after(middle.n), .limit = half}};
}

Result<bool> make_delta(const Chain& chain, ByteView raw, Compressor& compressor, Record& record,
                        Bytes& out) {
  std::vector<Record> records;
  for (const Link& link : chain) records.push_back(link.record);
  const auto plans = plan_deltas(record.id, record.volume_tag, records);
  if (plans.empty()) return false;
  const auto decoded = read_chain(chain, plans.front().base);
  if (!decoded) {
    log::warning(decoded.error().message + ": what changed in it is stored whole");
    return false;
  }
  for (const DeltaPlan& plan : plans) {
    const auto codec = TRY(compressor.compress_on((*decoded)[plan.base], raw, plan.limit, out));
    if (!codec) continue;
    // Checked as a reader will read it, on a base that is decoded anew: what a fault of memory did
    // to the first one would stay unseen in everything that hangs on it.
    const auto again = read_chain(chain, plan.base);
    if (!again) {
      log::warning(again.error().message + ": what changed in it is stored whole");
      return false;
    }
    TRY(compressor.check(*codec, raw, out, (*again)[plan.base]));
    record.base = records[plan.base].id;
    record.depth = plan.depth;
    record.n = plan.n;
    record.codec = *codec;
    record.stored_size = static_cast<std::uint32_t>(out.size());
    return true;
  }
  return false;
}

bool DeltaTrials::next() {
  {
    const std::lock_guard lock(mutex_);
    if (left_ > 0) {
      --left_;
      return false;
    }
    if (known_ || !wider_) return true;
  }
  return wider_->next();
}

void DeltaTrials::note(bool worth_it) {
  {
    const std::lock_guard lock(mutex_);
    pause_ = worth_it ? 0 : std::min(most_untried_, 2 * pause_ + 1);
    left_ = pause_;
    if (std::exchange(known_, true) && !worth_it) return;
  }
  if (wider_) wider_->note(worth_it);
}

}  // namespace bygone::store
