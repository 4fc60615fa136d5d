// SPDX-License-Identifier: Apache-2.0
#include "ingest/suggest.h"

#include <gtest/gtest.h>

namespace bygone::ingest {
namespace {

TEST(Suggest, CountsEdits) {
  EXPECT_EQ(distance("", "abc"), 3u);
  EXPECT_EQ(distance("backup", "backup"), 0u);
  EXPECT_EQ(distance("bakcup", "backup"), 1u);
  EXPECT_EQ(distance("bakup", "backup"), 1u);
  EXPECT_EQ(distance("kitten", "sitting"), 3u);
}

TEST(Suggest, FindsTheWordThatWasMeant) {
  const std::vector<std::string> known = {"init",    "backup", "snapshots", "ls",
                                          "restore", "mount",  "umount"};
  const std::pair<const char*, const char*> cases[] = {
      {"bakcup", "backup"},  {"snapshot", "snapshots"},
      {"snap", "snapshots"}, {"l", "ls"},
      {"unmount", "umount"}, {"restroe", "restore"},
      {"prune", ""},         {"x", ""},
      {"frobnicate", ""},    {"mnt", ""},
  };
  for (const auto& [typed, meant] : cases) EXPECT_EQ(nearest(typed, known), meant) << typed;
}

}  // namespace
}  // namespace bygone::ingest
