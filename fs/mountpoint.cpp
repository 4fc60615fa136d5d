// SPDX-License-Identifier: Apache-2.0
#include "fs/mountpoint.h"

#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <thread>

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/mount.h"
#include "store/base/files.h"
#include "store/base/log.h"

namespace bygone::fs {
namespace {

using std::chrono::milliseconds;

// Spaces, tabs, newlines and backslashes stand as \ooo in the table.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool octal =
        text[i] == '\\' && i + 3 < text.size() &&
        text.substr(i + 1, 3).find_first_not_of("01234567") == std::string_view::npos;
    if (!octal) {
      out += text[i];
      continue;
    }
    out +=
        static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + text[i + 3] - '0');
    i += 3;
  }
  return out;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

// Proc files have no size: read until they end.
Result<std::string> read_table() {
  const char* const path = "/proc/self/mountinfo";
  Fd fd = TRY(system_files().open(path, O_RDONLY, 0));
  std::string out;
  std::array<char, 16384> buffer{};
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return os_error(errno, std::string("reading ") + path);
    if (n == 0) return out;
    out.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

Result<void> run_fusermount(const std::string& path, Detach how) {
  std::vector<const char*> argv = {"fusermount3", how == Detach::always ? "-uzq" : "-uq", "--",
                                   path.c_str(), nullptr};
  pid_t pid = 0;
  const int rc = ::posix_spawnp(&pid, "fusermount3", nullptr, nullptr,
                                const_cast<char* const*>(argv.data()), environ);
  if (rc != 0) return os_error(rc, "unmounting " + path + ": running fusermount3");
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return Error{Code::busy, EBUSY, "unmounting " + path + ": fusermount3 refused"};
}

// Whether a file system is mounted there that nobody serves any more. Only statfs(2) always asks
// the server; stat(2) may answer from the kernel's cache of a dead mount.
bool is_dead(const std::string& path) {
  struct statfs info {};
  return ::statfs(path.c_str(), &info) != 0 && errno == ENOTCONN;
}

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// Whether `path` is `folder` or stands somewhere below it. By identity, so that bind mounts and
// links do not deceive.
bool is_within(std::string path, const std::string& folder) {
  struct stat wanted {};
  if (::stat(folder.c_str(), &wanted) != 0) return false;
  while (true) {
    struct stat here {};
    if (::stat(path.c_str(), &here) == 0 && same_file(here, wanted)) return true;
    if (path == "/" || path == ".") return false;
    path = parent_folder(path);
    if (path.empty()) path = "/";
  }
}

Result<void> clear_dead_mounts(const std::string& path) {
  while (is_dead(path)) {
    log::warning("the mount at " + path + " is dead: its server is gone; detaching it");
    TRY(detach(path, Detach::always));
  }
  return {};
}

}  // namespace

std::vector<MountLine> parse_mountinfo(std::string_view text) {
  std::vector<MountLine> out;
  for (const std::string_view line : split(text, '\n')) {
    const std::vector<std::string_view> fields = split(line, ' ');
    // 36 35 98:0 /root /path options [tags...] - type source super-options
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 6 || fields.end() - dash < 2) continue;
    out.push_back({std::string(fields[2]), unescape(fields[4]), std::string(*(dash + 1))});
  }
  return out;
}

Result<std::optional<MountLine>> mount_at(const std::string& path) {
  std::optional<MountLine> found;
  for (MountLine& line : parse_mountinfo(TRY(read_table()))) {
    if (line.path == path) found = std::move(line);
  }
  return found;
}

Result<std::string> absolute_path(const std::string& path) {
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.ends_with('/')) trimmed.pop_back();
  const auto resolve = [](const std::string& p) -> std::optional<std::string> {
    std::array<char, PATH_MAX> out{};
    if (::realpath(p.c_str(), out.data()) == nullptr) return std::nullopt;
    return std::string(out.data());
  };
  if (auto whole = resolve(trimmed)) return *whole;
  const int reason = errno;
  if (reason == ENOTCONN) {
    if (const auto parent = resolve(parent_folder(trimmed))) {
      const std::string name = trimmed.substr(trimmed.rfind('/') + 1);
      return (*parent == "/" ? "" : *parent) + "/" + name;
    }
  }
  return os_error(reason, trimmed);
}

Result<void> detach(const std::string& path, Detach how) {
  if (::geteuid() != 0) return run_fusermount(path, how);
  const int flags = UMOUNT_NOFOLLOW | (how == Detach::always ? MNT_DETACH : 0);
  if (::umount2(path.c_str(), flags) == 0) return {};
  return os_error(errno, "unmounting " + path);
}

Result<void> prepare_mountpoint(const std::string& mountpoint, const std::string& repository_path,
                                const std::vector<std::string>& needed_paths) {
  Result<std::string> resolved = absolute_path(mountpoint);
  if (!resolved.ok()) {
    return Error{resolved.error().code, resolved.error().errnum,
                 "mounting on " + resolved.error().message + "; hint: mkdir " + mountpoint};
  }
  const std::string path = *std::move(resolved);
  TRY(clear_dead_mounts(path));
  const auto mounted = TRY(mount_at(path));
  if (mounted && mounted->type == kMountType) {
    return Error{Code::busy, EBUSY,
                 "a repository is mounted on " + path + " already; hint: bygone umount " + path};
  }
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return os_error(errno, "mounting on " + path);
  if (!S_ISDIR(info.st_mode)) {
    return Error{Code::invalid, ENOTDIR, "mounting on " + path + ": not a folder"};
  }
  if (is_within(path, repository_path)) {
    return Error{Code::invalid, 0,
                 "mounting on " + path + ": this is inside the repository " + repository_path +
                     "; hint: choose a folder elsewhere"};
  }
  std::vector<std::string> needed = needed_paths;
  needed.push_back(repository_path);
  for (const std::string& each : needed) {
    const Result<std::string> below = absolute_path(each);
    if (below.ok() && is_within(*below, path)) {
      return Error{Code::invalid, 0,
                   "mounting on " + path + " would hide " + *below +
                       ", which the mount reads from; hint: choose a folder elsewhere"};
    }
  }
  return {};
}

Result<Unmounted> unmount(const std::string& mountpoint) {
  const std::string path = TRY(absolute_path(mountpoint));
  const auto mounted = TRY(mount_at(path));
  if (!mounted || mounted->type != kMountType) {
    const std::string what =
        mounted ? "the file system mounted there is " + mounted->type + ", not ours"
                : "nothing is mounted there";
    return Error{Code::not_found, 0, "unmounting " + path + ": " + what};
  }
  if (is_dead(path)) {
    TRY(detach(path, Detach::always));
    return Unmounted::done;
  }
  // Somebody who just closed a file there may still be counted.
  for (int attempt = 0; attempt < 5; ++attempt) {
    const Result<void> gone = detach(path, Detach::if_unused);
    if (gone.ok()) return Unmounted::done;
    if (gone.error().code != Code::busy) return gone.error();
    std::this_thread::sleep_for(milliseconds(100));
  }
  TRY(detach(path, Detach::always));
  return Unmounted::lazily;
}

}  // namespace bygone::fs
