// SPDX-License-Identifier: Apache-2.0
#include "tests/scale/program.h"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace bygone::test {
namespace {

constexpr unsigned kLookEvery = 5000;  // microseconds
constexpr std::size_t kShown = 2000;   // bytes of the output of what failed

// RssAnon of /proc/PID/status, 0 when it is gone.
double anonymous_mib(pid_t pid) {
  std::ifstream status(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("RssAnon:", 0) == 0) return std::stod(line.substr(8)) / 1024;
  }
  return 0;
}

std::string end_of(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  const std::string whole = text.str();
  return whole.size() <= kShown ? whole : whole.substr(whole.size() - kShown);
}

}  // namespace

Program::Program(const std::vector<std::string>& command, const std::string& output) {
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& each : command) arguments.push_back(const_cast<char*>(each.c_str()));
  arguments.push_back(nullptr);
  std::fflush(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ > 0) return;
  if (!output.empty()) {
    const int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(out, STDERR_FILENO);
  }
  ::execvp(arguments[0], arguments.data());
  ::_exit(127);
}

Program::~Program() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

bool Program::look() {
  if (pid_ < 0) return false;
  used_.anonymous_mib = std::max(used_.anonymous_mib, anonymous_mib(pid_));
  int status = 0;
  struct rusage usage {};
  if (::wait4(pid_, &status, WNOHANG, &usage) == 0) return true;
  used_.seconds = seconds();
  used_.peak_mib = static_cast<double>(usage.ru_maxrss) / 1024;
  used_.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  pid_ = -1;
  return false;
}

Used Program::wait() {
  while (look()) ::usleep(kLookEvery);
  return used_;
}

Used run(const std::vector<std::string>& command, const std::string& output) {
  Program program(command, output);
  const Used used = program.wait();
  if (used.exit_code == 0) return used;
  std::string text;
  for (const std::string& each : command) text += each + " ";
  throw std::runtime_error(
      fmt::format("{}ended with {}\n{}", text, used.exit_code, end_of(output)));
}

void drop_from_cache(const std::string& folder) {
  namespace filesystem = std::filesystem;
  for (const auto& entry : filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const int file = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) continue;  // gone meanwhile
    ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    ::close(file);
  }
}

}  // namespace bygone::test
