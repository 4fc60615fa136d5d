// SPDX-License-Identifier: Apache-2.0
#include "cli/secret.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <fmt/core.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/terminal.h"
#include "store/base/files.h"

namespace bygone::cli {
namespace {

using store::Secret;
using store::SecretBytes;

constexpr std::size_t kMaxKeyFile = 64u << 10;
constexpr std::size_t kMinNewKeyFile = 32;

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

std::optional<SecretBytes> take_password() {
  char* value = std::getenv("BYGONE_PASSWORD");
  if (value == nullptr) return std::nullopt;
  const std::size_t size = std::strlen(value);
  std::optional<SecretBytes> password;
  if (size > 0) password = SecretBytes::copy_of(as_bytes({value, size}));
  store::wipe({reinterpret_cast<std::uint8_t*>(value), size});
  unsetenv("BYGONE_PASSWORD");
  return password;
}

// Reads to the end. Errors: invalid for more than `limit` bytes; io.
Result<SecretBytes> read_all(int fd, std::size_t limit) {
  SecretBytes buffer(limit + 1);
  std::size_t size = 0;
  while (size <= limit) {
    const ssize_t n = read(fd, &buffer.mutable_view()[size], limit + 1 - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return os_error(errno, "reading the secret");
    if (n == 0) return SecretBytes::copy_of(buffer.view().first(size));
    size += static_cast<std::size_t>(n);
  }
  return Error{Code::invalid, 0, fmt::format("the secret is longer than {} bytes", limit)};
}

Result<SecretBytes> read_secret_file(const std::string& path, std::size_t limit) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return os_error(errno, printable(path));
  return read_all(fd.get(), limit);
}

SecretBytes without_line_end(SecretBytes bytes) {
  ByteView view = bytes.view();
  if (!view.empty() && view.back() == '\n') view = view.first(view.size() - 1);
  if (!view.empty() && view.back() == '\r') view = view.first(view.size() - 1);
  if (view.size() == bytes.size()) return bytes;
  return SecretBytes::copy_of(view);
}

Result<void> check_exit(int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  if (WIFEXITED(status)) {
    return Error{Code::io, 0, fmt::format("it ended with exit code {}", WEXITSTATUS(status))};
  }
  return Error{Code::io, 0, fmt::format("it was killed by signal {}", WTERMSIG(status))};
}

Result<SecretBytes> run_command(const std::string& command) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return os_error(errno, "creating a pipe");
  const Fd out(ends[0]);
  Fd in(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.get(), STDOUT_FILENO);
  // We ignore SIGPIPE; a command expects it as it is.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  std::string shell = "/bin/sh", option = "-c", text = command;
  char* const arguments[] = {shell.data(), option.data(), text.data(), nullptr};
  pid_t child = 0;
  const int failure = posix_spawn(&child, "/bin/sh", &actions, &attributes, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failure != 0) return os_error(failure, "starting /bin/sh");
  in.reset();
  Result<SecretBytes> secret = read_all(out.get(), kMaxPassphrase);
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return os_error(errno, "waiting for the command");
  }
  TRY(check_exit(status));
  return secret;
}

Result<SecretBytes> not_empty(SecretBytes passphrase) {
  if (passphrase.size() == 0) return Error{Code::invalid, 0, "the passphrase is empty"};
  return passphrase;
}

Result<SecretBytes> read_key_file(const std::string& path, Ask ask) {
  SecretBytes key = TRY(read_secret_file(path, kMaxKeyFile));
  if (ask == Ask::twice && key.size() < kMinNewKeyFile) {
    return Error{Code::invalid, 0,
                 fmt::format("{} has {} bytes, a key needs {} random ones; hint: head -c {} "
                             "/dev/urandom > FILE",
                             printable(path), key.size(), kMinNewKeyFile, kMinNewKeyFile)};
  }
  return key;
}

Result<SecretBytes> ask_person(Ask ask, const std::string& repository) {
  const std::string prompt =
      fmt::format("{} {}: ", ask == Ask::twice ? "new passphrase for" : "passphrase for",
                  printable(repository));
  Result<SecretBytes> first = ask_secret(prompt);
  if (!first.ok() && first.error().code == Code::unavailable) {
    return Error{Code::invalid, 0,
                 "no passphrase is given, and there is no terminal to ask for it; hint: set "
                 "BYGONE_PASSWORD_FILE, BYGONE_PASSWORD_COMMAND, BYGONE_PASSWORD or "
                 "BYGONE_KEY_FILE"};
  }
  SecretBytes passphrase = TRY(not_empty(TRY(std::move(first))));
  if (ask == Ask::once) return passphrase;
  const SecretBytes again = TRY(ask_secret("the same again: "));
  if (as_text(again.view()) != as_text(passphrase.view())) {
    return Error{Code::invalid, 0, "the two passphrases differ"};
  }
  return passphrase;
}

}  // namespace

SecretSources take_secret_sources(const std::string& key_file_option) {
  SecretSources sources;
  sources.password = take_password();
  sources.password_file = variable("BYGONE_PASSWORD_FILE");
  sources.password_command = variable("BYGONE_PASSWORD_COMMAND");
  sources.key_file = variable("BYGONE_KEY_FILE");
  sources.key_file_is_option = !key_file_option.empty();
  if (sources.key_file_is_option) sources.key_file = key_file_option;
  return sources;
}

Result<void> check_sources(const SecretSources& sources) {
  std::vector<std::string> set;
  if (sources.password) set.emplace_back("BYGONE_PASSWORD");
  if (sources.password_file) set.emplace_back("BYGONE_PASSWORD_FILE");
  if (sources.password_command) set.emplace_back("BYGONE_PASSWORD_COMMAND");
  if (sources.key_file)
    set.emplace_back(sources.key_file_is_option ? "--key-file" : "BYGONE_KEY_FILE");
  if (set.size() <= 1) return {};
  std::string names = set.front();
  for (std::size_t i = 1; i < set.size(); ++i)
    names += (i + 1 == set.size() ? " and " : ", ") + set[i];
  return Error{Code::invalid, 0,
               names + " are set, and only one can be meant; hint: unset the others"};
}

namespace {

std::string command_name(const SecretSources& sources) {
  return sources.config.empty() ? "BYGONE_PASSWORD_COMMAND"
                                : "the password-command of " + printable(sources.config);
}

}  // namespace

Result<Secret> read_secret(const SecretSources& sources, Ask ask, const std::string& repository) {
  TRY(check_sources(sources));
  Secret secret;
  if (sources.key_file) {
    secret.kind = Secret::Kind::key_file;
    auto key = read_key_file(*sources.key_file, ask);
    if (!key.ok()) return std::move(key).error().with("reading the key file");
    secret.bytes = std::move(*key);
    return secret;
  }
  if (sources.password) {
    secret.bytes = SecretBytes::copy_of(sources.password->view());
  } else if (sources.password_file) {
    auto read = read_secret_file(*sources.password_file, kMaxPassphrase);
    if (!read.ok()) return std::move(read).error().with("reading the passphrase file");
    secret.bytes = without_line_end(std::move(*read));
  } else if (sources.password_command) {
    auto read = run_command(*sources.password_command);
    if (!read.ok()) return std::move(read).error().with("running " + command_name(sources));
    secret.bytes = without_line_end(std::move(*read));
  } else {
    secret.bytes = TRY(ask_person(ask, repository));
  }
  if (secret.bytes.size() == 0) {
    return Error{Code::invalid, 0, "the passphrase is empty; " + describe_source(sources)};
  }
  return secret;
}

std::string describe_source(const SecretSources& sources) {
  if (!sources.config.empty()) {
    const std::string says = printable(sources.config) + " names ";
    if (sources.key_file) return says + "the key file " + printable(*sources.key_file);
    if (sources.password_file) return says + "the file " + printable(*sources.password_file);
    return says + "the command that prints it";
  }
  if (sources.key_file) {
    return fmt::format("{} is {}", sources.key_file_is_option ? "--key-file" : "BYGONE_KEY_FILE",
                       printable(*sources.key_file));
  }
  if (sources.password) return "it comes from BYGONE_PASSWORD";
  if (sources.password_file) {
    return "BYGONE_PASSWORD_FILE is set to " + printable(*sources.password_file);
  }
  // Not the command itself: people put secrets into those.
  if (sources.password_command) return "it comes from BYGONE_PASSWORD_COMMAND";
  return "";
}

}  // namespace bygone::cli
