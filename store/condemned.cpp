// SPDX-License-Identifier: Apache-2.0
#include "store/condemned.h"

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "store/base/codec.h"
#include "store/format.h"
#include "store/temp_file.h"

namespace bygone::store {
namespace {

std::string folder(const std::string& path) { return path + "/condemned"; }

}  // namespace

std::optional<std::uint64_t> generation_number(const std::string& name) {
  std::uint64_t number = 0;
  const char* const end = name.data() + name.size();
  const auto [stopped, failed] = std::from_chars(name.data(), end, number);
  if (failed != std::errc() || stopped != end || number >= kMaxGeneration) return std::nullopt;
  // Another spelling of the same number would be a second file for one generation.
  if (std::to_string(number) != name) return std::nullopt;
  return number;
}

Bytes encode_condemned(const CondemnedList& list) {
  Writer w;
  w.u8(kCondemnedVersion);
  w.varint(list.generation);
  w.varint(list.packs.size());
  for (const PackId& pack : list.packs) w.bytes(pack.view());
  return w.take();
}

Result<CondemnedList> decode_condemned(ByteView data) {
  Reader r(data);
  if (TRY(r.u8()) != kCondemnedVersion) {
    return Error{Code::unsupported, 0, "written by a newer version of bygone"};
  }
  CondemnedList list;
  list.generation = TRY(r.varint());
  const std::uint64_t count = TRY(r.varint_at_most(kMaxCondemned));
  for (std::uint64_t i = 0; i < count; ++i) list.packs.push_back(TRY(r.id<PackId>()));
  TRY(r.finish());
  return list;
}

Result<std::vector<std::uint64_t>> condemned_generations(Files& files, const std::string& path) {
  std::vector<std::uint64_t> numbers;
  for (const std::string& name : TRY(files.list(folder(path)))) {
    const auto number = generation_number(name);
    if (number && *number != 0) numbers.push_back(*number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

Result<CondemnedList> unseal_condemned(const KeyRing& keys, std::uint64_t generation,
                                       ByteView sealed) {
  const Bytes content =
      TRY(keys.unseal_object(ObjectKind::list, std::to_string(generation), sealed));
  CondemnedList list = TRY(decode_condemned(content));
  if (list.generation != generation) return Error{Code::corrupt, 0, "it has another number"};
  return list;
}

Result<CondemnedList> read_condemned(Files& files, const KeyRing& keys, const std::string& path,
                                     std::uint64_t generation) {
  const std::string name = std::to_string(generation);
  const auto read = [&]() -> Result<CondemnedList> {
    const Bytes sealed = TRY(read_file(files, folder(path) + "/" + name, kMaxObjectBytes));
    return unseal_condemned(keys, generation, sealed);
  };
  auto list = read();
  if (!list) return std::move(list).error().with("condemned list " + name);
  return list;
}

Bytes seal_condemned(const KeyRing& keys, const CondemnedList& list) {
  return keys.seal_object(ObjectKind::list, std::to_string(list.generation),
                          encode_condemned(list));
}

Result<void> write_condemned(Files& files, const KeyRing& keys, const std::string& path,
                             const CondemnedList& list) {
  return write_durably(files, path + "/tmp", folder(path), std::to_string(list.generation),
                       seal_condemned(keys, list));
}

bool is_lost_list(const Error& error) { return error.code == Code::corrupt || error.errnum == EIO; }

Result<PackSet> condemned_packs(Files& files, const KeyRing& keys, const std::string& path) {
  PackSet packs;
  for (const std::uint64_t generation : TRY(condemned_generations(files, path))) {
    const auto list = read_condemned(files, keys, path, generation);
    if (!list && list.error().code == Code::not_found) continue;
    if (!list) return list.error();
    packs.insert(list->packs.begin(), list->packs.end());
  }
  return packs;
}

}  // namespace bygone::store
