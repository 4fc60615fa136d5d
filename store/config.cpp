// SPDX-License-Identifier: Apache-2.0
#include "store/config.h"

#include "store/base/codec.h"
#include "store/format.h"

namespace bygone::store {
namespace {

constexpr std::size_t kMacBytes = 32;
constexpr std::size_t kPlainBytes = kConfigBytes - kMacBytes;
constexpr std::uint8_t kMinLog = 16, kNormalLog = 18, kMaxLog = 20, kPackLog = 25;
static_assert(kMinChunk == 1u << kMinLog && kNormalChunk == 1u << kNormalLog &&
              kMaxChunk == 1u << kMaxLog && kPackTarget == 1u << kPackLog);

}  // namespace

Bytes encode_config(const Config& config, const KeyRing& keys) {
  Writer w;
  w.bytes(as_bytes(kConfigMagic));
  w.u16(kFormatVersion);
  w.u32(0);  // compatible features
  w.u32(0);  // features that an older writer must not write beside
  w.u32(0);  // features that an older reader must not read
  w.bytes(config.repository.view());
  w.u64(static_cast<std::uint64_t>(config.created));
  for (const std::uint8_t v : {kChunkerKeyedGear, kMinLog, kNormalLog, kMaxLog, kPackLog}) w.u8(v);
  w.zeros(kPlainBytes - w.size());
  const auto mac = keys.config_mac(w.buffer());
  w.bytes(mac);
  return w.take();
}

Result<Config> decode_config(ByteView data) {
  Reader r(data);
  const auto magic = r.bytes(8);
  if (!magic || as_text(*magic) != kConfigMagic || data.size() != kConfigBytes) {
    return Error{Code::corrupt, 0, "not a bygone configuration, or damaged"};
  }
  const std::uint16_t version = TRY(r.u16());
  TRY(r.u32());
  const std::uint32_t ro_compat = TRY(r.u32());
  const std::uint32_t incompat = TRY(r.u32());
  Config config;
  config.repository = TRY(r.id<RepositoryId>());
  config.created = static_cast<Nanoseconds>(TRY(r.u64()));
  const std::uint8_t chunker = TRY(r.u8());
  const bool usual = TRY(r.u8())
  == kMinLog&& TRY(r.u8())
  == kNormalLog&& TRY(r.u8())
  == kMaxLog&& TRY(r.u8())
  == kPackLog;
  if (version != kFormatVersion || incompat != 0 || ro_compat != 0 ||
      chunker != kChunkerKeyedGear || !usual) {
    return Error{Code::unsupported, 0,
                 "format version " + std::to_string(version) + " with features " +
                     std::to_string(ro_compat) + "/" + std::to_string(incompat) +
                     " is not known here; hint: a newer bygone made this repository"};
  }
  return config;
}

Result<void> prove_config(ByteView data, const KeyRing& keys) {
  const Error damaged{Code::corrupt, 0, "the configuration was damaged or replaced"};
  if (data.size() != kConfigBytes) return damaged;
  const auto mac = keys.config_mac(data.first(kPlainBytes));
  if (!std::equal(mac.begin(), mac.end(), data.begin() + kPlainBytes)) return damaged;
  return {};
}

}  // namespace bygone::store
