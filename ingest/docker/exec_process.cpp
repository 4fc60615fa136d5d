// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/exec_process.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/core.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "store/base/files.h"

namespace bygone::docker {
namespace {

using SteadyClock = std::chrono::steady_clock;

std::string read_proc(pid_t pid, const char* name) {
  std::ifstream file(fmt::format("/proc/{}/{}", pid, name), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool is_container_id(std::string_view id) {
  return id.size() == 64 && id.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool has_variable(const std::string& environment, const std::string& variable) {
  std::istringstream entries(environment);
  for (std::string entry; std::getline(entries, entry, '\0');) {
    if (entry == variable) return true;
  }
  return false;
}

// Processes of one container, held by pidfds: a pid that is reused meanwhile is never signalled.
class Family {
 public:
  explicit Family(const ExecProcess& process) : process_(process) {}

  // Takes a process in, when it is one of the container's. The pidfd first: what /proc says after
  // that is either about that process, or the pidfd's one is gone.
  bool add(pid_t pid) {
    if (members_.count(pid) != 0) return false;
    Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!fd.is_open()) return false;
    if (read_proc(pid, "cgroup").find(process_.container_id) == std::string::npos) return false;
    members_.emplace(pid, std::move(fd));
    return true;
  }

  // Takes in all descendants of its members.
  void add_descendants() {
    std::vector<pid_t> open;
    for (const auto& [pid, fd] : members_) open.push_back(pid);
    while (!open.empty()) {
      const pid_t parent = open.back();
      open.pop_back();
      for (const pid_t child : children_of(parent)) {
        if (add(child)) open.push_back(child);
      }
    }
  }

  bool signal(int number) {
    bool reached = false;
    for (const auto& [pid, fd] : members_) {
      reached |= ::syscall(SYS_pidfd_send_signal, fd.get(), number, nullptr, 0) == 0;
    }
    return reached;
  }

  // Whether all of them ended within `patience`.
  bool wait(std::chrono::milliseconds patience) const {
    const SteadyClock::time_point end = SteadyClock::now() + patience;
    for (const auto& [pid, fd] : members_) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          std::max(SteadyClock::duration::zero(), end - SteadyClock::now()));
      pollfd waiting{fd.get(), POLLIN, 0};
      if (::poll(&waiting, 1, static_cast<int>(left.count())) != 1) return false;
    }
    return true;
  }

 private:
  static std::vector<pid_t> children_of(pid_t pid) {
    std::vector<pid_t> out;
    std::error_code failed;
    const std::filesystem::directory_iterator threads(fmt::format("/proc/{}/task", pid), failed);
    if (failed) return out;
    for (auto it = threads; it != std::filesystem::end(threads); it.increment(failed)) {
      std::ifstream file(it->path() / "children");
      for (pid_t child = 0; file >> child;) out.push_back(child);
      if (failed) break;
    }
    return out;
  }

  const ExecProcess& process_;
  std::map<pid_t, Fd> members_;
};

}  // namespace

bool end_process(const ExecProcess& process, std::chrono::milliseconds patience) {
  if (process.pid <= 1 || process.pid > INT32_MAX) return false;
  if (!is_container_id(process.container_id)) return false;
  const auto pid = static_cast<pid_t>(process.pid);
  Family family(process);
  if (!family.add(pid)) return false;
  if (!process.is_running && !has_variable(read_proc(pid, "environ"), process.marker)) return false;
  family.add_descendants();
  if (!family.signal(SIGTERM)) return false;
  if (family.wait(patience)) return true;
  family.add_descendants();
  family.signal(SIGKILL);
  return true;
}

const char* const kEndByMarker =
    "end() { for p in /proc/[0-9]*; do case \"$(cat \"$p/environ\")\" in *\"$1\"*) "
    "kill -\"$2\" \"${p#/proc/}\";; esac; done; }; "
    "exec 2>/dev/null; end \"$1\" TERM; sleep 1; end \"$1\" KILL";

}  // namespace bygone::docker
