// SPDX-License-Identifier: Apache-2.0
//
// What this host can see of an engine's files: whether the engine's paths are ours at all, what
// stands at a path, and what is mounted now. Looks at the file system when it is made and when it
// is asked; opens no data. Const after look(): usable by several threads.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "ingest/docker/engine.h"
#include "store/base/result.h"

namespace bygone::ingest {

struct MountTable {
  std::set<std::string> mount_points;
  // Id of the container that this process runs in, told by where its /etc/hostname is mounted
  // from; empty on a host.
  std::string own_container;
};
// From the text of /proc/self/mountinfo (proc(5)); lines of another form are passed over.
[[nodiscard]] MountTable parse_mountinfo(std::string_view text);
// That of this process, as it is now. Errors: those of reading /proc/self/mountinfo.
[[nodiscard]] Result<MountTable> read_mounts();

enum class FileKind { missing, denied, folder, file, socket, other };

class HostView {
 public:
  // Errors: those of reading /proc/self/mountinfo.
  [[nodiscard]] static Result<HostView> look(const docker::Engine& engine,
                                             const docker::EngineInfo& info);

  // Why the engine's paths cannot be read here: it is remote, its socket is forwarded, or this
  // process lives in a container that does not share them. Nothing when they can. Its volumes are
  // read through the engine then.
  [[nodiscard]] const std::optional<Error>& blind() const { return blind_; }
  // canonical(), but for paths that are not of this host.
  [[nodiscard]] std::string place(const std::string& path) const;
  [[nodiscard]] bool is_mounted(const std::string& path) const;
  // Whether `id` is the container that this process runs in.
  [[nodiscard]] bool is_own_container(const std::string& id) const;

 private:
  MountTable table_;
  std::optional<Error> blind_;
};

// `path` without symbolic links, "." and "..": realpath(3). A path that does not exist, or that
// may not be looked at, comes back as it is.
[[nodiscard]] std::string canonical(const std::string& path);
// What stands at `path`, symbolic links followed.
[[nodiscard]] FileKind kind_of(const std::string& path);
// Whether `path` is `folder` or stands below it; by text, both canonical.
[[nodiscard]] bool is_at_or_below(std::string_view path, std::string_view folder);

}  // namespace bygone::ingest
