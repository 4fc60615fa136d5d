// SPDX-License-Identifier: Apache-2.0
#include "ingest/words.h"

#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

bool starts_name(char c) {
  return c == '_' || c == '{' || c == '(' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

class Splitter {
 public:
  explicit Splitter(std::string_view line) : line_(line) {}

  Result<std::vector<std::string>> run() {
    if (line_.find('\0') != std::string_view::npos) return wrong("a NUL stands in it");
    while (at_ < line_.size()) TRY(step(line_[at_++]));
    end_word();
    if (words_.empty()) return wrong("it is empty");
    return std::move(words_);
  }

 private:
  [[nodiscard]] Error wrong(const std::string& why) const {
    return {Code::invalid, 0, "the command \"" + printable(line_) + "\" cannot be used: " + why};
  }
  [[nodiscard]] Error needs_shell(char c) const {
    return wrong(std::string("no shell runs that would understand ") + c +
                 "; hint: quote it, or write sh -c '...'");
  }

  void end_word() {
    if (in_word_) words_.push_back(std::move(word_));
    word_.clear();
    in_word_ = false;
  }

  void add(char c) {
    word_ += c;
    in_word_ = true;
  }

  [[nodiscard]] Result<void> check_dollar(char c) const {
    const bool expands = c == '`' || (c == '$' && at_ < line_.size() && starts_name(line_[at_]));
    if (expands) return needs_shell(c);
    return {};
  }

  Result<void> step(char c) {
    if (is_blank(c)) {
      end_word();
    } else if (c == '\'') {
      TRY(single_quoted());
    } else if (c == '"') {
      TRY(double_quoted());
    } else if (c == '\\') {
      if (at_ == line_.size()) return wrong("it ends in a backslash");
      const char next = line_[at_++];
      if (next != '\n') add(next);
    } else if (std::string_view("|&;<>()").find(c) != std::string_view::npos) {
      return needs_shell(c);
    } else {
      TRY(check_dollar(c));
      add(c);
    }
    return {};
  }

  Result<void> single_quoted() {
    const std::size_t end = line_.find('\'', at_);
    if (end == std::string_view::npos) return wrong("a ' has no end");
    word_ += line_.substr(at_, end - at_);
    in_word_ = true;
    at_ = end + 1;
    return {};
  }

  Result<void> double_quoted() {
    in_word_ = true;
    for (;;) {
      if (at_ == line_.size()) return wrong("a \" has no end");
      const char c = line_[at_++];
      if (c == '"') return {};
      TRY(check_dollar(c));
      const bool escapes = c == '\\' && at_ < line_.size() &&
                           std::string_view("\"\\$`\n").find(line_[at_]) != std::string_view::npos;
      if (!escapes) {
        add(c);
      } else if (const char next = line_[at_++]; next != '\n') {
        add(next);
      }
    }
  }

  std::string_view line_;
  std::size_t at_ = 0;
  std::string word_;
  bool in_word_ = false;  // a word may be empty: ''
  std::vector<std::string> words_;
};

}  // namespace

Result<std::vector<std::string>> split_words(std::string_view line) { return Splitter(line).run(); }

}  // namespace bygone::ingest
