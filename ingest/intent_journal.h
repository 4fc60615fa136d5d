// SPDX-License-Identifier: Apache-2.0
//
// A small text file that says what a process is about to do, for whoever has to undo it should the
// process die. Its writer holds a flock on it until it is done with it, so that a journal whose
// lock is free is that of a dead process, or left by a living one for later: a dead journal. Knows
// nothing of what is in it but how fields are written. An IntentJournal is used by one thread at a
// time; several processes may use one folder.
#pragma once

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/files.h"
#include "store/base/result.h"

namespace bygone::ingest {

class IntentJournal {
 public:
  IntentJournal() = default;
  // Writes a new journal into `folder`, making the folders (mode 0700). When this returns, the
  // journal is durable. Errors: io, no_space, denied.
  static Result<IntentJournal> create(const std::string& folder, const std::string& text);
  // Takes over the dead journal at `path`. An unopened one when its writer holds it or somebody
  // else takes it over now, or when it is gone. Errors: io, denied.
  static Result<IntentJournal> adopt(const std::string& path);

  [[nodiscard]] bool is_open() const { return fd_.is_open(); }
  [[nodiscard]] const std::string& path() const { return path_; }
  // Errors: corrupt for one that is far too long; io.
  [[nodiscard]] Result<std::string> read() const;
  // Puts `text` in the place of the old one: at any time one of the two is there, whole and
  // locked. Errors: io, no_space; either may be the one then.
  Result<void> replace(const std::string& text);
  // Removes it for good. Errors: io; it may be there again after a power cut.
  Result<void> remove();

 private:
  std::string path_;
  Fd fd_;  // locked
};

// Paths of all journals in a folder, of the living and the dead. None without the folder. Errors:
// io, denied.
Result<std::vector<std::string>> intent_journals(const std::string& folder);
// Whether nobody holds the journal. Errors: io, denied.
Result<bool> is_dead_journal(const std::string& path);
// Whether there is a dead one in `folder`. What cannot be looked at counts: whoever adopts it then
// says why.
[[nodiscard]] bool has_dead_journal(const std::string& folder);
// Removes unfinished journals of processes that died before they did anything.
Result<void> remove_unfinished_journals(const std::string& folder);

// --- fields of a journal's text -----------------------------------------------------------------

// Spaces, control bytes, bytes above 0x7e and '%' become %XX.
[[nodiscard]] std::string escape_field(std::string_view field);
// Nothing when `text` is not what escape_field() makes.
[[nodiscard]] std::optional<std::string> unescape_field(std::string_view text);
// Takes what stands before `separator` off `text`, with it; nothing when there is none.
std::optional<std::string_view> take_field(std::string_view& text, char separator);
// The rest of the next line, which must begin with `word` and a space.
std::optional<std::string_view> take_line(std::string_view& text, std::string_view word);
// Whether `text` is the last line of a journal, which counts the lines before it.
[[nodiscard]] bool is_end(std::string_view text, std::size_t lines);
// Takes the first line, "bygone KIND journal VERSION", off `text`. Errors: corrupt for another
// line; unsupported for a version that is not `known`.
Result<std::string_view> take_version(std::string_view& text, std::string_view kind,
                                      const std::vector<std::string_view>& known);

template <class T>
[[nodiscard]] std::optional<T> number_field(std::string_view text) {
  T value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace bygone::ingest
