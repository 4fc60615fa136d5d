// SPDX-License-Identifier: Apache-2.0
#include "ingest/words.h"

#include <gtest/gtest.h>

#include "tests/support/expect.h"

namespace bygone::ingest {
namespace {

using Words = std::vector<std::string>;

TEST(Words, AreSplitAsAShellWould) {
  const std::pair<std::string, Words> cases[] = {
      {"pg_dump", {"pg_dump"}},
      {"  a\tb \n c ", {"a", "b", "c"}},
      {"sh -c 'a | b; c \"d\"'", {"sh", "-c", "a | b; c \"d\""}},
      {R"(a "b c" 'd  e')", {"a", "b c", "d  e"}},
      {R"(a"b"'c'd)", {"abcd"}},
      {R"(a '' "")", {"a", "", ""}},
      {R"(a\ b \" \' \\ \|)", {"a b", "\"", "'", "\\", "|"}},
      {R"("a\"b\\c\$d\`e" "\n")", {"a\"b\\c$d`e", "\\n"}},
      {"a\\\nb", {"ab"}},
      {"'a\nb'", {"a\nb"}},
      {"a 5$ $ $1 a*b ~ #x", {"a", "5$", "$", "$1", "a*b", "~", "#x"}},
      {"\xff\x01", {"\xff\x01"}},
  };
  for (const auto& [line, words] : cases) {
    EXPECT_EQ(test::value_of(split_words(line)), words) << line;
  }
}

TEST(Words, AreRefusedWhereTheyCannotMeanWhatTheySay) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "empty"},
      {" \t", "empty"},
      {"a 'b", "' has no end"},
      {"a \"b", "\" has no end"},
      {"a \"b\\\"", "\" has no end"},
      {"a \\", "backslash"},
      {std::string("a\0b", 3), "NUL"},
      {"pg_dump | gzip", "sh -c"},
      {"a && b", "sh -c"},
      {"a;b", "sh -c"},
      {"a >b", "sh -c"},
      {"echo $HOME", "sh -c"},
      {"echo \"${HOME}\"", "sh -c"},
      {"echo `id`", "sh -c"},
  };
  for (const auto& [line, part] : cases) {
    const auto words = split_words(line);
    ASSERT_FALSE(words.ok()) << line;
    EXPECT_EQ(words.error().code, Code::invalid) << line;
    EXPECT_NE(words.error().message.find(part), std::string::npos) << words.error().message;
  }
}

}  // namespace
}  // namespace bygone::ingest
