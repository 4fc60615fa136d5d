// SPDX-License-Identifier: Apache-2.0
#include "ingest/dataless.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace bygone::ingest {
namespace {

TEST(Dataless, IsToldFromTheTableOfMounts) {
  constexpr std::string_view kTable =
      "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
      "24 22 0:4 net:[4026531840] /run/docker/netns/x rw shared:3 - nsfs nsfs rw\n"
      "25 22 0:23 / /proc rw,nosuid - proc proc rw\n"
      "26 22 0:2 /a\\040-\\040b /srv/media rw master:1 propagate_from:2 - nfs4 far:/x rw\n"
      "a line of another form\n"
      "27 22 0:44 / /tmp rw - tmpfs none rw";
  const struct {
    unsigned major, minor;
    const char* type;
  } cases[] = {{8, 1, "ext4"},   {0, 4, "nsfs"}, {0, 23, "proc"}, {0, 2, "nfs4"},
               {0, 44, "tmpfs"}, {0, 3, ""},     {0, 22, ""},     {22, 0, ""}};
  for (const auto& one : cases) {
    EXPECT_EQ(file_system_type(kTable, makedev(one.major, one.minor)), one.type) << one.minor;
  }
  EXPECT_EQ(file_system_type("", makedev(8, 1)), "");
}

TEST(Dataless, AreThoseOfTheKernelAndInMemory) {
  const auto of = [](const char* path) {
    struct stat there {};
    EXPECT_EQ(::stat(path, &there), 0);
    return dataless(there.st_dev);
  };
  EXPECT_EQ(of("/proc"), "the kernel's");
  EXPECT_EQ(of("/sys"), "the kernel's");
  EXPECT_EQ(of("/var/tmp"), "");
  EXPECT_EQ(dataless(makedev(4000, 4000)), "");
}

}  // namespace
}  // namespace bygone::ingest
