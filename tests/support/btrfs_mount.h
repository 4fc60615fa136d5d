// SPDX-License-Identifier: Apache-2.0
//
// A new btrfs for a test, mounted in a mount namespace of this process alone: it goes with it. One
// for a process; made before any thread.
#pragma once

#include <cstdlib>
#include <string>

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tests/support/temp_folder.h"

namespace bygone::test {

class BtrfsMount {
 public:
  BtrfsMount() : folder_("/var/tmp") {
    const std::string image = folder_ / "image";
    if (::geteuid() != 0 || ::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      why_not_ = "no mount namespace can be made";
    } else if (!run("truncate -s 256M " + image + " && mkfs.btrfs -q " + image)) {
      why_not_ = "mkfs.btrfs cannot be run";
    } else if (!run("mkdir " + path() + " && mount -o loop " + image + " " + path())) {
      why_not_ = "no btrfs can be mounted";
    }
  }
  ~BtrfsMount() {
    if (why_not_.empty()) ::umount2(path().c_str(), MNT_DETACH);
  }
  BtrfsMount(const BtrfsMount&) = delete;
  BtrfsMount& operator=(const BtrfsMount&) = delete;

  // Empty: it is there.
  [[nodiscard]] const std::string& why_not() const { return why_not_; }
  [[nodiscard]] std::string path() const { return folder_ / "mnt"; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path() + "/" + name; }

  // A command of the shell, silent. True when it succeeds.
  static bool run(const std::string& command) {
    return std::system(("(" + command + ") >/dev/null 2>&1").c_str()) == 0;  // NOLINT(cert-env33-c)
  }

 private:
  TempFolder folder_;
  std::string why_not_;
};

}  // namespace bygone::test
