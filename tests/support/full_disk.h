// SPDX-License-Identifier: Apache-2.0
//
// A decorator of Files: from a moment on the disk is full. What takes space fails with ENOSPC, a
// new name and a new folder too; all else works, removing and renaming among it. What is removed
// gives no room, as where others fill the disk. LMDB does its own writes. Callable from any thread.
#pragma once

#include <cerrno>
#include <mutex>
#include <string>

#include <fcntl.h>

#include "tests/support/faulty_files.h"

namespace bygone::test {

class FullDiskFiles final : public WatchedFiles {
 public:
  using WatchedFiles::WatchedFiles;

  // From now on `calls` take what is left, and the next one fails.
  void fill_after(std::size_t calls) {
    const std::lock_guard lock(mutex_);
    is_filling_ = true;
    left_ = calls;
    was_full_ = false;
  }
  void make_room() {
    const std::lock_guard lock(mutex_);
    is_filling_ = false;
  }
  // Whether a call failed.
  [[nodiscard]] bool was_full() const {
    const std::lock_guard lock(mutex_);
    return was_full_;
  }

  Result<Fd> open(const std::string& path, int flags, unsigned mode) override {
    if ((flags & O_CREAT) != 0 && !inner_.info(path)) TRY(take(path));
    return inner_.open(path, flags, mode);
  }

 protected:
  Result<void> before(Call call, const std::string& path) override {
    if (call == Call::write || call == Call::allocate) return take("a file");
    if (call == Call::make_directory && !inner_.info(path)) return take(path);
    return {};
  }

 private:
  Result<void> take(const std::string& path) {
    const std::lock_guard lock(mutex_);
    if (!is_filling_) return {};
    if (left_ > 0) {
      --left_;
      return {};
    }
    was_full_ = true;
    return os_error(ENOSPC, "writing " + path);
  }

  mutable std::mutex mutex_;
  bool is_filling_ = false, was_full_ = false;
  std::size_t left_ = 0;
};

}  // namespace bygone::test
