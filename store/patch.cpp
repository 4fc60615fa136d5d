// SPDX-License-Identifier: Apache-2.0
#include "store/patch.h"

#include <algorithm>

#include "store/format.h"

namespace bygone::store {
namespace {

constexpr std::size_t kGlance = 4096;  // compared at once: most of a block is unchanged

Error damaged(const char* what) { return Error{Code::corrupt, 0, what}; }

std::size_t units(std::size_t bytes) { return (bytes + kPatchUnit - 1) / kPatchUnit; }

}  // namespace

std::optional<Runs> differences(ByteView base, ByteView raw, std::size_t most) {
  const auto equal = [&](std::size_t begin, std::size_t end) {
    return end <= base.size() && std::memcmp(&base[begin], &raw[begin], end - begin) == 0;
  };
  Runs runs;
  std::size_t total = 0;
  for (std::size_t at = 0; at < raw.size();) {
    const std::size_t stop = std::min(at + kGlance, raw.size());
    if (equal(at, stop)) {
      at = stop;
      continue;
    }
    for (std::size_t end = at; at < stop; at = end) {
      end = std::min(at + kPatchUnit, stop);
      if (equal(at, end)) continue;
      total += end - at;
      if (!runs.empty() && runs.back().end == at) {
        runs.back().end = end;
      } else {
        runs.push_back({.begin = at, .end = end});
      }
    }
    if (total > most) return std::nullopt;
  }
  return runs;
}

void encode_runs(const Runs& runs, std::size_t raw_size, Writer& writer) {
  std::size_t at = 0;
  for (const Run& run : runs) {
    writer.varint(units(run.begin - at));
    writer.varint(units(run.end - run.begin));
    at = run.end;
  }
  if (at < raw_size) writer.varint(units(raw_size - at));
}

Result<Runs> decode_runs(Reader& reader, std::size_t base_size, std::size_t raw_size) {
  Runs runs;
  const std::size_t all = units(raw_size);
  std::size_t at = 0;
  while (at < all) {
    const std::size_t equal = TRY(reader.varint_at_most(all - at));
    if (equal == 0 && at > 0) return damaged("a patch whose runs touch");
    if (equal > 0 && std::min((at + equal) * kPatchUnit, raw_size) > base_size) {
      return damaged("a patch that takes more from its base than there is");
    }
    at += equal;
    if (at == all) break;
    const std::size_t changed = TRY(reader.varint_at_most(all - at));
    if (changed == 0) return damaged("a patch with an empty run");
    runs.push_back(
        {.begin = at * kPatchUnit, .end = std::min((at + changed) * kPatchUnit, raw_size)});
    at += changed;
  }
  return runs;
}

Bytes gather(const Runs& runs, ByteView from) {
  Bytes out;
  for (const Run& run : runs) {
    if (run.begin >= from.size()) break;
    const ByteView part = from.subspan(run.begin, std::min(run.end, from.size()) - run.begin);
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

void scatter(const Runs& runs, ByteView from, MutableByteView to) {
  for (const Run& run : runs) {
    const std::size_t size = run.end - run.begin;
    std::copy_n(from.begin(), size, to.begin() + static_cast<std::ptrdiff_t>(run.begin));
    from = from.subspan(size);
  }
}

}  // namespace bygone::store
