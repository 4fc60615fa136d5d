// SPDX-License-Identifier: Apache-2.0
#include "cli/background.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/base/files.h"

namespace bygone::cli {
namespace {

// Lets go of the terminal and of pipes, which would keep their readers waiting. A file that
// stderr was sent to goes on getting the log.
void detach() {
  setsid();
  if (chdir("/") != 0) return;  // cannot fail; the folder it keeps busy is all that is lost
  const int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (nowhere < 0) return;
  struct stat status {};
  const bool log_is_file = fstat(STDERR_FILENO, &status) == 0 && S_ISREG(status.st_mode);
  dup2(nowhere, STDIN_FILENO);
  dup2(nowhere, STDOUT_FILENO);
  if (!log_is_file) dup2(nowhere, STDERR_FILENO);
  close(nowhere);
}

Exit wait_for(pid_t child, const Fd& readiness) {
  char byte = 0;
  ssize_t n = 0;
  do {
    n = read(readiness.get(), &byte, 1);
  } while (n < 0 && errno == EINTR);
  if (n == 1) return Exit::done;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status)) return static_cast<Exit>(WEXITSTATUS(status));
  std::fprintf(stderr, "bygone: error: the background process was killed by signal %d\n",
               WTERMSIG(status));
  return Exit::failed;
}

}  // namespace

Result<Exit> run_in_background(
    const std::function<Exit(const std::function<void()>& ready)>& work) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return os_error(errno, "creating a pipe");
  Fd readiness(ends[0]);
  Fd tell(ends[1]);
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) return os_error(errno, "going to the background");
  if (child > 0) {
    tell.reset();
    return wait_for(child, readiness);
  }
  readiness.reset();
  const Exit exit = work([&tell] {
    detach();
    const char byte = 1;
    // A parent that has gone has nobody to tell.
    [[maybe_unused]] const ssize_t written = write(tell.get(), &byte, 1);
    tell.reset();
  });
  std::fflush(nullptr);
  std::exit(static_cast<int>(exit));
}

}  // namespace bygone::cli
