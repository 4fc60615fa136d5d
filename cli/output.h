// SPDX-License-Identifier: Apache-2.0
//
// Everything that the program says: lines for a person or, with --json, one object a line; errors
// on stderr; one progress line on a terminal that other lines do not tear. Names that come from
// backups are escaped by the callers with printable(). Callable from any thread.
#pragma once

#include <mutex>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "store/base/result.h"

namespace bygone::cli {

using Json = nlohmann::ordered_json;

class Output {
 public:
  struct Settings {
    bool json = false;
    bool quiet = false;
    int verbose = 0;
  };
  Output() = default;
  void configure(const Settings& settings);

  [[nodiscard]] bool json() const { return settings_.json; }
  [[nodiscard]] bool quiet() const { return settings_.quiet; }
  [[nodiscard]] int verbose() const { return settings_.verbose; }
  // Whether a progress line is drawn: stderr is a terminal, and neither --json nor --quiet.
  [[nodiscard]] bool shows_progress() const { return progress_; }

  // What was asked for: a line on stdout, -q or not.
  void line(std::string_view text);
  // What is good to know: a line on stdout, but not with --json or -q.
  void info(std::string_view text);
  // One object on a line of stdout.
  void object(const Json& object);
  // On stderr: "bygone: text", or an object of message_type error. `item`: the raw name of what it
  // is about.
  void error(std::string_view text, std::string_view item = {});
  void error(const Error& failure, std::string_view item = {}) { error(failure.message, item); }
  // The same for what went on all the same.
  void warning(std::string_view text);
  // Raw bytes on stdout: file contents.
  [[nodiscard]] Result<void> bytes(std::string_view data);

  // Draws (or with an empty text clears) the progress line.
  void progress_line(const std::string& text);
  // Leaves the progress line as it stands and begins a new one.
  void end_progress_line();

  // True once nobody reads stdout any more (`bygone ls | head`): listing may stop, all is well.
  [[nodiscard]] bool closed();
  // Writes out what is buffered. Errors: of stdout, but for a reader that has gone.
  [[nodiscard]] Result<void> finish();

 private:
  void write_line(std::string_view text);
  void say(const char* word, const char* colour, std::string_view text, std::string_view item);
  void clear_progress();

  Settings settings_;
  bool progress_ = false;
  bool colours_ = false;
  std::mutex mutex_;
  bool drawn_ = false;  // a progress line stands on the terminal
  int stdout_error_ = 0;
};

// Adds `raw` to `object` as `key`, and as `key`_b64 when it is not UTF-8.
void put_raw(Json& object, const std::string& key, std::string_view raw);

}  // namespace bygone::cli
