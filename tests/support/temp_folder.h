// SPDX-License-Identifier: Apache-2.0
//
// A folder that is gone when the test is over. One thread.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include <unistd.h>

namespace bygone::test {

class TempFolder {
 public:
  // In RAM where there is such a place: tests sync thousands of times.
  TempFolder()
      : TempFolder(::access("/dev/shm", W_OK | X_OK) == 0
                       ? "/dev/shm"
                       : std::filesystem::temp_directory_path()) {}
  explicit TempFolder(const std::filesystem::path& parent) {
    path_ = (parent / "bygone-test-XXXXXX").string();
    if (::mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace bygone::test
