// SPDX-License-Identifier: Apache-2.0
//
// The repository's `config` file: magic, version, feature flags, id, chunker limits, and a MAC
// under the config subkey (FORMAT.md section 2). Encoding only. Values, any thread.
#pragma once

#include "store/base/bytes.h"
#include "store/base/clock.h"
#include "store/base/result.h"
#include "store/keys.h"

namespace bygone::store {

// Names of the file and of its copy, in the folder of the repository.
inline constexpr const char* kConfigFile = "config";
inline constexpr const char* kConfigCopy = "config-copy";

struct Config {
  RepositoryId repository;
  Nanoseconds created = 0;
  friend bool operator==(const Config&, const Config&) = default;
};

[[nodiscard]] Bytes encode_config(const Config& config, const KeyRing& keys);
// Reads what can be read before any key is known; nothing in it is proven yet.
// Errors: corrupt; unsupported for another version, chunker or incompatible flag.
[[nodiscard]] Result<Config> decode_config(ByteView data);
// Errors: corrupt when the size is another or the MAC does not fit: damaged or replaced.
[[nodiscard]] Result<void> prove_config(ByteView data, const KeyRing& keys);

}  // namespace bygone::store
