// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal.h"

#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include "store/base/files.h"

namespace bygone::cli {
namespace {

volatile std::sig_atomic_t caught_signal = 0;

// Turns the echo off and, at its end, on again, whatever signal comes in between.
class Hush {
 public:
  explicit Hush(int terminal) : terminal_(terminal) {
    caught_signal = 0;
    struct sigaction action {};
    action.sa_handler = [](int number) { caught_signal = number; };  // no SA_RESTART: read() ends
    for (std::size_t i = 0; i < std::size(kSignals); ++i) {
      sigaction(kSignals[i], &action, &old_actions_[i]);
    }
    hushed_ = tcgetattr(terminal_, &old_) == 0;
    if (!hushed_) return;
    termios quiet = old_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    quiet.c_lflag |= ICANON | ISIG;
    tcsetattr(terminal_, TCSAFLUSH, &quiet);
  }
  ~Hush() {
    if (hushed_) tcsetattr(terminal_, TCSAFLUSH, &old_);
    for (std::size_t i = 0; i < std::size(kSignals); ++i) {
      sigaction(kSignals[i], &old_actions_[i], nullptr);
    }
    if (caught_signal != 0) raise(caught_signal);
  }
  Hush(const Hush&) = delete;
  Hush& operator=(const Hush&) = delete;

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
  const int terminal_;
  bool hushed_ = false;
  termios old_{};
  struct sigaction old_actions_[std::size(kSignals)]{};
};

Result<std::size_t> read_line(int terminal, MutableByteView out) {
  for (std::size_t size = 0;;) {
    if (size == out.size()) return Error{Code::invalid, 0, "the passphrase is too long"};
    const ssize_t n = read(terminal, &out[size], 1);
    if (n < 0 && errno == EINTR && caught_signal == 0) continue;
    if (n <= 0) return Error{Code::cancelled, 0, "no passphrase was typed"};
    if (out[size] == '\n') return size;
    ++size;
  }
}

void write_to(int terminal, const std::string& text) {
  // A terminal that cannot show the prompt cannot be read either; the read tells.
  [[maybe_unused]] const ssize_t written = ::write(terminal, text.data(), text.size());
}

}  // namespace

Result<store::SecretBytes> ask_secret(const std::string& prompt) {
  const Fd terminal(open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.is_open()) {
    return Error{Code::unavailable, errno, "there is no terminal to ask for it"};
  }
  store::SecretBytes line(kMaxPassphrase + 1);
  Result<std::size_t> size = std::size_t{0};
  {
    const Hush hush(terminal.get());
    write_to(terminal.get(), prompt);
    size = read_line(terminal.get(), line.mutable_view());
    write_to(terminal.get(), "\n");
  }
  if (!size.ok()) return size.error();
  return store::SecretBytes::copy_of(line.view().first(*size));
}

}  // namespace bygone::cli
