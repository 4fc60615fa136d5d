// SPDX-License-Identifier: Apache-2.0
#include "cli/output.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include <fmt/core.h>
#include <nlohmann/json.hpp>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/text.h"

namespace bygone::cli {
namespace {

std::size_t terminal_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

bool wants_colours() {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && (no_colour == nullptr || *no_colour == '\0') &&
         terminal != nullptr && std::string_view(terminal) != "dumb";
}

// Cut to what fits on one line of the terminal: a line that wraps cannot be redrawn.
std::string fit(const std::string& text) {
  const std::size_t columns = terminal_columns();
  return text.size() < columns ? text : text.substr(0, columns - 1);
}

}  // namespace

void Output::configure(const Settings& settings) {
  settings_ = settings;
  progress_ = !settings.json && !settings.quiet && isatty(STDERR_FILENO) == 1;
  colours_ = wants_colours();
}

void Output::clear_progress() {
  if (!drawn_) return;
  std::fputs("\r\x1b[K", stderr);
  drawn_ = false;
}

void Output::write_line(std::string_view text) {
  const std::lock_guard lock(mutex_);
  clear_progress();
  if (stdout_error_ != 0) return;
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
                       std::fputc('\n', stdout) != EOF;
  if (!written) stdout_error_ = errno;
}

void Output::line(std::string_view text) { write_line(text); }

void Output::info(std::string_view text) {
  if (!settings_.json && !settings_.quiet) write_line(text);
}

void Output::object(const Json& object) {
  write_line(object.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void Output::say(const char* word, const char* colour, std::string_view text,
                 std::string_view item) {
  std::string line;
  if (settings_.json) {
    Json object{{"message_type", word}, {"error", {{"message", lossy_utf8(text)}}}};
    if (!item.empty()) put_raw(object, "item", item);
    line = object.dump(-1, ' ', false, Json::error_handler_t::replace);
  } else {
    const std::string about = item.empty() ? "" : printable(item) + ": ";
    line = colours_ ? fmt::format("bygone: \x1b[{}m{}:\x1b[0m {}{}", colour, word, about, text)
                    : fmt::format("bygone: {}: {}{}", word, about, text);
  }
  const std::lock_guard lock(mutex_);
  clear_progress();
  std::fprintf(stderr, "%s\n", line.c_str());
}

void Output::error(std::string_view text, std::string_view item) {
  say("error", "1;31", text, item);
}

void Output::warning(std::string_view text) { say("warning", "1;33", text, {}); }

Result<void> Output::bytes(std::string_view data) {
  const std::lock_guard lock(mutex_);
  if (stdout_error_ == 0 && std::fwrite(data.data(), 1, data.size(), stdout) != data.size()) {
    stdout_error_ = errno;
  }
  if (stdout_error_ == 0) return {};
  return os_error(stdout_error_, "writing to standard output");
}

void Output::progress_line(const std::string& text) {
  if (!progress_) return;
  const std::lock_guard lock(mutex_);
  clear_progress();
  if (text.empty()) {
    std::fflush(stderr);
    return;
  }
  std::fprintf(stderr, "\r%s\x1b[K", fit(text).c_str());
  std::fflush(stderr);
  drawn_ = true;
}

void Output::end_progress_line() {
  const std::lock_guard lock(mutex_);
  if (drawn_) std::fputc('\n', stderr);
  drawn_ = false;
}

bool Output::closed() {
  const std::lock_guard lock(mutex_);
  return stdout_error_ != 0;
}

Result<void> Output::finish() {
  const std::lock_guard lock(mutex_);
  clear_progress();
  if (stdout_error_ == 0 && std::fflush(stdout) != 0) stdout_error_ = errno;
  if (stdout_error_ == 0 || stdout_error_ == EPIPE) return {};
  return os_error(stdout_error_, "writing to standard output");
}

void put_raw(Json& object, const std::string& key, std::string_view raw) {
  object[key] = lossy_utf8(raw);
  if (!is_utf8(raw)) object[key + "_b64"] = base64(as_bytes(raw));
}

}  // namespace bygone::cli
