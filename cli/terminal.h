// SPDX-License-Identifier: Apache-2.0
//
// Asks a person for a secret on the controlling terminal, without echo. One thread.
#pragma once

#include <string>

#include "store/base/result.h"
#include "store/crypto.h"

namespace bygone::cli {

inline constexpr std::size_t kMaxPassphrase = 4096;

// One line from /dev/tty, without its end. A signal that arrives meanwhile puts the echo back
// before it takes effect. Errors: unavailable when there is no terminal; cancelled at its end;
// invalid for a line of more than kMaxPassphrase bytes.
[[nodiscard]] Result<store::SecretBytes> ask_secret(const std::string& prompt);

}  // namespace bygone::cli
