// SPDX-License-Identifier: Apache-2.0
//
// Files being written: each stands in tmp/ under its writer's exclusive flock, which the kernel
// releases when the process dies. Whoever gets that flock may delete the file. Any thread.
#pragma once

#include <string>

#include "store/base/files.h"

namespace bygone::store {

class TempFile {
 public:
  // Creates `folder`/`name` (which must not exist), locked. Errors: io, no_space, exists.
  static Result<TempFile> create(Files& files, const std::string& folder, const std::string& name);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const Fd& fd() const { return fd_; }
  // Gives the open, locked file away.
  [[nodiscard]] Fd release() { return std::move(fd_); }

 private:
  std::string path_;
  Fd fd_;
};

// mkdir -p; what is new is durable in its parent.
Result<void> make_folders(Files& files, const std::string& path);
// `folder`/tmp, for what is written to `folder` by few and under its own name: made, with all above
// it, and cleaned of what dead writers left. Errors: io, denied.
Result<std::string> own_temp_folder(Files& files, const std::string& folder);

// Removes what dead writers left in `folder`. What is no plain file, or may not be opened, is none
// of theirs and stays. Errors: invalid when `folder` is a link; those of the file system.
Result<void> clean_temp_folder(Files& files, const std::string& folder);

// Writes `data` as `folder`/`name` so that it is there whole and durable or not at all: a file in
// `tmp_folder`, fdatasync, rename, fsync of `folder`. Replaces an older file.
Result<void> write_durably(Files& files, const std::string& tmp_folder, const std::string& folder,
                           const std::string& name, ByteView data);
// The same without the last step: durable once the caller has synced `folder`, so that many files
// share that one sync.
Result<void> write_synced(Files& files, const std::string& tmp_folder, const std::string& folder,
                          const std::string& name, ByteView data);

}  // namespace bygone::store
