// SPDX-License-Identifier: Apache-2.0
//
// Another program as a process of its own, so that its time and its memory can be told apart from
// anybody else's; and a stopwatch. One thread.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <sys/types.h>

namespace bygone::test {

class Stopwatch {
 public:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

struct Used {
  double seconds = 0;
  double peak_mib = 0;       // resident at most, mapped pages of the index included
  double anonymous_mib = 0;  // of that, what the kernel cannot drop; looked at 200 times a second
  int exit_code = 0;         // 128 and more: died by a signal
};

class Program {
 public:
  // Starts `command`, its output going to the file `output`, or to ours when that is empty.
  // Throws when it cannot be started.
  Program(const std::vector<std::string>& command, const std::string& output);
  ~Program();  // kills it when it still runs
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Looks at its memory once. False: it has ended.
  bool look();
  // Waits for its end.
  Used wait();
  [[nodiscard]] double seconds() const { return watch_.seconds(); }

 private:
  Stopwatch watch_;
  pid_t pid_ = -1;
  Used used_;
};

// Starts `command` and waits. Throws when its exit code is not 0, with the end of its output.
Used run(const std::vector<std::string>& command, const std::string& output);

// Has the kernel forget the pages of every file below `folder`, as far as nobody maps them.
void drop_from_cache(const std::string& folder);

}  // namespace bygone::test
