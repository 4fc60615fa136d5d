// SPDX-License-Identifier: Apache-2.0
//
// One name of the target: what stands there, what is to become of it, putting a new file in its
// place, taking a tree away. No content and no metadata. Callable from any thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <sys/stat.h>

#include "fs/restore.h"
#include "fs/restore_folder.h"
#include "store/base/files.h"
#include "store/base/result.h"
#include "store/node.h"

namespace bygone::fs {

enum class Decision {
  create,   // nothing stands there
  replace,  // something stands there and makes room
  keep,     // it stays as it is
  refresh,  // its content stays, the metadata is set
};

// What stands at `name` in `folder`, the link itself if it is one; nothing when nothing does.
[[nodiscard]] Result<std::optional<struct stat>> look(int folder, const std::string& name);

// What becomes of `standing` when `entry`, not a folder, is restored over it.
[[nodiscard]] Result<Decision> decide(int folder, const std::string& name,
                                      const std::optional<struct stat>& standing,
                                      const store::Entry& entry, Overwrite overwrite);
// The same for an entry that is a folder: `refresh` when a folder stands there.
[[nodiscard]] Decision decide_folder(const std::optional<struct stat>& standing,
                                     const store::Entry& entry, Overwrite overwrite);

// A new file on its way to its name: under that name itself when nothing stands there, else under
// a temporary one beside it. What is not committed is removed again.
class Placement {
 public:
  Placement() = default;
  // `folder` must stay open as long as the placement. With Decision::replace the new file gets a
  // temporary name.
  Placement(int folder, std::string name, Decision decision);
  Placement(Placement&& other) noexcept;
  Placement& operator=(Placement&& other) noexcept;
  ~Placement();

  // An empty regular file, open for writing.
  Result<Fd> create_file();
  // A symbolic link, fifo, socket or device.
  Result<void> create_special(const store::Entry& entry);
  // Another name of the file `name` in `folder`.
  Result<void> create_link(int folder, const std::string& name);
  // The name at which the new file stands now.
  [[nodiscard]] const std::string& current() const { return current_; }
  // Gives the file its name. A folder in its way must be gone already.
  Result<void> commit();

 private:
  int folder_ = -1;
  std::string name_;
  std::string current_;
  bool created_ = false;
};

// Takes `name` in `folder` away with everything below it, however deep, without following links
// and without crossing mount points. Errors: busy for a mount point; not_found.
[[nodiscard]] Result<void> remove_tree(int folder, const std::string& name);
// Names in the folder, sorted by bytes.
[[nodiscard]] Result<std::vector<std::string>> list_folder(int folder);

}  // namespace bygone::fs
