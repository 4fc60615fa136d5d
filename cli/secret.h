// SPDX-License-Identifier: Apache-2.0
//
// Where the passphrase or key file comes from: BYGONE_PASSWORD, BYGONE_PASSWORD_FILE,
// BYGONE_PASSWORD_COMMAND, BYGONE_KEY_FILE or --key-file, of which at most one may be set; else the
// configuration file, which the caller has read; else the terminal is asked. Never the command
// line. Secrets go straight into guarded memory. Call from one thread, before others exist: it
// changes the environment and runs a command.
#pragma once

#include <optional>
#include <string>

#include "store/base/result.h"
#include "store/crypto.h"

namespace bygone::cli {

// Which ways to the secret are open. An empty variable counts as not set.
struct SecretSources {
  std::optional<store::SecretBytes> password;  // of BYGONE_PASSWORD
  std::optional<std::string> password_file;
  std::optional<std::string> password_command;
  std::optional<std::string> key_file;
  bool key_file_is_option = false;  // --key-file, and not BYGONE_KEY_FILE
  std::string config;               // the configuration file that says so; empty: none does

  [[nodiscard]] bool none() const {
    return !password && !password_file && !password_command && !key_file;
  }
};

// Reads the variables and takes BYGONE_PASSWORD out of the environment, wiping what stood there,
// so that neither /proc nor a child process shows it. `key_file_option`: --key-file, empty when
// not given; it goes before BYGONE_KEY_FILE.
[[nodiscard]] SecretSources take_secret_sources(const std::string& key_file_option);

// Errors: invalid when more than one is set, naming them.
[[nodiscard]] Result<void> check_sources(const SecretSources& sources);

enum class Ask {
  once,
  twice,  // for a new repository: typed again, and too short a key file is refused
};

// The secret. One line end after a passphrase in a file or from a command is not part of it.
// Errors: invalid for a conflict, an empty passphrase or none at all without a terminal; those of
// the file; io when the command fails; cancelled when the terminal ends.
[[nodiscard]] Result<store::Secret> read_secret(const SecretSources& sources, Ask ask,
                                                const std::string& repository);

// Where the secret came from, for a message about a wrong one: "BYGONE_PASSWORD_FILE is set to
// /etc/bygone/key". Empty when it was typed.
[[nodiscard]] std::string describe_source(const SecretSources& sources);

}  // namespace bygone::cli
