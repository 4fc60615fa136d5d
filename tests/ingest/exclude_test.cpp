// SPDX-License-Identifier: Apache-2.0
#include "ingest/exclude.h"

#include <gtest/gtest.h>

#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

// A path that ends with '/' is a folder.
bool excluded(const std::vector<std::string>& lines, std::string path) {
  auto excludes = Excludes::parse(lines);
  EXPECT_TRUE(excludes.ok()) << lines.front();
  if (!excludes) return false;
  const bool folder = path.back() == '/';
  if (folder) path.pop_back();
  return excludes->matches(path, folder);
}

struct Trial {
  const char* name;
  std::vector<std::string> lines;
  std::vector<std::string> out;  // excluded
  std::vector<std::string> kept;
};

// As in gitignore(5), compared with `git check-ignore` when written. Git leaves its own manual in
// one place, x**/y, which it lets match x/a/b/y; here stars beside other bytes stay one star.
const std::vector<Trial> kTrials = {
    {"a name in any folder",
     {"foo"},
     {"foo", "a/foo", "a/b/foo", "foo/"},
     {"foobar", "afoo", "foo/x"}},
    {"a slash in front anchors", {"/foo"}, {"foo", "foo/"}, {"a/foo"}},
    {"a slash in the middle anchors", {"a/foo"}, {"a/foo"}, {"b/a/foo", "foo", "a/b/foo"}},
    {"a slash at the end wants a folder", {"foo/"}, {"foo/", "a/foo/"}, {"foo", "a/foo"}},
    {"anchored and a folder", {"/foo/"}, {"foo/"}, {"foo", "a/foo/"}},
    {"a star stays in its name", {"*.o"}, {"x.o", ".o", "a/x.o"}, {"x.oo", "o"}},
    {"a star crosses no slash", {"a/*.o"}, {"a/x.o"}, {"a/b/x.o"}},
    {"a star is also nothing", {"a*b*c"}, {"abc", "axbxc", "abcbc"}, {"ab", "acb"}},
    {"a question mark is one byte", {"f?o"}, {"foo", "f.o"}, {"fo", "fooo", "f/o"}},
    {"two stars in front", {"**/foo"}, {"foo", "a/foo", "a/b/foo"}, {"foox", "a/foo/x"}},
    {"two stars in front of a path", {"**/a/foo"}, {"a/foo", "b/a/foo"}, {"a/b/foo"}},
    {"two stars at the end", {"a/**"}, {"a/b", "a/b/c"}, {"a", "a/", "b/a/c"}},
    {"two stars between", {"a/**/b"}, {"a/b", "a/x/b", "a/x/y/b"}, {"a/xb", "b", "x/a/b"}},
    {"two stars twice", {"a/**/b/**/c"}, {"a/b/c", "a/b/b/c", "a/x/b/y/z/c"}, {"a/c/b", "a/b/c/d"}},
    {"stars beside bytes are one star", {"a/x**y"}, {"a/xy", "a/xzy"}, {"a/x/y"}},
    {"also in front of a slash", {"x**/y"}, {"x/y", "xa/y"}, {"x/a/y", "xa/b/y"}},
    {"three stars are as two", {"a/***/b"}, {"a/b", "a/x/y/b"}, {"b"}},
    {"two stars alone", {"**"}, {"a", "a/b"}, {}},
    {"two stars and a slash", {"**/"}, {"a/", "a/b/"}, {"a", "a/b"}},
    {"folders below a folder", {"a/**/"}, {"a/b/", "a/b/c/"}, {"a/", "a/b"}},
    {"a set", {"[abc]x"}, {"ax", "cx"}, {"dx", "x", "[abc]x"}},
    {"a range", {"[a-c]x"}, {"ax", "bx", "cx"}, {"dx", "-x"}},
    {"a set turned round", {"[!a]x", "[^b]y"}, {"bx", "ay"}, {"ax", "by", "x"}},
    {"a bracket that closes in front", {"[]a]x"}, {"]x", "ax"}, {"bx"}},
    {"a bracket turned round", {"[!]a]x"}, {"bx"}, {"]x", "ax"}},
    {"a dash at an end", {"[a-]x", "[-b]y"}, {"ax", "-x", "-y", "by"}, {"bx"}},
    {"a dash after a range", {"[a-c-e]x"}, {"bx", "-x", "ex"}, {"dx"}},
    {"an escape in a set", {"[\\]\\-]x"}, {"]x", "-x"}, {"\\x"}},
    {"classes", {"[[:digit:][:upper:]_]x"}, {"0x", "Zx", "_x"}, {"ax", ":x"}},
    {"a class turned round", {"[![:space:]]x"}, {"ax"}, {" x", "\tx"}},
    {"no set matches a slash", {"a[!b]c"}, {"axc"}, {"a/c"}},
    {"escapes", {"\\*x", "a\\?", "\\[b]"}, {"*x", "a?", "[b]"}, {"yx", "ab", "b"}},
    {"an escaped letter is itself", {"\\f\\oo"}, {"foo"}, {"\\f\\oo"}},
    {"an escaped hash", {"#foo", "\\#bar"}, {"#bar"}, {"#foo", "foo"}},
    {"an escaped exclamation mark", {"\\!foo"}, {"!foo"}, {"foo"}},
    {"spaces at the end go", {"foo  "}, {"foo"}, {"foo  ", "foo "}},
    {"an escaped space stays", {"foo\\ "}, {"foo "}, {"foo"}},
    {"of two spaces the escaped one stays", {"foo\\  "}, {"foo "}, {"foo", "foo  "}},
    {"a backslash, then spaces", {"foo\\\\  "}, {"foo\\"}, {"foo", "foo\\ "}},
    {"spaces elsewhere stay", {" a b"}, {" a b"}, {"a b", "ab"}},
    {"tabs stay", {"foo\t"}, {"foo\t"}, {"foo"}},
    {"the last pattern decides", {"*.log", "!keep.log"}, {"x.log"}, {"keep.log", "a/keep.log"}},
    {"taken back and left out again", {"*.log", "!k*", "kk.log"}, {"kk.log", "x.log"}, {"k.log"}},
    {"all but one in a folder", {"/a/*", "!/a/b"}, {"a/c", "a/d/"}, {"a/b", "a/"}},
    {"taking back is anchored too", {"x", "!/x"}, {"a/x"}, {"x"}},
    {"hidden files are files", {"*"}, {".x", "x", "a/.x"}, {}},
    {"bytes, not characters", {"\xff?", "[\x80-\x82]"}, {"\xff\xfe", "\x81"}, {"\xff", "\x83"}},
    {"a file of Windows",
     {"\xef\xbb\xbf"
      "foo\r",
      "bar \r"},
     {"foo", "bar"},
     {"foo\r"}},
    {"nothing but comments", {"", "# x", "   ", "\r"}, {}, {"x", "# x", " "}},
};

TEST(Excludes, FollowGitignore) {
  for (const Trial& c : kTrials) {
    for (const auto& path : c.out) EXPECT_TRUE(excluded(c.lines, path)) << c.name << ": " << path;
    for (const auto& path : c.kept) EXPECT_FALSE(excluded(c.lines, path)) << c.name << ": " << path;
  }
}

TEST(Excludes, NameThePatternThatCannotBe) {
  const std::vector<std::string> bad = {
      "[abc", "a/[b", "[]", "[!]",   "a[/]b",  "[[:alpha:]", "[[:x:]]", "[c-a]", "foo\\",
      "/",    "!",    "!/", "./foo", "a/../b", "[a-",        "[a\\]",   "..",    "//"};
  for (const std::string& pattern : bad) {
    const auto excludes = Excludes::parse({"fine", pattern});
    ASSERT_FALSE(excludes.ok()) << pattern;
    EXPECT_EQ(excludes.error().code, Code::invalid);
    EXPECT_NE(excludes.error().message.find("'" + printable(pattern) + "'"), std::string::npos)
        << excludes.error().message;
  }
}

TEST(Excludes, OfNothingMatchNothing) {
  EXPECT_TRUE(Excludes().empty());
  EXPECT_FALSE(Excludes().matches("x", false));
  EXPECT_TRUE(Excludes::parse({"# only a comment"})->empty());
}

// Naive matchers need longer than the age of the world for these.
TEST(Excludes, TakeNoLongerForHostileNames) {
  std::string stars;
  std::string folders;
  for (int i = 0; i < 50; ++i) stars += "a*";
  for (int i = 0; i < 50; ++i) folders += "**/a/";
  const std::string name(255, 'a');
  std::string path = "a";
  for (int i = 0; i < 1000; ++i) path += "/a";
  const auto excludes = Excludes::parse({stars + "b", folders + "b", "**/" + stars + "b/**/c"});
  ASSERT_TRUE(excludes.ok());
  EXPECT_FALSE(excludes->matches(name, false));
  EXPECT_FALSE(excludes->matches(path, false));
  EXPECT_FALSE(excludes->matches(path + "/" + name, false));
  EXPECT_TRUE(excludes->matches(name + "b", false));
  EXPECT_TRUE(excludes->matches(path + "/b", false));
}

}  // namespace
}  // namespace bygone::ingest
